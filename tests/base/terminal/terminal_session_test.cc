#include "base/terminal/terminal_session.h"

#include <gtest/gtest.h>

#include <string>

namespace shira {
namespace {

class FakeSession final : public TerminalSession {
 public:
  explicit FakeSession(bool json = false) : TerminalSession("painter", json) {}
  using TerminalSession::ErrorLine;

  absl::Status reported;

 private:
  ExitCode ReportError(const absl::Status& error) override {
    reported = error;
    return ExitCode::kDeadline;
  }
};

TEST(TerminalSessionTest, EndsWithWhatTheCommandOrTheReportSays) {
  FakeSession session;
  EXPECT_EQ(session.Finish(ExitCode::kMismatch), ExitCode::kMismatch);
  EXPECT_TRUE(session.reported.ok());
  EXPECT_EQ(session.Finish(absl::NotFoundError("no wall")), ExitCode::kDeadline);
  EXPECT_EQ(session.reported, absl::NotFoundError("no wall"));
  // Standard error is no terminal in tests, or shows colors.
  EXPECT_TRUE(session.ErrorLine(session.reported).starts_with("painter: "));
  EXPECT_TRUE(session.ErrorLine(session.reported).ends_with(" NOT_FOUND: no wall"));
}

TEST(TerminalSessionTest, DumpsBytesThatAreNotUtf8AsReplacementCharacters) {
  EXPECT_EQ(Dump(nlohmann::ordered_json("a\xff")), "\"a\xEF\xBF\xBD\"");
}

TEST(TerminalSessionTest, FailsWhereOutputCannotBeWritten) {
  // Standard output as the program inherits it when the disk is full.
  EXPECT_EXIT(
      {
        if (std::freopen("/dev/full", "w", stdout) == nullptr) std::_Exit(99);
        FakeSession session;
        session.out().Write("result");
        std::_Exit(static_cast<int>(session.Finish(ExitCode::kOk)));
      },
      ::testing::ExitedWithCode(static_cast<int>(ExitCode::kError)),
      "painter: error: cannot write to standard output: No space left on device");
}

}  // namespace
}  // namespace shira
