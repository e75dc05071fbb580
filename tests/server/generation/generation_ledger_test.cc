#include "server/generation/generation_ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::testing::HasSubstr;
using ::testing::Not;

class GenerationLedgerTest : public ::testing::Test {
 protected:
  using Entry = std::unique_ptr<GenerationLedger::Entry>;

  Entry MustAdmit(const std::string& client, const std::vector<std::string>& adapters) {
    std::vector<AdapterRef> refs;
    for (const std::string& name : adapters) refs.push_back({.name = name, .digest = {}});
    absl::StatusOr<Entry> entry = ledger_.Admit(client, refs);
    EXPECT_THAT(entry.status(), IsOk());
    return entry.ok() ? *std::move(entry) : nullptr;
  }

  // "name waiting/running" each.
  std::string Loads() const {
    std::string text;
    for (const AdapterLoad& load : ledger_.Loads()) {
      absl::StrAppend(&text, text.empty() ? "" : ", ", load.adapter, " ", load.waiting, "/",
                      load.running);
    }
    return text;
  }

  Metrics metrics_{{}};
  GenerationLedger ledger_{
      {.max_waiting_per_client = 2, .max_unread_bytes = 8000, .last_words = absl::ZeroDuration()},
      metrics_};
};

TEST_F(GenerationLedgerTest, WhatHasEndedButIsNotReadCountsForItsClient) {
  std::vector<Entry> ended;
  for (int i = 0; i < 2; ++i) {
    ended.push_back(MustAdmit("a", {"tone"}));
    ended.back()->OnToken();
    ended.back()->OnEnd("stop", 1, 1, std::nullopt);
    EXPECT_EQ(Loads(), "");
  }
  EXPECT_THAT(ledger_.Admit("a", {}).status(), StatusIs(absl::StatusCode::kResourceExhausted,
                                                        HasSubstr("2 ended that it does not")));
  EXPECT_NE(MustAdmit("b", {}), nullptr);
  ended.pop_back();
  EXPECT_NE(MustAdmit("a", {}), nullptr);
}

TEST_F(GenerationLedgerTest, LastWordsMayBeOnTheirWayForAWhile) {
  GenerationLedger ledger({.max_waiting_per_client = 1, .last_words = absl::Hours(1)}, metrics_);
  std::vector<Entry> ended;
  for (int i = 0; i < 5; ++i) {
    ended.push_back(*ledger.Admit("a", {}));
    ended.back()->OnEnd("stop", 1, 1, std::nullopt);
    ended.back()->SetAnswer(int64_t{1} << 40);
  }
}

TEST_F(GenerationLedgerTest, UnreadStreamsAreBoundedForAClientAndForAll) {
  const Entry entry = MustAdmit("a", {});
  EXPECT_THAT(entry->AddUnread(1000), IsOk());
  EXPECT_THAT(entry->AddUnread(1),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("1001 bytes of streams")));
  EXPECT_THAT(entry->AddUnread(-1), IsOk());
  std::vector<Entry> others;
  for (const char* client : {"b", "c", "d", "e", "f", "g", "h"}) {
    others.push_back(MustAdmit(client, {}));
    EXPECT_THAT(others.back()->AddUnread(1000), IsOk());
  }
  const Entry last = MustAdmit("i", {});
  EXPECT_THAT(last->AddUnread(1),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("8001 of all clients")));
  others.pop_back();
  EXPECT_THAT(last->AddUnread(1), IsOk());
}

TEST_F(GenerationLedgerTest, AnswersThatAreNotReadKeepFurtherOnesAway) {
  Entry answered = MustAdmit("a", {});
  answered->OnEnd("stop", 1, 1, std::nullopt);
  answered->SetAnswer(1001);
  // Not a reason to end the client's streams.
  EXPECT_THAT(MustAdmit("b", {})->AddUnread(500), IsOk());
  EXPECT_THAT(ledger_.Admit("a", {}).status(),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("1 answers of 1001 bytes")));
  answered.reset();
  EXPECT_NE(MustAdmit("a", {}), nullptr);
}

TEST_F(GenerationLedgerTest, AClientMayHaveSoManyWaitingForTheirFirstToken) {
  Entry first = MustAdmit("a", {});
  const Entry second = MustAdmit("a", {});
  const auto refused = [&] { return ledger_.Admit("a", {}).status(); };
  EXPECT_THAT(refused(), StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("'a'")));
  const Entry of_another = MustAdmit("b", {});

  first->OnToken();
  const Entry third = MustAdmit("a", {});
  EXPECT_THAT(refused(), Not(IsOk()));
  first->OnToken();
  first.reset();  // was not waiting: frees no place
  EXPECT_THAT(refused(), Not(IsOk()));
}

TEST_F(GenerationLedgerTest, WhatEndsWithoutATokenFreesItsPlace) {
  Entry first = MustAdmit("a", {});
  const Entry second = MustAdmit("a", {});
  first.reset();
  EXPECT_NE(MustAdmit("a", {}), nullptr);
}

TEST_F(GenerationLedgerTest, LoadsAreOfThisMomentAndTheBusiestComeFirst) {
  EXPECT_EQ(Loads(), "");
  Entry tone = MustAdmit("a", {"tone"});
  const Entry sum = MustAdmit("a", {"x", "y"});
  Entry base = MustAdmit("b", {});
  const Entry more = MustAdmit("c", {"tone"});
  EXPECT_EQ(Loads(), "tone 2/0, base 1/0, x+y 1/0");
  tone->OnToken();
  tone->OnToken();
  EXPECT_EQ(Loads(), "tone 1/1, base 1/0, x+y 1/0");
  tone.reset();
  base.reset();
  EXPECT_EQ(Loads(), "tone 1/0, x+y 1/0");
}

TEST_F(GenerationLedgerTest, EndsAreCountedOnceWithTheirTokens) {
  Entry entry = MustAdmit("a", {"tone"});
  for (int i = 0; i < 3; ++i) entry->OnToken();
  entry->OnEnd("stop", 10, 3, absl::Milliseconds(5));
  entry.reset();
  MustAdmit("a", {"tone"}).reset();  // the engine did not take it
  const std::string text = metrics_.Text();
  EXPECT_THAT(text, HasSubstr("shira_requests_total{adapter=\"tone\",outcome=\"stop\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("shira_prompt_tokens_total{adapter=\"tone\"} 10\n"));
  EXPECT_THAT(text, HasSubstr("shira_time_to_first_token_seconds_count{adapter=\"tone\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("shira_inter_token_seconds_count{adapter=\"tone\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("shira_queue_seconds_sum{adapter=\"tone\"} 0.005\n"));
}

}  // namespace
}  // namespace shira
