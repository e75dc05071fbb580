# shira_library(NAME SRCS ... [DEPS ...] [API])       one library per rung, alias shira::NAME
# shira_tests(NAME SRCS ... [PATHS ...] [DEPS ...] [TIMEOUT seconds])  one program per folder, every suite a test of ctest
# shira_python_test(NAME script.py [ARGS ...])      a test written in Python, run by the environment of scripts/setup.sh
#
# Sources are compiled with a precompiled header of what most of them include (below), since reading such headers is most of what compiling
# takes. A source still includes what it uses. API: gRPC's headers too. What links shira::torch includes the headers of
# single operators, since <ATen/ATen.h> takes 20 s.
# PATHS are sources with SHIRA_SOURCE_DIR and SHIRA_DEPS_DIR. No other source has them, so that ccache finds it again in every clone.

add_library(shira_options INTERFACE)
# No -Wrestrict: GCC 12 sees overlapping copies in std::string's own operator+ (its bug 105651).
# No contraction to fused multiply-add: W(S) and PEFT's result are equal bit for bit whatever the machine.
# No -Wsubobject-linkage: a source of a unity build looks like a header to GCC, which then warns of its anonymous namespace.
# -pthread and -fpch-preprocess (for ccache) everywhere: a precompiled header has to agree with its users.
target_compile_options(shira_options INTERFACE -Wall -Wextra -Werror $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict> $<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage> -ffp-contract=off -pthread -fpch-preprocess)
target_include_directories(shira_options INTERFACE "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>")

# What most sources include. The sanitizers' builds go without warnings: GCC 12 no longer knows that a precompiled header's functions are the
# system's, and with their flags warns of what is not so.
set(shira_common_headers <algorithm> <functional> <map> <memory> <optional> <string> <string_view> <utility> <vector> <absl/status/statusor.h>
    <absl/strings/str_cat.h> <absl/strings/str_format.h> <absl/synchronization/mutex.h> <absl/time/time.h> <absl/types/span.h>
    <nlohmann/json.hpp>)

# shira_precompiled_header(NAME HEADERS ... [DEPS ...] [OPTIONS ...])      a header that other targets take with REUSE_FROM NAME
function(shira_precompiled_header name)
  cmake_parse_arguments(ARG "" "" "HEADERS;DEPS;OPTIONS" ${ARGN})
  file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/${name}.cc" CONTENT "// Owns the precompiled header.\n")  # written if it is not there
  add_library(${name} STATIC "${PROJECT_BINARY_DIR}/${name}.cc")
  target_link_libraries(${name} PRIVATE shira_options absl::span absl::statusor absl::str_format absl::strings absl::synchronization absl::time
    nlohmann_json::nlohmann_json ${ARG_DEPS})
  target_compile_options(${name} PRIVATE ${ARG_OPTIONS})
  target_precompile_headers(${name} PRIVATE ${ARG_HEADERS})
endfunction()

shira_precompiled_header(shira_pch HEADERS ${shira_common_headers})
if(SHIRA_BUILD_SERVER OR SHIRA_BUILD_CLIENT)
  shira_precompiled_header(shira_api_pch DEPS shira::proto HEADERS ${shira_common_headers} <grpcpp/grpcpp.h>
    <shira/v1/adapter_admin.grpc.pb.h> <shira/v1/inference.grpc.pb.h> <shira/v1/operations.grpc.pb.h>)
endif()
set(shira_test_options -fPIE -Wno-array-bounds -Wno-stringop-overflow)  # the linker's of a program; false from a precompiled header, in GCC 12
if(SHIRA_BUILD_TESTS)
  shira_precompiled_header(shira_test_pch HEADERS ${shira_common_headers} <gmock/gmock.h> <gtest/gtest.h> DEPS GTest::gmock
    OPTIONS ${shira_test_options})
endif()

function(shira_library name)
  cmake_parse_arguments(ARG "API" "" "SRCS;DEPS" ${ARGN})
  add_library(shira_${name} STATIC ${ARG_SRCS})
  add_library(shira::${name} ALIAS shira_${name})
  target_link_libraries(shira_${name} PRIVATE $<BUILD_INTERFACE:shira_options> PUBLIC ${ARG_DEPS})
  target_include_directories(shira_${name} PUBLIC "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>")
  set_target_properties(shira_${name} PROPERTIES EXPORT_NAME ${name})
  if(ARG_API)
    target_precompile_headers(shira_${name} REUSE_FROM shira_api_pch)
  else()
    target_precompile_headers(shira_${name} REUSE_FROM shira_pch)
  endif()
endfunction()

function(shira_tests name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SRCS;PATHS;DEPS" ${ARGN})
  file(RELATIVE_PATH folder "${PROJECT_SOURCE_DIR}/tests" "${CMAKE_CURRENT_SOURCE_DIR}")
  add_executable(${name} ${ARG_SRCS} ${ARG_PATHS})
  target_link_libraries(${name} PRIVATE shira_options ${ARG_DEPS} GTest::gmock_main)
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests/${folder}")
  set_property(SOURCE ${ARG_PATHS} APPEND PROPERTY COMPILE_DEFINITIONS
    SHIRA_SOURCE_DIR="${PROJECT_SOURCE_DIR}" SHIRA_DEPS_DIR="${SHIRA_DEPS}")
  target_compile_options(${name} PRIVATE ${shira_test_options})
  target_precompile_headers(${name} REUSE_FROM shira_test_pch)
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 600)
  endif()
  shira_test_limit(limit ${ARG_TIMEOUT})
  set(suites "${CMAKE_CURRENT_BINARY_DIR}/${name}_suites.cmake")
  add_custom_command(TARGET ${name} POST_BUILD BYPRODUCTS "${suites}" VERBATIM
    COMMAND "${CMAKE_COMMAND}" "-DPROGRAM=$<TARGET_FILE:${name}>" -DLIMIT=${limit} "-DOUT=${suites}"
            -P "${PROJECT_SOURCE_DIR}/cmake/DiscoverTestSuites.cmake")
  # A program that is not built yet is a test that fails, not one that is missing.
  set(include "${CMAKE_CURRENT_BINARY_DIR}/${name}_tests.cmake")
  file(WRITE "${include}" "if(EXISTS \"${suites}\")\n  include(\"${suites}\")\nelse()\n  add_test(${name}_NOT_BUILT ${name}_NOT_BUILT)\nendif()\n")
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES "${include}")
endfunction()

function(shira_python_test name script)
  cmake_parse_arguments(ARG "" "TIMEOUT" "ARGS" ${ARGN})
  add_test(NAME ${name} COMMAND "${SHIRA_DEPS}/venv/bin/python" "${CMAKE_CURRENT_SOURCE_DIR}/${script}" ${ARG_ARGS})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 600)
  endif()
  shira_test_limit(limit ${ARG_TIMEOUT})
  # These take longest, so a run begins with them: one that began last would keep a core waiting.
  set_tests_properties(${name} PROPERTIES TIMEOUT ${limit} COST ${ARG_TIMEOUT}
    ENVIRONMENT "SHIRA_BIN=${PROJECT_BINARY_DIR}/bin;SHIRA_DEPS=${SHIRA_DEPS};PYTHONPATH=${PROJECT_SOURCE_DIR}/tests/testutil")
endfunction()
