#include "server/model/torch_status.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>

#include <new>
#include <stdexcept>

#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

template <typename Body>
absl::Status StatusOfThrowing(Body body) {
  try {
    body();
    return absl::OkStatus();
  } catch (...) {
    return StatusOfCurrentException("forward pass");
  }
}

TEST(TorchStatusTest, AShapeErrorIsInternalAndHasNoBacktrace) {
  EXPECT_THAT(
      StatusOfThrowing([] {
        at::mm(at::zeros({2, 3}), at::zeros({4, 5}));
      }),
      StatusIs(absl::StatusCode::kInternal,
               AllOf(StartsWith("forward pass: "), HasSubstr("mat1"), Not(HasSubstr("frame #")))));
}

TEST(TorchStatusTest, WantOfMemoryIsResourceExhausted) {
  EXPECT_THAT(StatusOfThrowing([] { at::empty({int64_t{1} << 50}); }),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(StatusOfThrowing([] { throw std::bad_alloc(); }),
              StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST(TorchStatusTest, AnythingElseIsInternal) {
  EXPECT_THAT(StatusOfThrowing([] { throw std::runtime_error("odd"); }),
              StatusIs(absl::StatusCode::kInternal, HasSubstr("odd")));
  EXPECT_THAT(StatusOfThrowing([] { throw 7; }), StatusIs(absl::StatusCode::kInternal));
}

}  // namespace
}  // namespace shira
