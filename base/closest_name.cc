#include "base/closest_name.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/string_view.h"

namespace shira {
namespace {

constexpr size_t kMaxBytes = 256;
constexpr size_t kMinPrefix = 3;

// Edits between the two; an exchange of neighbours is one ("optimal string alignment").
size_t Distance(const std::string& a, const std::string& b) {
  std::vector<size_t> two_before;
  std::vector<size_t> before(b.size() + 1);
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    two_before = std::exchange(before, row);
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t changed = before[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({changed, before[j] + 1, row[j - 1] + 1});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], two_before[j - 2] + 1);
      }
    }
  }
  return row[b.size()];
}

std::string Lower(std::string_view text) {
  return absl::AsciiStrToLower(absl::string_view(text.data(), text.size()));
}

}  // namespace

std::optional<std::string> ClosestName(std::string_view word,
                                       const std::vector<std::string>& names) {
  if (word.empty() || word.size() > kMaxBytes) return std::nullopt;
  const std::string meant = Lower(word);
  const size_t limit = std::max<size_t>(1, meant.size() / 3);
  std::optional<std::string> best;
  size_t best_distance = limit + 1;
  for (const std::string& name : names) {
    if (name.size() > kMaxBytes) continue;
    const std::string known = Lower(name);
    const bool begins = meant.size() >= kMinPrefix && known.starts_with(meant);
    const size_t distance = begins ? 1 : Distance(meant, known);
    // A name of one or two characters is near to any other such.
    if (distance >= best_distance || distance >= std::max(meant.size(), known.size())) continue;
    best = name;
    best_distance = distance;
  }
  return best;
}

}  // namespace shira
