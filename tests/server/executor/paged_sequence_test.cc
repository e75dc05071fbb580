// Sequences over pages whose contents are known: whatever they share, give back and take, what they
// read is what they wrote.

#include "server/executor/paged_sequence.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;

// What the pages hold: by page, one number for each of its positions.
class Memory : public PageLedger {
 public:
  explicit Memory(const KvGeometry& geometry)
      : PageLedger(geometry),
        numbers(geometry.pages, std::vector<uint64_t>(geometry.page_tokens)) {}

  std::vector<std::vector<uint64_t>> numbers;
};

class Sequence : public PagedSequence {
 public:
  Sequence(std::shared_ptr<Memory> memory, const SequenceRoom& room)
      : PagedSequence(memory, room), memory_(std::move(memory)) {}

  static absl::StatusOr<std::unique_ptr<Sequence>> Create(std::shared_ptr<Memory> memory,
                                                          const SequenceRoom& room) {
    auto sequence = std::make_unique<Sequence>(std::move(memory), room);
    if (absl::Status status = sequence->Reserve(); !status.ok()) return status;
    return sequence;
  }
  absl::StatusOr<std::unique_ptr<Sequence>> Fork(int64_t tokens, const SequenceRoom& room) {
    auto fork = std::make_unique<Sequence>(memory_, room);
    if (absl::Status status = ForkInto(tokens, *fork); !status.ok()) return status;
    fork->written_.assign(written_.begin(), written_.begin() + tokens);
    for (int64_t group = 0; fork->OwnEnd() >= 0 && group < geometry().groups(); ++group) {
      memory_->numbers[fork->pages_of(group)[fork->OwnEnd()]] =
          memory_->numbers[pages_of(group)[fork->OwnEnd()]];
    }
    return fork;
  }

  // A pass over `count` tokens: all are written, then each reads what attention reads.
  void Run(int64_t count, std::mt19937_64& random) {
    Begin(count);
    for (int64_t i = 0; i < count; ++i) {
      written_.push_back(random());
      for (int64_t group = 0; group < geometry().groups(); ++group) {
        At(group, length() + i) = written_.back() + group;
      }
    }
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t group = 0; group < geometry().groups(); ++group) {
        const int64_t position = length() + i;
        for (int64_t read = geometry().FirstSeen(group, position) * geometry().page_tokens;
             read <= position; ++read) {
          ASSERT_EQ(At(group, read), written_[read] + group)
              << "group " << group << ", position " << read << " as " << position << " sees it";
        }
      }
    }
    Extend(count);
  }

 private:
  uint64_t& At(int64_t group, int64_t position) {
    const int64_t page = pages_of(group)[position / geometry().page_tokens];
    return memory_->numbers[page][position % geometry().page_tokens];
  }

  const std::shared_ptr<Memory> memory_;
  std::vector<uint64_t> written_;  // by position
};

KvGeometry Small() {
  return {.page_tokens = 4,
          .page_bytes = 10,
          .pages = 100,
          .chunk_tokens = 8,
          .block_tokens = 8,
          .windows = {0, 10}};
}

TEST(PagedSequenceTest, ItsWindowStaysAsLargeAsItIsHoweverLongItGrows) {
  const auto memory = std::make_shared<Memory>(Small());
  std::mt19937_64 random(1);
  ASSERT_OK_AND_ASSIGN(const auto sequence, Sequence::Create(memory, {.tokens = 120}));
  EXPECT_EQ(sequence->pages(), 30 + 8);
  while (sequence->length() < 120) {
    sequence->Run(8, random);
    EXPECT_LE(sequence->pages(), 30 + 8);
    EXPECT_EQ(memory->used_bytes(), 10 * sequence->pages());
  }
  // At the end nothing is to come.
  EXPECT_EQ(sequence->pages(), 30 + (30 - memory->geometry().FirstKept(1, 120)));
}

TEST(PagedSequenceTest, ForksThatWereReservedForTakeNoMoreThanThat) {
  const auto memory = std::make_shared<Memory>(Small());
  std::mt19937_64 random(1);
  ASSERT_OK_AND_ASSIGN(auto first, Sequence::Create(memory, {.tokens = 100, .fork_at = 50}));
  while (first->length() < 50) first->Run(std::min<int64_t>(8, 50 - first->length()), random);
  const int64_t used = memory->used_bytes();
  ASSERT_OK_AND_ASSIGN(auto second, first->Fork(50, {.tokens = 100}));
  EXPECT_EQ(memory->used_bytes() - used, 10 * memory->geometry().PagesOf({.tokens = 52}, 0));
  while (first->length() < 100) {
    first->Run(std::min<int64_t>(8, 100 - first->length()), random);
    second->Run(std::min<int64_t>(7, 100 - second->length()), random);
  }
}

TEST(PagedSequenceTest, AForkMakesUpForTheWindowThatItsSourceCannotUseAgain) {
  const auto memory = std::make_shared<Memory>(Small());
  std::mt19937_64 random(1);
  ASSERT_OK_AND_ASSIGN(auto source, Sequence::Create(memory, {.tokens = 100}));
  for (int i = 0; i < 6; ++i) source->Run(8, random);
  const int64_t before = source->pages();
  const int64_t used = memory->used_bytes();
  ASSERT_OK_AND_ASSIGN(auto kept, source->Fork(48, {.tokens = 48}));
  EXPECT_GT(source->pages(), before);
  EXPECT_EQ(memory->used_bytes() - used, 10 * (source->pages() - before));
  // Whoever needs the memory takes the fork away; what the source has too much goes with its window.
  kept.reset();
  while (source->length() < 100) source->Run(4, random);
  EXPECT_EQ(memory->used_bytes(), 10 * source->pages());
}

TEST(PagedSequenceTest, AForkThatDoesNotFitLeavesBothAsTheyWere) {
  const auto memory = std::make_shared<Memory>(Small());
  std::mt19937_64 random(1);
  ASSERT_OK_AND_ASSIGN(auto source, Sequence::Create(memory, {.tokens = 100}));
  for (int i = 0; i < 6; ++i) source->Run(8, random);
  const int64_t pages = source->pages();
  const int64_t used = memory->used_bytes();
  EXPECT_THAT(source->Fork(48, {.tokens = 400}), StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_EQ(source->pages(), pages);
  EXPECT_EQ(memory->used_bytes(), used);
  while (source->length() < 100) source->Run(4, random);
}

TEST(PagedSequenceTest, OnlyWhatIsStillKeptCanBeForked) {
  const auto memory = std::make_shared<Memory>(Small());
  std::mt19937_64 random(1);
  ASSERT_OK_AND_ASSIGN(auto source, Sequence::Create(memory, {.tokens = 100}));
  while (source->length() < 49) source->Run(7, random);
  for (const int64_t tokens : {0, 44, 45, 48, 49}) EXPECT_TRUE(source->can_fork(tokens)) << tokens;
  for (const int64_t tokens : {-1, 1, 12, 24, 50}) EXPECT_FALSE(source->can_fork(tokens)) << tokens;
  EXPECT_THAT(source->Fork(24, {.tokens = 30}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(source->Fork(44, {.tokens = 43}), StatusIs(absl::StatusCode::kInvalidArgument));
  ASSERT_OK_AND_ASSIGN(auto fork, source->Fork(0, {.tokens = 5}));
  fork->Run(5, random);
}

TEST(PagedSequenceTest, AFinishedSequenceHoldsWhatItStoredAlone) {
  const auto memory = std::make_shared<Memory>(Small());
  std::mt19937_64 random(1);
  ASSERT_OK_AND_ASSIGN(auto sequence, Sequence::Create(memory, {.tokens = 60}));
  sequence->Run(6, random);
  sequence->Finish();
  EXPECT_EQ(sequence->pages(), 2 + 2);
  EXPECT_EQ(sequence->room(), 0);
  EXPECT_EQ(memory->used_bytes(), 40);
  ASSERT_OK_AND_ASSIGN(auto fork, sequence->Fork(4, {.tokens = 4}));
  EXPECT_EQ(memory->used_bytes(), 40);
}

TEST(PagedSequenceTest, RefusesWhatNoMachineHas) {
  const auto memory = std::make_shared<Memory>(Small());
  EXPECT_THAT(Sequence::Create(memory, {.tokens = std::numeric_limits<int64_t>::max()}),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(Sequence::Create(memory, {.tokens = 0}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_EQ(memory->used_bytes(), 0);
}

// Any windows, pages, chunks and forks.
class RandomSequencesTest : public ::testing::TestWithParam<uint32_t> {};

TEST_P(RandomSequencesTest, ReadWhatTheyWroteInBoundedMemory) {
  std::mt19937_64 random(GetParam());
  const auto below = [&](int64_t end) { return static_cast<int64_t>(random() % end); };
  KvGeometry kv;
  kv.page_tokens = 1 + below(8);
  kv.block_tokens = kv.page_tokens * (1 + below(3));
  kv.chunk_tokens = 1 + below(20);
  kv.pages = 60 + below(200);
  kv.windows.clear();
  for (int64_t i = 1 + below(4); i > 0; --i) {
    kv.windows.push_back(below(3) == 0 ? 0 : 1 + below(50));
  }
  const auto memory = std::make_shared<Memory>(kv);
  struct Entry {
    std::unique_ptr<Sequence> sequence;
    bool alone;  // neither a fork nor the source of one
    bool forks_later = false;
  };
  std::vector<Entry> entries;
  int64_t forked = 0;
  for (int step = 0; step < 600; ++step) {
    const int64_t action = below(20);
    if (entries.empty() || action == 0) {
      SequenceRoom room = {.tokens = 1 + below(120)};
      if (below(3) == 0) room.fork_at = below(room.tokens);
      const int64_t used = memory->used_bytes();
      if (auto sequence = Sequence::Create(memory, room); sequence.ok()) {
        EXPECT_EQ(memory->used_bytes() - used, kv.PagesOf(room, 0) * kv.page_bytes);
        entries.push_back({*std::move(sequence), true, room.fork_at > 0});
      } else {
        EXPECT_EQ(memory->used_bytes(), used);
      }
      continue;
    }
    Entry& entry = entries[below(entries.size())];
    Sequence& sequence = *entry.sequence;
    const int64_t rest = sequence.capacity() - sequence.length();
    EXPECT_GE(sequence.room(), std::min(rest, kv.chunk_tokens));
    EXPECT_LE(sequence.room(), rest);
    EXPECT_TRUE(sequence.can_fork(sequence.length()));
    if (action < 3) {
      const int64_t tokens = below(2) == 0 ? sequence.length() : below(sequence.length() + 1);
      const int64_t used = memory->used_bytes();
      const int64_t pages = sequence.pages();
      auto fork = sequence.Fork(tokens, {.tokens = tokens + below(60)});
      if (fork.ok()) {
        ++forked;
        entry.alone = false;
        entries.push_back({*std::move(fork), false});
      } else {
        EXPECT_EQ(memory->used_bytes(), used);
        EXPECT_EQ(sequence.pages(), pages);
      }
    } else if (action == 3) {
      std::swap(entry, entries.back());
      entries.pop_back();
    } else if (action == 4 && below(3) == 0) {
      sequence.Finish();
    } else if (sequence.room() > 0) {
      const int64_t most =
          below(4) == 0 ? sequence.room() : std::min(sequence.room(), kv.chunk_tokens);
      ASSERT_NO_FATAL_FAILURE(sequence.Run(1 + below(most), random));
      // What was reserved for a fork goes behind its place only.
      const bool is_plain = entry.alone && !entry.forks_later;
      int64_t bound = is_plain ? 0 : std::numeric_limits<int32_t>::max();
      for (int64_t group = 0; group < kv.groups(); ++group) {
        bound += std::min(kv.PagesFor(sequence.capacity()), kv.MostKept(group));
      }
      EXPECT_LE(sequence.pages(), bound);
    }
    int64_t held = 0;
    bool all_alone = true;
    for (const Entry& other : entries) {
      held += other.sequence->pages();
      all_alone = all_alone && other.alone;
    }
    EXPECT_LE(memory->used_bytes(), held * kv.page_bytes);
    if (all_alone) {
      EXPECT_EQ(memory->used_bytes(), held * kv.page_bytes);
    }
  }
  entries.clear();
  EXPECT_EQ(memory->used_bytes(), 0);
  EXPECT_GT(forked, 0);
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomSequencesTest, ::testing::Range(0u, 60u));

}  // namespace
}  // namespace shira
