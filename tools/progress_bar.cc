#include "tools/progress_bar.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "tools/interrupt.h"

namespace shira::tools {
namespace {

constexpr int kBarWidth = 24;

}  // namespace

ProgressBar::ProgressBar(std::string label, int64_t total, Output& output)
    : label_(std::move(label)),
      total_(std::max<int64_t>(total, 1)),
      output_(output),
      line_(output),
      start_(absl::Now()),
      drawn_(start_ + LiveLine::kDelay - LiveLine::kFrame) {}

absl::Status ProgressBar::Advance(int64_t amount, const std::string& next) {
  done_ += amount;
  if (Interrupted()) return absl::CancelledError("interrupted");
  if (output_.is_terminal() && absl::Now() - drawn_ >= LiveLine::kFrame) Draw(next);
  return absl::OkStatus();
}

void ProgressBar::Draw(const std::string& next) {
  drawn_ = absl::Now();
  const double part = std::min(1.0, static_cast<double>(done_) / static_cast<double>(total_));
  const int filled = static_cast<int>(part * kBarWidth);
  std::string left;
  if (part > 0.02) {
    const double seconds = absl::ToDoubleSeconds(drawn_ - start_) * (1 - part) / part;
    left = absl::StrFormat("  %d s left", std::llround(seconds));
  }
  line_.Show(absl::StrFormat("%s [%s%s] %3.0f %%%s  %s", label_, std::string(filled, '#'),
                             std::string(kBarWidth - filled, '.'), 100 * part, left,
                             output_.Dim(next)));
}

}  // namespace shira::tools
