#include "server/logging/line_writer.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "base/strings.h"

namespace shira {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Standard error as a pipe whose reader this test is.
class LineWriterTest : public ::testing::Test {
 protected:
  LineWriterTest() {
    signal(SIGPIPE, SIG_IGN);
    EXPECT_EQ(pipe(ends_), 0);
    fcntl(ends_[0], F_SETFL, O_NONBLOCK);
  }
  ~LineWriterTest() override {
    for (const int end : ends_) close(end);
  }

  LineWriter::Options Options(size_t max_bytes = size_t{1} << 20) const {
    return {.fd = ends_[1], .max_bytes = max_bytes, .lost_line = [](int64_t lost) {
              return StrCat("lost ", lost, "\n");
            }};
  }

  // Takes all of the room that the pipe has, with lines that Read() leaves out.
  void Fill() {
    fcntl(ends_[1], F_SETFL, O_NONBLOCK);
    const std::string page = std::string(4095, '-') + '\n';
    while (write(ends_[1], page.data(), page.size()) > 0) {
    }
    fcntl(ends_[1], F_SETFL, 0);
  }

  std::vector<std::string> Read() {
    std::string text;
    char buffer[4096];
    for (ssize_t size; (size = read(ends_[0], buffer, sizeof(buffer))) > 0;) {
      text.append(buffer, static_cast<size_t>(size));
    }
    return absl::StrSplit(
        text, '\n', [](absl::string_view line) { return !line.empty() && line.front() != '-'; });
  }

  int ends_[2] = {-1, -1};
};

TEST_F(LineWriterTest, LinesComeInTheirOrder) {
  LineWriter writer(Options());
  writer.Write("one\n");
  writer.Write("two\n");
  EXPECT_TRUE(writer.Close(absl::Seconds(60)));
  writer.Write("too late\n");
  EXPECT_EQ(writer.dropped(), 1);
  EXPECT_THAT(Read(), ElementsAre("one", "two"));
}

TEST_F(LineWriterTest, NobodyWaitsForAReader) {
  Fill();
  LineWriter writer(Options());
  for (int i = 0; i < 1000; ++i) writer.Write("a line that nobody will read\n");
  EXPECT_FALSE(writer.Close(absl::Milliseconds(20)));
}

TEST_F(LineWriterTest, ALineSaysWhatWasLost) {
  Fill();
  LineWriter writer(Options(/*max_bytes=*/20));
  // The first goes to the thread, sooner or later; the room is for two more.
  for (int i = 0; i < 10; ++i) writer.Write("12345678\n");
  const int64_t dropped = writer.dropped();
  EXPECT_GE(dropped, 5);
  EXPECT_LE(dropped, 8);
  std::vector<std::string> lines = Read();  // makes room
  EXPECT_TRUE(writer.Close(absl::Seconds(60)));
  for (std::string& line : Read()) lines.push_back(std::move(line));
  ASSERT_THAT(lines, ::testing::Not(IsEmpty()));
  EXPECT_EQ(lines.back(), StrCat("lost ", dropped));
  lines.pop_back();
  EXPECT_EQ(static_cast<int64_t>(lines.size()) + dropped, 10);
}

TEST_F(LineWriterTest, AReaderThatIsGoneLosesLinesOnly) {
  close(std::exchange(ends_[0], -1));
  LineWriter writer(Options());
  writer.Write("one\n");
  writer.Close(absl::Seconds(60));
  EXPECT_GE(writer.dropped(), 1);
}

}  // namespace
}  // namespace shira
