#include "client/cli/line_reader.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <string>
#include <vector>

#include "client/cancellation.h"
#include "client/cli/interrupt.h"

namespace shira::cli {
namespace {

class LineReaderTest : public ::testing::Test {
 protected:
  LineReaderTest() {
    BlockInterrupts();
    EXPECT_EQ(pipe(pipe_.data()), 0);
  }
  ~LineReaderTest() override { close(pipe_[0]); }

  void Feed(const std::string& text) {
    EXPECT_EQ(write(pipe_[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
    close(pipe_[1]);
  }

  std::array<int, 2> pipe_;
  std::string line_;
};

TEST_F(LineReaderTest, ReadsLinesAndTheLastOneWithoutItsEnd) {
  Feed("one\n\ngrüße");
  const auto reader = MakePlainLineReader(pipe_[0]);
  EXPECT_EQ(reader->Read(line_), ReadResult::kLine);
  EXPECT_EQ(line_, "one");
  EXPECT_EQ(reader->Read(line_), ReadResult::kLine);
  EXPECT_EQ(line_, "");
  EXPECT_EQ(reader->Read(line_), ReadResult::kLine);
  EXPECT_EQ(line_, "grüße");
  EXPECT_EQ(reader->Read(line_), ReadResult::kEnd);
}

TEST_F(LineReaderTest, ForgetsWhatWasTypedBeforeAnInterrupt) {
  EXPECT_EQ(write(pipe_[1], "half", 4), 4);
  kill(getpid(), SIGINT);
  const auto reader = MakePlainLineReader(pipe_[0]);
  EXPECT_EQ(reader->Read(line_), ReadResult::kInterrupted);
  EXPECT_EQ(line_, "");
  close(pipe_[1]);
}

TEST_F(LineReaderTest, AnInterruptCancelsACallAndIsTakenByIt) {
  Cancellation cancellation;
  {
    const CancelOnInterrupt watch(cancellation);
    kill(getpid(), SIGINT);
    EXPECT_TRUE(cancellation.SleepFor(absl::InfiniteDuration()));
  }
  EXPECT_FALSE(TakeInterrupt());
  close(pipe_[1]);
}

TEST_F(LineReaderTest, AWatchEndsWithoutAnInterrupt) {
  Cancellation cancellation;
  { const CancelOnInterrupt watch(cancellation); }
  EXPECT_FALSE(cancellation.cancelled());
  close(pipe_[1]);
}

TEST(CompletionTest, InsertsWhatIsCommonAndABlankBehindTheOnlyOne) {
  EXPECT_EQ(Complete("/ada", {"/adapter", "/adapters", "/base"}).insert, "pter");
  EXPECT_EQ(Complete("/b", {"/adapter", "/adapters", "/base"}).insert, "ase ");
  EXPECT_EQ(Complete("/adapter pir", {"json", "pirate"}).insert, "ate ");
  EXPECT_EQ(Complete("/base", {"/base"}).insert, " ");
}

TEST(CompletionTest, ShowsTheChoicesWhereNothingIsCommon) {
  const Completion completion = Complete("/adapter ", {"json", "pirate"});
  EXPECT_EQ(completion.insert, "");
  EXPECT_EQ(completion.choices, (std::vector<std::string>{"json", "pirate"}));
  EXPECT_EQ(Complete("/adapter", {"/adapter", "/adapters"}).choices.size(), 2);
}

TEST(CompletionTest, KnowsNothingWhereNothingFits) {
  EXPECT_EQ(Complete("/adapter x", {"json", "pirate"}).insert, "");
  EXPECT_TRUE(Complete("/adapter x", {"json", "pirate"}).choices.empty());
  EXPECT_TRUE(Complete("Hello", {}).choices.empty());
}

}  // namespace
}  // namespace shira::cli
