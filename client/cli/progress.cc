#include "client/cli/progress.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/terminal/live_line.h"

namespace shira::cli {
namespace {

constexpr std::array<const char*, 10> kSpinner = {"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"};

}  // namespace

Progress::Progress(std::string text, Output& output) : text_(std::move(text)), output_(output) {
  if (output_.is_terminal() && !text_.empty()) thread_ = std::thread(&Progress::Run, this);
}

Progress::~Progress() {
  done_.Notify();
  if (thread_.joinable()) thread_.join();
}

void Progress::Run() {
  const absl::Time start = absl::Now();
  if (done_.WaitForNotificationWithTimeout(LiveLine::kDelay)) return;
  LiveLine line(output_);
  size_t frame = 0;
  do {
    const int64_t seconds = absl::ToInt64Seconds(absl::Now() - start);
    line.Show(absl::StrCat(kSpinner[frame++ % kSpinner.size()], " ", text_, "… ", seconds, " s"));
  } while (!done_.WaitForNotificationWithTimeout(LiveLine::kFrame));
}

}  // namespace shira::cli
