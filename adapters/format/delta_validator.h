// File: adapters/format/delta_validator.h
//
// From what a file says to what the switch can trust: every index and value of a layer is checked,
// and entries are put in order.

#ifndef SHIRA_ADAPTERS_FORMAT_DELTA_VALIDATOR_H_
#define SHIRA_ADAPTERS_FORMAT_DELTA_VALIDATOR_H_

#include <optional>

#include "adapters/format/adapter_format.h"
#include "adapters/format/adapter_reader.h"
#include "adapters/sparse_adapter.h"
#include "base/dtype.h"
#include "base/problem_list.h"

namespace shira {

// The delta with its entries sorted and its values rounded to `round_to` if there is one, or
// nullopt after adding to `problems`: a parameter that `base` does not have, another shape, no
// entries, indices that are not integral, out of range or duplicate, values that are not finite. Of
// each kind the first is named, with the number of all.
std::optional<ParameterDelta> ValidateDelta(const RawDelta& raw, const BaseModelIdentity& base,
                                            std::optional<DType> round_to, ProblemList& problems);

}  // namespace shira

#endif  // SHIRA_ADAPTERS_FORMAT_DELTA_VALIDATOR_H_
