#include "server/generation/field_problems.h"

#include "absl/strings/str_join.h"
#include "base/strings.h"
#include "server/generation/error_details.h"

namespace shira {

absl::Status FieldProblems::ToStatus() const {
  if (problems_.empty()) return absl::OkStatus();
  std::vector<std::string> fields;
  for (const auto& [field, problem] : problems_) fields.push_back(field);
  return WithReason(
      absl::InvalidArgumentError(absl::StrJoin(problems_, "; ", absl::PairFormatter(": "))),
      "INVALID_REQUEST", {{"fields", absl::StrJoin(fields, ",")}});
}

}  // namespace shira
