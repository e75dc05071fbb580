# What the builds with sanitizers (presets asan, tsan) have beside their flags: options in every program, and patience.
# docs/testing.md says what is run and what is suppressed.

set(SHIRA_TEST_TIME_FACTOR 1)  # what every test's time limit is multiplied by
if(CMAKE_CXX_FLAGS MATCHES "-fsanitize=")
  set(SHIRA_TEST_TIME_FACTOR 10)
  target_compile_options(shira_options INTERFACE -w)
  add_library(shira_sanitizer_options OBJECT "${PROJECT_SOURCE_DIR}/tests/sanitizer_options.cc")
  target_compile_definitions(shira_sanitizer_options PRIVATE SHIRA_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  target_compile_options(shira_sanitizer_options PRIVATE -fno-sanitize=all)  # called before the sanitizer is set up
  target_sources(shira_options INTERFACE
    "$<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:$<TARGET_OBJECTS:shira_sanitizer_options>>")
endif()

# shira_test_limit(OUT SECONDS)   a time limit as this build needs it
function(shira_test_limit out seconds)
  math(EXPR limit "${seconds} * ${SHIRA_TEST_TIME_FACTOR}")
  set(${out} ${limit} PARENT_SCOPE)
endfunction()
