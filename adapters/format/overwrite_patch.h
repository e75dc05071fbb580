// File: adapters/format/overwrite_patch.h
//
// Sparse overwrite patches: the elements that a training step changed, with their new values. For
// each parameter one pair of tensors, under either of two pairs of names:
//
//   <parameter>.indices   I32 [n]    row * columns + column (also I64), in any order
//   <parameter>.values    BF16 [n]   the new weights (also F16, F32)
//
//   <parameter>.idx  and  <parameter>.val       likewise (TRL's sparse_weight_patch)
//
// With "encoding": "gap_delta" in the file's metadata, positions are U16 or U32 gaps instead:
// the number of elements between a position and the one before.

#ifndef SHIRA_ADAPTERS_FORMAT_OVERWRITE_PATCH_H_
#define SHIRA_ADAPTERS_FORMAT_OVERWRITE_PATCH_H_

#include "absl/status/statusor.h"
#include "adapters/format/adapter_format.h"

namespace shira {

// Whether some tensor is called like half of a pair, and its other half is there too.
bool IsOverwritePatch(const Safetensors& tensors);

// As AdapterFormat::read. UNIMPLEMENTED for an encoding other than "raw" and "gap_delta".
absl::StatusOr<RawAdapter> ReadOverwritePatch(const AdapterFiles& files,
                                              const Safetensors& tensors);

}  // namespace shira

#endif  // SHIRA_ADAPTERS_FORMAT_OVERWRITE_PATCH_H_
