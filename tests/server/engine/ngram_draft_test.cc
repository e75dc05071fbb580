#include "server/engine/ngram_draft.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "server/engine/answer_drafts.h"

namespace shira {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

using Tokens = std::vector<int32_t>;

NgramIndex::Match Find(const Tokens& tokens) {
  return NgramIndex(static_cast<int64_t>(tokens.size())).Find(tokens);
}

// The same by looking at every place.
NgramIndex::Match FindSlowly(const Tokens& tokens) {
  const auto size = static_cast<int64_t>(tokens.size());
  const auto equal = [&](int64_t place) {
    int64_t length = 0;
    while (length < std::min(place, NgramIndex::kMostCompared) &&
           tokens[place - 1 - length] == tokens[size - 1 - length]) {
      ++length;
    }
    return length;
  };
  for (int64_t length = NgramIndex::kLongest; length >= NgramIndex::kShortest; --length) {
    for (int64_t place = size - 1; place >= length; --place) {
      if (equal(place) >= length) return {.length = equal(place), .next = place};
    }
  }
  return {};
}

Tokens Continuation(const Tokens& tokens, int64_t next, int64_t count) {
  Tokens draft = {-1};
  AppendContinuation(tokens, next, count, draft);
  EXPECT_EQ(draft.front(), -1);
  return {draft.begin() + 1, draft.end()};
}

TEST(NgramIndexTest, FindsWhatFollowedTheLastTokensBefore) {
  const NgramIndex::Match match = Find({1, 2, 3, 9, 1, 2, 3});
  EXPECT_EQ(match.length, 3);
  EXPECT_EQ(match.next, 3);
}

TEST(NgramIndexTest, TheLastOfSeveralPlacesCounts) {
  EXPECT_EQ(Find({1, 2, 8, 1, 2, 9, 1, 2}).next, 5);
}

TEST(NgramIndexTest, TheLongestMatchGoesBeforeALaterOne) {
  EXPECT_EQ(Find({1, 2, 3, 4, 8, 5, 3, 4, 9, 1, 2, 3, 4}).next, 4);
}

TEST(NgramIndexTest, SaysHowMuchMatchesBeyondWhatItLooksUp) {
  Tokens tokens;
  for (int round = 0; round < 2; ++round) {
    for (int32_t i = 0; i < 10; ++i) tokens.push_back(i);
  }
  EXPECT_EQ(Find(tokens).length, 10);
  EXPECT_EQ(Find(tokens).next, 10);
  for (int32_t i = 0; i < 100; ++i) tokens.push_back(7);
  EXPECT_EQ(Find(tokens).length, NgramIndex::kMostCompared);
}

TEST(NgramIndexTest, OneTokenOrAnUnknownOneIsNoMatch) {
  EXPECT_EQ(Find({5}).length, 0);
  EXPECT_EQ(Find({1, 2, 3, 2}).length, 0);
  EXPECT_EQ(Find({1, 2, 3, 4}).length, 0);
}

TEST(NgramIndexTest, GrowingTextsGiveWhatLookingEverywhereGives) {
  for (uint32_t seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    const int32_t vocabulary = 2 + static_cast<int32_t>(random() % 6);
    NgramIndex index(400);
    Tokens tokens;
    while (tokens.size() < 300) {
      for (size_t more = 1 + random() % 5; more > 0; --more) {
        tokens.push_back(static_cast<int32_t>(random() % vocabulary));
      }
      const NgramIndex::Match found = index.Find(tokens);
      const NgramIndex::Match expected = FindSlowly(tokens);
      // N-grams may share a slot, and then the earlier one is not found.
      if (found.length == expected.length) {
        EXPECT_EQ(found.next, expected.next) << seed;
      } else {
        EXPECT_LT(found.length, expected.length) << seed;
      }
    }
  }
}

TEST(NgramIndexTest, WhatItFindsIsThereHoweverLongTheTextIs) {
  std::mt19937 random(1);
  Tokens tokens;
  for (int i = 0; i < 300'000; ++i) tokens.push_back(static_cast<int32_t>(random() % 50'000));
  const Tokens repeated(tokens.end() - 1000, tokens.end());
  tokens.insert(tokens.end(), repeated.begin(), repeated.begin() + 20);
  NgramIndex index(static_cast<int64_t>(tokens.size()));
  const NgramIndex::Match match = index.Find(tokens);
  EXPECT_EQ(match.length, NgramIndex::kMostCompared);
  EXPECT_EQ(match.next, 300'000 - 1000 + 20);
}

TEST(ContinuationTest, IsWhatFollows) {
  EXPECT_THAT(Continuation({1, 2, 3, 4, 5}, 1, 3), ElementsAre(2, 3, 4));
  EXPECT_THAT(Continuation({1, 2, 3, 4, 5}, 1, 0), IsEmpty());
}

TEST(ContinuationTest, GoesOnWithItsBeginningWhereTheTextEnds) {
  EXPECT_THAT(Continuation({9, 1, 2, 1, 2}, 3, 5), ElementsAre(1, 2, 1, 2, 1));
  EXPECT_THAT(Continuation({9, 7}, 1, 3), ElementsAre(7, 7, 7));
}

TEST(DraftAcceptanceTest, FollowsWhatWasSeenOfSuchMatches) {
  DraftAcceptance acceptance;
  const double before = acceptance.Of(2);
  EXPECT_GT(acceptance.Of(16), before);
  for (int i = 0; i < 50; ++i) acceptance.Observe(2, 0, /*wrong=*/true);
  EXPECT_LT(acceptance.Of(2), 0.1);
  EXPECT_GT(acceptance.Of(3), before) << "another kind of match";
  for (int i = 0; i < 10; ++i) acceptance.Observe(2, 5, /*wrong=*/false);
  EXPECT_GT(acceptance.Of(2), 0.8);
  EXPECT_LT(acceptance.Of(2), 1.0);
  EXPECT_EQ(acceptance.Of(5), acceptance.Of(7));
  EXPECT_EQ(acceptance.Of(16), acceptance.Of(100));
}

TEST(AnswerDraftsTest, WhatIsNotRunIsLearntFromToo) {
  AnswerDrafts drafts(100);
  Tokens tokens = {1, 2, 3, 1, 2};
  const DraftOffer first = drafts.Offer(tokens, 4);
  EXPECT_EQ(first.tokens, 4);
  EXPECT_FALSE(drafts.Confirm(0, 9));
  drafts.End();
  tokens = {1, 2, 3, 1, 2, 9, 1, 2};
  EXPECT_LT(drafts.Offer(tokens, 4).acceptance, first.acceptance);
}

TEST(AnswerDraftsTest, OnlyWhatWasRunIsConfirmedToGoOn) {
  AnswerDrafts drafts(100);
  const Tokens tokens = {1, 2, 3, 4, 5, 1, 2};
  EXPECT_EQ(drafts.Offer(tokens, 3).tokens, 3);
  EXPECT_EQ(drafts.running(), 0);
  EXPECT_THAT(drafts.chunk(), ElementsAre(2));
  drafts.Run(2);
  EXPECT_THAT(drafts.chunk(), ElementsAre(2, 3, 4));
  EXPECT_TRUE(drafts.Confirm(0, 3));
  EXPECT_TRUE(drafts.Confirm(1, 4));
  EXPECT_FALSE(drafts.Confirm(2, 5)) << "right, but the model has not been run behind it";
  drafts.End();
  EXPECT_EQ(drafts.running(), 0);
  EXPECT_EQ(drafts.Offer(tokens, 0).tokens, 0);
}

}  // namespace
}  // namespace shira
