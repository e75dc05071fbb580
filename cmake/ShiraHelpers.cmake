# shira_library(NAME SRCS ... [DEPS ...] [TORCH] [PRECOMPILE header ...])       one library per rung, alias shira::NAME
# shira_tests(NAME SRCS ... [PATHS ...] [DEPS ...] [TORCH] [TIMEOUT seconds])  one program per folder, every TEST found by ctest
# shira_python_test(NAME script.py [ARGS ...])      a test written in Python, run by the environment of scripts/setup.sh
#
# Libraries are compiled with a precompiled header of what most sources include (shira_pch below), since reading such headers is most of what
# compiling takes. A source still includes what it uses: the sanitizers' builds have no such header. PRECOMPILE is a list for one library
# alone. TORCH links LibTorch, and its headers are precompiled too: they take 20 s otherwise.
# PATHS are sources with SHIRA_SOURCE_DIR and SHIRA_DEPS_DIR. No other source has them, so that ccache finds it again in every clone.

add_library(shira_options INTERFACE)
# No -Wrestrict: GCC 12 sees overlapping copies in std::string's own operator+ (its bug 105651).
# No contraction to fused multiply-add: W(S) and PEFT's result are equal bit for bit whatever the machine.
# -pthread and -fpch-preprocess (for ccache) everywhere: a precompiled header has to agree with its users.
target_compile_options(shira_options INTERFACE -Wall -Wextra -Werror $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict> -ffp-contract=off -pthread -fpch-preprocess)
target_include_directories(shira_options INTERFACE "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>")

# shira_precompiled_header(NAME HEADERS ... [DEPS ...])      a header that other targets take with REUSE_FROM NAME
function(shira_precompiled_header name)
  cmake_parse_arguments(ARG "" "" "HEADERS;DEPS" ${ARGN})
  file(WRITE "${PROJECT_BINARY_DIR}/${name}.cc" "// Owns the precompiled header.\n")
  add_library(${name} STATIC "${PROJECT_BINARY_DIR}/${name}.cc")
  target_link_libraries(${name} PRIVATE shira_options ${ARG_DEPS})
  target_precompile_headers(${name} PRIVATE ${ARG_HEADERS})
endfunction()

# GCC 12 no longer knows that a precompiled header's functions are the system's and warns of them, of what is not so and most of all under the
# sanitizers, whose builds therefore have LibTorch's headers alone.
string(FIND "${CMAKE_CXX_FLAGS}" "-fsanitize" shira_sanitized)
set(shira_common_headers <algorithm> <functional> <map> <memory> <optional> <string> <string_view> <utility> <vector> <absl/status/statusor.h>
    <absl/strings/str_cat.h> <absl/strings/str_format.h> <absl/synchronization/mutex.h> <absl/time/time.h> <absl/types/span.h>
    <nlohmann/json.hpp>)
set(shira_common_deps absl::span absl::statusor absl::str_format absl::strings absl::synchronization absl::time nlohmann_json::nlohmann_json)
set(shira_api_headers <grpcpp/grpcpp.h> <shira/v1/adapter_admin.grpc.pb.h> <shira/v1/inference.grpc.pb.h>
    <shira/v1/operations.grpc.pb.h>)
set(shira_torch_headers <ATen/ATen.h> <ATen/Parallel.h>)
if(shira_sanitized EQUAL -1)
  shira_precompiled_header(shira_pch HEADERS ${shira_common_headers} DEPS ${shira_common_deps})
  if(SHIRA_BUILD_SERVER)
    shira_precompiled_header(shira_torch_pch HEADERS ${shira_torch_headers} ${shira_common_headers} DEPS ${shira_common_deps} shira::torch)
  endif()
elseif(SHIRA_BUILD_SERVER)
  shira_precompiled_header(shira_torch_pch HEADERS ${shira_torch_headers} DEPS shira::torch)
endif()

function(shira_library name)
  cmake_parse_arguments(ARG "TORCH" "" "SRCS;DEPS;PRECOMPILE" ${ARGN})
  add_library(shira_${name} STATIC ${ARG_SRCS})
  add_library(shira::${name} ALIAS shira_${name})
  target_link_libraries(shira_${name} PRIVATE $<BUILD_INTERFACE:shira_options> PUBLIC ${ARG_DEPS})
  target_include_directories(shira_${name} PUBLIC "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>")
  set_target_properties(shira_${name} PROPERTIES EXPORT_NAME ${name})
  if(ARG_TORCH)
    target_link_libraries(shira_${name} PUBLIC shira::torch)
    target_precompile_headers(shira_${name} REUSE_FROM shira_torch_pch)
  elseif(NOT TARGET shira_pch)
    return()
  elseif(ARG_PRECOMPILE)
    target_precompile_headers(shira_${name} PRIVATE ${ARG_PRECOMPILE})
  else()
    target_precompile_headers(shira_${name} REUSE_FROM shira_pch)
  endif()
endfunction()

function(shira_tests name)
  cmake_parse_arguments(ARG "TORCH" "TIMEOUT" "SRCS;PATHS;DEPS" ${ARGN})
  file(RELATIVE_PATH folder "${PROJECT_SOURCE_DIR}/tests" "${CMAKE_CURRENT_SOURCE_DIR}")
  add_executable(${name} ${ARG_SRCS} ${ARG_PATHS})
  target_link_libraries(${name} PRIVATE shira_options ${ARG_DEPS} GTest::gmock_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests/${folder}")
  set_property(SOURCE ${ARG_PATHS} APPEND PROPERTY COMPILE_DEFINITIONS
    SHIRA_SOURCE_DIR="${PROJECT_SOURCE_DIR}" SHIRA_DEPS_DIR="${SHIRA_DEPS}")
  if(ARG_TORCH)
    target_compile_options(${name} PRIVATE -fPIC)  # as the precompiled header; not an executable's -fPIE
    target_link_libraries(${name} PRIVATE shira::torch)
    target_precompile_headers(${name} REUSE_FROM shira_torch_pch)
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  shira_test_limit(limit ${ARG_TIMEOUT})
  include(GoogleTest)
  gtest_discover_tests(${name} DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT ${limit})
endfunction()

function(shira_python_test name script)
  cmake_parse_arguments(ARG "" "TIMEOUT" "ARGS" ${ARGN})
  add_test(NAME ${name} COMMAND "${SHIRA_DEPS}/venv/bin/python" "${CMAKE_CURRENT_SOURCE_DIR}/${script}" ${ARG_ARGS})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 600)
  endif()
  shira_test_limit(limit ${ARG_TIMEOUT})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${limit}
    ENVIRONMENT "SHIRA_BIN=${PROJECT_BINARY_DIR}/bin;SHIRA_DEPS=${SHIRA_DEPS};PYTHONPATH=${PROJECT_SOURCE_DIR}/tests/testutil")
endfunction()
