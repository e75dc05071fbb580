#include "tools/progress_bar.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "tools/interrupt.h"

namespace shira::tools {
namespace {

constexpr absl::Duration kDelay = absl::Milliseconds(300);
constexpr absl::Duration kFrame = absl::Milliseconds(100);
constexpr int kBarWidth = 24;
constexpr char kWipeLine[] = "\r\x1b[K";

}  // namespace

ProgressBar::ProgressBar(std::string label, int64_t total, cli::Output& output)
    : label_(std::move(label)),
      total_(std::max<int64_t>(total, 1)),
      output_(output),
      start_(absl::Now()),
      drawn_(start_ + kDelay - kFrame) {}

ProgressBar::~ProgressBar() {
  if (visible_) output_.Write(kWipeLine);
}

absl::Status ProgressBar::Advance(int64_t amount, const std::string& next) {
  done_ += amount;
  if (Interrupted()) return absl::CancelledError("interrupted");
  if (output_.is_terminal() && absl::Now() - drawn_ >= kFrame) Draw(next);
  return absl::OkStatus();
}

void ProgressBar::Draw(const std::string& next) {
  drawn_ = absl::Now();
  visible_ = true;
  const double part = std::min(1.0, static_cast<double>(done_) / static_cast<double>(total_));
  const int filled = static_cast<int>(part * kBarWidth);
  std::string left;
  if (part > 0.02) {
    const double seconds = absl::ToDoubleSeconds(drawn_ - start_) * (1 - part) / part;
    left = absl::StrFormat("  %d s left", static_cast<int64_t>(seconds + 0.5));
  }
  output_.Write(absl::StrFormat("%s%s [%s%s] %3.0f %%%s  %s", kWipeLine, label_,
                                std::string(filled, '#'), std::string(kBarWidth - filled, '.'),
                                100 * part, left, output_.Dim(next)));
}

}  // namespace shira::tools
