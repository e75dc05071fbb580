#include "server/engine/request_queue.h"

#include <algorithm>

#include "base/steady_clock.h"
#include "tests/server/engine/engine_fixture.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class RequestQueueTest : public testing::EngineFixture {
 protected:
  std::unique_ptr<Sequence> MakeSequence(SequenceId id) {
    return std::make_unique<Sequence>(
        id, Request(0, {1, 2}, 5, std::make_shared<testing::RecordingObserver>()),
        Sequence::Limits{.vocab_size = testing::FakeModelExecutor::kVocabSize,
                         .max_sequence_tokens = 64},
        SteadyNow());
  }
  void Push(RequestQueue& queue, SequenceId id) {
    EXPECT_THAT(queue.CheckRoom(), IsOk());
    queue.Push(MakeSequence(id));
  }
  static std::vector<SequenceId> Ids(const RequestQueue& queue) {
    std::vector<SequenceId> ids;
    for (const SequenceView& view : queue.Views(SteadyNow())) ids.push_back(view.id);
    return ids;
  }
};

TEST_F(RequestQueueTest, KeepsTheOrderOfArrival) {
  RequestQueue queue(10);
  for (const SequenceId id : {4, 2, 9}) Push(queue, id);
  EXPECT_THAT(Ids(queue), ElementsAre(4, 2, 9));
  EXPECT_EQ(queue.size(), 3);
}

TEST_F(RequestQueueTest, AFullQueueHasNoRoom) {
  RequestQueue queue(2);
  Push(queue, 1);
  Push(queue, 2);
  EXPECT_THAT(queue.CheckRoom(),
              StatusIs(absl::StatusCode::kResourceExhausted, HasSubstr("2 generations wait")));
  queue.Take(1);
  Push(queue, 3);
  EXPECT_THAT(Ids(queue), ElementsAre(2, 3));
}

TEST_F(RequestQueueTest, FindsAndTakesById) {
  RequestQueue queue(10);
  for (const SequenceId id : {1, 2, 3}) Push(queue, id);
  Sequence* second = queue.Find(2);
  ASSERT_NE(second, nullptr);
  queue.Take(1);
  EXPECT_EQ(queue.Find(2), second);
  EXPECT_EQ(queue.Take(2).get(), second);
  EXPECT_EQ(queue.Find(2), nullptr);
  EXPECT_EQ(queue.Take(2), nullptr);
  EXPECT_THAT(Ids(queue), ElementsAre(3));
}

TEST_F(RequestQueueTest, TakesWhatMatchesAndKeepsTheOthersOrder) {
  RequestQueue queue(10);
  for (const SequenceId id : {1, 2, 3, 4, 5}) Push(queue, id);
  const auto taken = queue.TakeIf([](const Sequence& s) { return s.id() % 2 == 0; });
  ASSERT_EQ(taken.size(), 2u);
  EXPECT_EQ(taken[0]->id(), 2u);
  EXPECT_EQ(taken[1]->id(), 4u);
  EXPECT_THAT(Ids(queue), ElementsAre(1, 3, 5));
}

}  // namespace
}  // namespace shira
