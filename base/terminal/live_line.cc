#include "base/terminal/live_line.h"

#include "absl/strings/str_cat.h"

namespace shira {
namespace {

constexpr char kWipe[] = "\r\x1b[K";

}  // namespace

LiveLine::~LiveLine() {
  if (visible_) output_.Write(kWipe);
}

void LiveLine::Show(absl::string_view text) {
  visible_ = true;
  output_.Write(absl::StrCat(kWipe, text));
}

}  // namespace shira
