// File: adapters/format/base_name.h
//
// Whether the base model that an adapter names can be the resident model.

#ifndef SHIRA_ADAPTERS_FORMAT_BASE_NAME_H_
#define SHIRA_ADAPTERS_FORMAT_BASE_NAME_H_

#include <string>
#include <string_view>

#include "absl/types/span.h"

namespace shira {

// Whether `claimed` contradicts `names`. Only a hub identity ("organisation/model") can: a local
// path says where a copy was stored, not which model it was. Names are compared by their last
// component without case and punctuation, and one may be the beginning of the other, so that
// "HuggingFaceTB/SmolLM2-135M-Instruct" and a file "smollm2-135m-instruct-q4_1.gguf" agree. No
// names: nothing contradicts.
bool ContradictsBaseName(std::string_view claimed, absl::Span<const std::string> names);

}  // namespace shira

#endif  // SHIRA_ADAPTERS_FORMAT_BASE_NAME_H_
