# Lists a test program's suites for ctest, one test each: cmake -DPROGRAM=FILE -DLIMIT=SECONDS -DOUT=FILE -P DiscoverTestSuites.cmake
#
# GoogleTest's own module makes a process of every TEST, and a program that links LibTorch takes half a second to start.
execute_process(COMMAND "${PROGRAM}" --gtest_list_tests OUTPUT_VARIABLE listed RESULT_VARIABLE status ERROR_VARIABLE error TIMEOUT 60)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "${PROGRAM} could not list its tests: ${status}\n${error}")
endif()
# A suite stands at the start of its line and ends with a dot; what follows it may be the type that it is instantiated with.
string(REGEX MATCHALL "(^|\n)[A-Za-z0-9_/]+\\." suites "${listed}")
set(script)
foreach(suite ${suites})
  string(STRIP "${suite}" suite)
  string(REGEX REPLACE "\\.$" "" suite "${suite}")
  string(APPEND script "add_test([==[${suite}]==] [==[${PROGRAM}]==] [==[--gtest_filter=${suite}.*]==] --gtest_brief=1)\n"
    "set_tests_properties([==[${suite}]==] PROPERTIES TIMEOUT ${LIMIT})\n")
endforeach()
file(WRITE "${OUT}" "${script}")
