#include "server/model/tensor_spec.h"

namespace shira {

OtherNames OtherNamesOf(const std::vector<TensorSpec>& tensors) {
  OtherNames names;
  for (const TensorSpec& tensor : tensors) {
    if (!tensor.second_name.empty()) names.tied.emplace(tensor.second_name, tensor.name);
    if (!tensor.other) continue;
    (tensor.other->part ? names.fused : names.renamed).emplace(tensor.other->name, tensor.name);
  }
  return names;
}

}  // namespace shira
