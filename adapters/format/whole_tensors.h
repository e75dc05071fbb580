// File: adapters/format/whole_tensors.h
//
// What becomes of the whole tensors of an adapter beside its sparse values. PEFT saves modules that
// were trained whole, but also matrices that were not trained: the frozen weight beneath an
// adapted lm_head, and both embeddings when it is told to.

#ifndef SHIRA_ADAPTERS_FORMAT_WHOLE_TENSORS_H_
#define SHIRA_ADAPTERS_FORMAT_WHOLE_TENSORS_H_

#include "adapters/format/adapter_format.h"
#include "adapters/format/adapter_reader.h"
#include "adapters/sparse_adapter.h"
#include "base/problem_list.h"

namespace shira {

// Calls every parameter of `raw` by its own name, and drops what leaves the weights as they are:
//   - a whole tensor that equals the base's, as far as the base's hashes and dtype are known;
//   - a frozen one, where they are not: it is the base's by its meaning;
//   - a second one that is equal, of a parameter that the model uses in two places.
// Adds to `problems` what no state of these weights is equal to: values for only one of two places,
// two different whole tensors for both, and a frozen tensor that differs from the base's and has no
// sparse values above it (with them it stays, and AddToWhole() makes one of both).
void SettleWholeTensors(const BaseModelIdentity& base, RawAdapter& raw, ProblemList& problems);

// `whole` with the values of `delta` added at its positions. REQUIRES: `whole` is a replacement of
// every element, `delta` is of kind kDelta; equal shapes.
ParameterDelta AddToWhole(ParameterDelta whole, const ParameterDelta& delta);

}  // namespace shira

#endif  // SHIRA_ADAPTERS_FORMAT_WHOLE_TENSORS_H_
