// File: server/generation/field_problems.h
//
// Collects what is wrong with a request, so that the client learns of everything at once.

#ifndef SHIRA_SERVER_GENERATION_FIELD_PROBLEMS_H_
#define SHIRA_SERVER_GENERATION_FIELD_PROBLEMS_H_

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace shira {

class FieldProblems {
 public:
  // `field` as the proto names it, "stop.max_tokens".
  void Add(std::string_view field, std::string_view problem) {
    problems_.emplace_back(field, problem);
  }

  // OK without problems; else INVALID_ARGUMENT, reason INVALID_REQUEST, with every problem in the
  // message and the fields in metadata "fields".
  absl::Status ToStatus() const;

 private:
  std::vector<std::pair<std::string, std::string>> problems_;  // field, problem
};

}  // namespace shira

#endif  // SHIRA_SERVER_GENERATION_FIELD_PROBLEMS_H_
