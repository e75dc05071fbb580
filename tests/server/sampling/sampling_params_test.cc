#include "server/sampling/sampling_params.h"

#include <limits>

#include "tests/testutil/special_floats.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

using ::shira::testing::kInfinity;
using ::shira::testing::kNan;

TEST(SamplingParamsTest, DefaultsAreGreedyAndValid) {
  EXPECT_THAT(SamplingParams().Validate(100), IsOk());
  EXPECT_TRUE(SamplingParams().greedy());
}

TEST(SamplingParamsTest, AcceptsTheEndsOfEveryRange) {
  EXPECT_THAT((SamplingParams{.temperature = 5.0f,
                              .top_k = std::numeric_limits<int32_t>::max(),
                              .top_p = 1e-9f,
                              .min_p = 1.0f,
                              .repetition_penalty = 1e-3f,
                              .presence_penalty = 2.0f,
                              .frequency_penalty = -2.0f,
                              .logit_bias = {{0, -100.0f}, {99, 100.0f}}})
                  .Validate(100),
              IsOk());
}

TEST(SamplingParamsTest, ListsEveryProblemAtOnce) {
  EXPECT_THAT(
      (SamplingParams{.temperature = -1.0f,
                      .top_k = -2,
                      .top_p = 0.0f,
                      .min_p = 1.5f,
                      .repetition_penalty = 0.0f,
                      .presence_penalty = 2.5f,
                      .frequency_penalty = -3.0f,
                      .logit_bias = {{-1, 0.0f}, {100, 0.0f}, {5, 101.0f}, {5, 1.0f}}})
          .Validate(100),
      StatusIs(absl::StatusCode::kInvalidArgument,
               AllOf(HasSubstr("temperature: expected 0 or more, found -1"),
                     HasSubstr("top_k: expected 0 (all) or more, found -2"),
                     HasSubstr("top_p: expected more than 0 and at most 1, found 0"),
                     HasSubstr("min_p: expected 0 to 1, found 1.5"),
                     HasSubstr("repetition_penalty: expected more than 0, found 0"),
                     HasSubstr("presence_penalty: expected -2 to 2, found 2.5"),
                     HasSubstr("frequency_penalty: expected -2 to 2, found -3"),
                     HasSubstr("within [0, 100), found -1"),
                     HasSubstr("within [0, 100), found 100"), HasSubstr("token 5 occurs twice"),
                     HasSubstr("expected -100 to 100, found 101 for token 5"))));
}

TEST(SamplingParamsTest, RefusesNanAndInfinityInEveryField) {
  const auto refused = [](const SamplingParams& params, const char* field) {
    EXPECT_THAT(params.Validate(100),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(field)));
  };
  for (const float value : {kNan, kInfinity, -kInfinity}) {
    refused({.temperature = value}, "temperature");
    refused({.top_p = value}, "top_p");
    refused({.min_p = value}, "min_p");
    refused({.repetition_penalty = value}, "repetition_penalty");
    refused({.presence_penalty = value}, "presence_penalty");
    refused({.frequency_penalty = value}, "frequency_penalty");
    refused({.logit_bias = {{1, value}}}, "logit_bias");
  }
}

}  // namespace
}  // namespace shira
