// File: tests/testutil/dtype_test_name.h

#ifndef SHIRA_TESTS_TESTUTIL_DTYPE_TEST_NAME_H_
#define SHIRA_TESTS_TESTUTIL_DTYPE_TEST_NAME_H_

#include <gtest/gtest.h>

#include <string>

#include "base/dtype.h"

namespace shira::testing {

// What INSTANTIATE_TEST_SUITE_P calls the case of a dtype.
inline std::string DTypeTestName(const ::testing::TestParamInfo<DType>& info) {
  return std::string(DTypeName(info.param));
}

}  // namespace shira::testing

#endif  // SHIRA_TESTS_TESTUTIL_DTYPE_TEST_NAME_H_
