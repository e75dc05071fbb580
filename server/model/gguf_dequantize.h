// File: server/model/gguf_dequantize.h
//
// ggml's block formats to float32 (github.com/ggml-org/ggml, src/ggml-common.h). Bit-equal to
// gguf.quants.dequantize of the Python package gguf, hence to what transformers loads. And MXFP4 as
// transformers' folders have it, bit-equal to what transformers loads, too.

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

// Blocks of 32 elements, whose scales lie apart, a byte for each block. Of a block's 16 bytes, the first
// has element 0 in its low half and element 1 in its high one, the next elements 2 and 3, ...
// REQUIRES: out.size() is 32 for each scale, blocks holds 16 bytes for each.
void DequantizeMxfp4(absl::Span<const std::byte> blocks, absl::Span<const std::byte> scales,
                     absl::Span<float> out);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_GGUF_DEQUANTIZE_H_
