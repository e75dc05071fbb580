#include "client/cli/progress.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace shira::cli {
namespace {

constexpr absl::Duration kDelay = absl::Milliseconds(300);
constexpr absl::Duration kFrame = absl::Milliseconds(100);
constexpr std::array<const char*, 10> kSpinner = {"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"};
constexpr char kWipeLine[] = "\r\x1b[K";

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
  if (done_.WaitForNotificationWithTimeout(kDelay)) return;
  size_t frame = 0;
  do {
    const int64_t seconds = absl::ToInt64Seconds(absl::Now() - start);
    output_.Write(absl::StrCat(kWipeLine, kSpinner[frame++ % kSpinner.size()], " ", text_, "… ",
                               seconds, " s"));
  } while (!done_.WaitForNotificationWithTimeout(kFrame));
  output_.Write(kWipeLine);
}

}  // namespace shira::cli
