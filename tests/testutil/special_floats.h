// File: tests/testutil/special_floats.h

#ifndef SHIRA_TESTS_TESTUTIL_SPECIAL_FLOATS_H_
#define SHIRA_TESTS_TESTUTIL_SPECIAL_FLOATS_H_

#include <limits>

namespace shira::testing {

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
inline constexpr float kInfinity = std::numeric_limits<float>::infinity();

}  // namespace shira::testing

#endif  // SHIRA_TESTS_TESTUTIL_SPECIAL_FLOATS_H_
