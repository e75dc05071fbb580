#include "server/model/model_files.h"

#include <utility>

#include "base/strings.h"

namespace shira {

std::vector<ModelFiles::Source> ModelFiles::sources_of(const TensorSpec& spec) const {
  const auto source = [](const std::string& name, const std::vector<int64_t>& whole,
                         const std::optional<StoredPart>& part) {
    return part ? Source{.name = name, .shape = part->shape, .part = &*part}
                : Source{.name = name, .shape = whole};
  };
  if (gguf != nullptr) {
    if (spec.gguf_second_half.empty()) return {source(spec.gguf_name, spec.shape, spec.gguf_part)};
    std::vector<int64_t> half = spec.shape;
    half.front() /= 2;
    return {source(spec.gguf_name, half, spec.gguf_part),
            source(spec.gguf_second_half, half, spec.gguf_part)};
  }
  if (spec.other && tensors.count(spec.name) == 0) {
    const OtherForm& other = *spec.other;
    if (tensors.count(other.name) != 0) return {source(other.name, spec.shape, other.part)};
    const std::string blocks = StrCat(other.name, "_blocks");
    if (other.mxfp4 && tensors.count(blocks) != 0) {
      const int64_t elements = GgmlBlockOf(GgmlType::kMXFP4).elements;
      std::vector<int64_t> shape = other.mxfp4->shape;
      shape.back() /= elements;
      shape.push_back(elements / 2);
      return {Source{.name = blocks,
                     .shape = std::move(shape),
                     .part = &*other.mxfp4,
                     .scales = StrCat(other.name, "_scales")}};
    }
  }
  return {source(spec.name, spec.shape, std::nullopt)};
}

}  // namespace shira
