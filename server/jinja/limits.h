// File: server/jinja/limits.h
//
// The bounds that keep a hostile template from exhausting the stack, the memory or the time of the
// server. Chat templates come from untrusted model files, and they run on every
// request.

#ifndef SHIRA_SERVER_JINJA_LIMITS_H_
#define SHIRA_SERVER_JINJA_LIMITS_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "base/strings.h"

namespace shira::jinja {

// Template text. The longest templates of published models have some 20 KB.
inline constexpr size_t kMaxSourceBytes = size_t{1} << 20;
// Levels of one expression's tree, and of blocks in blocks.
inline constexpr int kMaxExpressionDepth = 200;
inline constexpr int kMaxBlockDepth = 64;
// Evaluations inside of one another at run time: macros that call macros, expressions in them.
inline constexpr int kMaxEvaluationDepth = 600;
// Lists in lists (and dicts, iterators, bound methods).
inline constexpr int kMaxValueDepth = 100;
// JSON text of a client: shallow enough that templates can put it into lists of theirs; as many
// values as take some 30 MB.
inline constexpr int kMaxJsonDepth = 64;
inline constexpr int64_t kMaxJsonValues = int64_t{1} << 17;
// Evaluated nodes, plus one for each kBytesPerStep bytes that an operation reads or makes.
inline constexpr int64_t kMaxSteps = 10'000'000;
inline constexpr int64_t kBytesPerStep = 128;
// Any one string, the rendered text included.
inline constexpr size_t kMaxStringBytes = size_t{16} << 20;
// Any one list; range() has the bound of jinja2's sandbox.
inline constexpr size_t kMaxListItems = size_t{1} << 20;
inline constexpr int64_t kMaxRangeItems = 100'000;

// What one rendering may still spend.
class Budget {
 public:
  // RESOURCE_EXHAUSTED once kMaxSteps are used up.
  absl::Status Spend(int64_t steps) {
    steps_left_ -= steps;
    if (steps_left_ >= 0) return absl::OkStatus();
    return absl::ResourceExhaustedError(
        StrCat("the template takes more than ", kMaxSteps, " steps"));
  }
  absl::Status SpendBytes(size_t bytes) {
    return Spend(static_cast<int64_t>(bytes) / kBytesPerStep);
  }
  bool exhausted() const { return steps_left_ < 0; }

 private:
  int64_t steps_left_ = kMaxSteps;
};

inline absl::Status CheckStringBytes(size_t bytes) {
  if (bytes <= kMaxStringBytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(StrCat("a string of more than ", kMaxStringBytes, " bytes"));
}

inline absl::Status CheckListItems(size_t items) {
  if (items <= kMaxListItems) return absl::OkStatus();
  return absl::ResourceExhaustedError(StrCat("a list of more than ", kMaxListItems, " items"));
}

}  // namespace shira::jinja

#endif  // SHIRA_SERVER_JINJA_LIMITS_H_
