// File: base/closest_name.h
//
// Suggestions for misspelled names.

#ifndef SHIRA_BASE_CLOSEST_NAME_H_
#define SHIRA_BASE_CLOSEST_NAME_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace shira {

// The one of `names` that `word` is most likely a slip of: of those that begin with it (three
// characters at least) or are at most a third of its characters away (inserted, left out, replaced,
// or two neighbours exchanged), the nearest; of equally near ones the first. Upper and lower case
// are the same. nullopt: none is near. The cost is bounded: no name or word of more than 256 bytes
// is compared.
std::optional<std::string> ClosestName(std::string_view word,
                                       const std::vector<std::string>& names);

}  // namespace shira

#endif  // SHIRA_BASE_CLOSEST_NAME_H_
