# shira_library(NAME SRCS ... [DEPS ...] [TORCH])   one library per rung, alias shira::NAME
# shira_tests(NAME SRCS ... [PATHS ...] [DEPS ...] [TORCH] [TIMEOUT seconds])  one program per folder, every TEST found by ctest
# shira_python_test(NAME script.py [ARGS ...])      a test written in Python, run by the environment of scripts/setup.sh
#
# TORCH links LibTorch and uses the precompiled header of its headers, which take 20 s to compile otherwise.
# PATHS are sources with SHIRA_SOURCE_DIR and SHIRA_DEPS_DIR. No other source has them, so that ccache finds it again in every clone.

add_library(shira_options INTERFACE)
# No -Wrestrict: GCC 12 sees overlapping copies in std::string's own operator+ (its bug 105651).
# No contraction to fused multiply-add: W(S) and PEFT's result are equal bit for bit whatever the machine.
target_compile_options(shira_options INTERFACE -Wall -Wextra -Werror $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict> -ffp-contract=off)
target_include_directories(shira_options INTERFACE "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>")

function(shira_use_torch target)
  target_link_libraries(${target} PUBLIC shira::torch)
  if(TARGET shira_torch_pch)
    target_precompile_headers(${target} REUSE_FROM shira_torch_pch)
  endif()
endfunction()

if(SHIRA_BUILD_SERVER)
  # Compiled once, with the same options as its users.
  file(WRITE "${PROJECT_BINARY_DIR}/torch_pch.cc" "// Owns the precompiled header.\n")
  add_library(shira_torch_pch STATIC "${PROJECT_BINARY_DIR}/torch_pch.cc")
  target_link_libraries(shira_torch_pch PRIVATE shira_options PUBLIC shira::torch)
  target_compile_options(shira_torch_pch PRIVATE -fpch-preprocess)
  target_precompile_headers(shira_torch_pch PRIVATE <ATen/ATen.h> <ATen/Parallel.h>)
endif()

function(shira_library name)
  cmake_parse_arguments(ARG "TORCH" "" "SRCS;DEPS" ${ARGN})
  add_library(shira_${name} STATIC ${ARG_SRCS})
  add_library(shira::${name} ALIAS shira_${name})
  target_link_libraries(shira_${name} PRIVATE $<BUILD_INTERFACE:shira_options> PUBLIC ${ARG_DEPS})
  target_include_directories(shira_${name} PUBLIC "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>")
  set_target_properties(shira_${name} PROPERTIES EXPORT_NAME ${name})
  if(ARG_TORCH)
    target_compile_options(shira_${name} PRIVATE -fpch-preprocess)
    shira_use_torch(shira_${name})
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
    target_compile_options(${name} PRIVATE -fpch-preprocess -fPIC)  # as the precompiled header; not an executable's -fPIE
    shira_use_torch(${name})
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
