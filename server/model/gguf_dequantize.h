// File: server/model/gguf_dequantize.h
//
// ggml's block formats to float32 (github.com/ggml-org/ggml, src/ggml-common.h). Bit-equal to
// gguf.quants.dequantize of the Python package gguf, hence to what transformers loads.

#ifndef SHIRA_SERVER_MODEL_GGUF_DEQUANTIZE_H_
#define SHIRA_SERVER_MODEL_GGUF_DEQUANTIZE_H_

#include <cstddef>

#include "absl/types/span.h"
#include "base/gguf_file.h"

namespace shira {

// The most elements that a block of any type has; every block's number of elements divides it.
inline constexpr int64_t kMaxBlockElements = 256;

// REQUIRES: blocks holds exactly out.size() elements, a whole number of blocks. Any bytes are valid
// blocks; blocks need no alignment.
void DequantizeBlocks(GgmlType type, absl::Span<const std::byte> blocks, absl::Span<float> out);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_GGUF_DEQUANTIZE_H_
