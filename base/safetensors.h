// File: base/safetensors.h
//
// Reads and writes the safetensors format (github.com/huggingface/safetensors, README "Format"): 8
// bytes of header length N (little-endian), N bytes of JSON {name: {dtype, shape, data_offsets}},
// then the tensors' bytes, row-major and little-endian.

#ifndef SHIRA_BASE_SAFETENSORS_H_
#define SHIRA_BASE_SAFETENSORS_H_

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/dtype.h"

namespace shira {

// One tensor inside a file. data points into the bytes that were parsed and has exactly elements *
// DTypeSize(dtype) bytes; it need not be aligned for its type.
struct TensorView {
  DType dtype;
  std::vector<int64_t> shape;
  absl::Span<const std::byte> data;

  int64_t elements() const;
};

// A file begins with the header's length, little-endian; this name in the header is no tensor's.
inline constexpr size_t kSafetensorsLengthBytes = 8;
inline constexpr std::string_view kSafetensorsMetadataName = "__metadata__";
// The largest header that is accepted, as in the reference implementation.
inline constexpr uint64_t kSafetensorsMaxHeaderBytes = 100'000'000;

// The tensors of one file, by name. Thread-compatible.
class Safetensors {
 public:
  // Parses a whole file's bytes, which must outlive the result. `source` names the file in errors.
  // INVALID_ARGUMENT for: a file shorter than its header says, a header beyond
  // kSafetensorsMaxHeaderBytes, not JSON, duplicate names, unknown dtype, negative or overflowing
  // shape, offsets that do not match the shape, overlap, leave a gap or leave the file.
  static absl::StatusOr<Safetensors> Parse(absl::Span<const std::byte> bytes,
                                           std::string_view source);

  const std::map<std::string, TensorView>& tensors() const { return tensors_; }
  // "__metadata__": free text by key; empty when absent.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::string& source() const { return source_; }

  // nullptr when absent.
  const TensorView* Find(std::string_view name) const;

 private:
  std::string source_;
  std::map<std::string, TensorView> tensors_;
  std::map<std::string, std::string> metadata_;
};

// Serialises tensors that are in memory, in name order, metadata first. INVALID_ARGUMENT when a
// tensor's data does not have the size that its shape says.
absl::StatusOr<std::string> SerializeSafetensors(
    const std::map<std::string, TensorView>& tensors,
    const std::map<std::string, std::string>& metadata);

}  // namespace shira

#endif  // SHIRA_BASE_SAFETENSORS_H_
