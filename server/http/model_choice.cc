#include "server/http/model_choice.h"

#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "base/excerpt.h"
#include "base/strings.h"

namespace shira {

std::vector<AdapterSelectionTerm> ParseModelChoice(std::string_view model,
                                                   std::string_view base_name,
                                                   FieldProblems& problems) {
  if (model == base_name) return {};
  std::vector<AdapterSelectionTerm> terms;
  for (const absl::string_view text : absl::StrSplit(ToAbsl(model), '+')) {
    const std::string_view term = ToStd(text);
    // A name has no colon.
    const size_t colon = term.find(':');
    double weight = 1.0;
    if (colon != std::string_view::npos &&
        !absl::SimpleAtod(ToAbsl(term.substr(colon + 1)), &weight)) {
      problems.Add("model", StrCat("expected NAME or NAME:WEIGHT, found '",
                                   Excerpt(term, kMaxNameBytes), "'"));
    }
    terms.push_back({std::string(term.substr(0, colon)), weight});
  }
  return terms;
}

}  // namespace shira
