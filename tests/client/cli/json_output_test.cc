#include "client/cli/json_output.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/status/status.h"
#include "base/terminal/terminal_session.h"

namespace shira::cli {
namespace {

TEST(JsonOutputTest, IsOneLineWithKeysInOrder) {
  v1::TokenizeResponse response;
  response.add_ids(5);
  response.set_text("a\nb");
  EXPECT_EQ(Dump(ToJson(response)), R"({"ids":[5],"text":"a\nb"})");
}

TEST(JsonOutputTest, MakesAnObjectOfASingleField) {
  v1::DetokenizeResponse response;
  response.set_text("x");
  EXPECT_EQ(Dump(ToJson(response)), R"({"text":"x"})");
}

TEST(JsonOutputTest, HasEmptyArraysForEmptyLists) {
  const Json json = ToJson(v1::GenerateResponse());
  EXPECT_EQ(json["token_ids"], Json::array());
  EXPECT_EQ(json["prompt_token_ids"], Json::array());
  EXPECT_EQ(json["adapter"], Json::array());
  EXPECT_FALSE(json.contains("stop_string"));
  EXPECT_FALSE(json.contains("stop_token_id"));
  EXPECT_FALSE(json.contains("seed"));
  EXPECT_FALSE(json.contains("logprobs"));
}

TEST(JsonOutputTest, TellsWhatEndedTheAnswer) {
  v1::GenerateResponse response;
  response.mutable_summary()->set_finish_reason(v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(ToJson(response)["finish_reason"], "length");
  response.mutable_summary()->set_finish_reason(v1::FINISH_REASON_STOP);
  response.mutable_summary()->set_stop_string("END");
  response.mutable_summary()->set_stop_token_id(0);
  EXPECT_EQ(ToJson(response)["finish_reason"], "stop");
  EXPECT_EQ(ToJson(response)["stop_string"], "END");
  EXPECT_EQ(ToJson(response)["stop_token_id"], 0);
}

TEST(JsonOutputTest, HasTheErrorOfAFailedAdapter) {
  v1::Adapter adapter;
  adapter.set_state(v1::ADAPTER_STATE_FAILED);
  adapter.set_error("q_proj: index 7 out of range");
  EXPECT_EQ(ToJson(adapter)["state"], "FAILED");
  EXPECT_EQ(ToJson(adapter)["error"], "q_proj: index 7 out of range");
}

TEST(JsonOutputTest, HasAllKeysForAnErrorOfThisSide) {
  EXPECT_EQ(Dump(ErrorToJson(absl::UnavailableError("gone"))),
            R"({"error":{"code":"UNAVAILABLE","reason":"","message":"gone","metadata":{}}})");
}

TEST(JsonOutputTest, NamesTheHealth) {
  EXPECT_EQ(HealthName(HealthStatus::kServing), "SERVING");
  EXPECT_EQ(HealthName(HealthStatus::kNotServing), "NOT_SERVING");
  EXPECT_EQ(HealthName(HealthStatus::kUnknown), "UNKNOWN");
}

}  // namespace
}  // namespace shira::cli
