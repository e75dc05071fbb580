// File: base/problem_list.h
//
// Collects every problem of an input, so that a user sees all of them in one error instead of one
// per attempt.
//
//   ProblemList problems;
//   if (top_p > 1) problems.Add("top_p: expected at most 1, found ", top_p);
//   return problems.ToStatus(absl::StatusCode::kInvalidArgument, "request");

#ifndef SHIRA_BASE_PROBLEM_LIST_H_
#define SHIRA_BASE_PROBLEM_LIST_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_join.h"
#include "base/excerpt.h"
#include "base/strings.h"

namespace shira {

class ProblemList {
 public:
  // How many problems an error spells out; the rest is counted.
  static constexpr size_t kMaxListed = 20;
  // Of one problem: names in files can be long.
  static constexpr size_t kMaxProblemBytes = 600;

  template <typename... Parts>
  void Add(const Parts&... parts) {
    if (count_++ < kMaxListed) {
      problems_.push_back(Excerpt(StrCat(parts...), kMaxProblemBytes));
    }
  }

  bool empty() const { return count_ == 0; }
  size_t count() const { return count_; }

  // OK when empty; else "subject: problem; problem; and N more".
  absl::Status ToStatus(absl::StatusCode code, std::string_view subject) const {
    if (empty()) return absl::OkStatus();
    std::string message = StrCat(subject, ": ", absl::StrJoin(problems_, "; "));
    if (count_ > problems_.size()) {
      StrAppend(&message, "; and ", count_ - problems_.size(), " more");
    }
    return absl::Status(code, message);
  }

 private:
  size_t count_ = 0;
  std::vector<std::string> problems_;
};

}  // namespace shira

#endif  // SHIRA_BASE_PROBLEM_LIST_H_
