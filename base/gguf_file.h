// File: base/gguf_file.h
//
// Reads the GGUF container, versions 2 and 3, little-endian (github.com/ggml-org/ggml,
// docs/gguf.md): a table of typed metadata and a table of tensors. It does not interpret either:
// dequantisation and names are the model's, the vocabulary is the tokenizer's.

#ifndef SHIRA_BASE_GGUF_FILE_H_
#define SHIRA_BASE_GGUF_FILE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace shira {

// The block types that this program reads, with ggml's own numbers.
enum class GgmlType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kBF16 = 30,
  kMXFP4 = 39,
};

// "Q4_1" and so on.
std::string_view GgmlTypeName(GgmlType type);
// Elements and bytes per block: {32, 20} for Q4_1; {1, 4} for F32.
struct GgmlBlock {
  int64_t elements;
  int64_t bytes;
};
GgmlBlock GgmlBlockOf(GgmlType type);

// Every integer type widens to int64_t (or uint64_t for a value of type uint64), every float to
// double.
using GgufValue = std::variant<bool, int64_t, uint64_t, double, std::string, std::vector<bool>,
                               std::vector<int64_t>, std::vector<double>, std::vector<std::string>>;

struct GgufTensor {
  GgmlType type;
  std::vector<int64_t> shape;  // row-major order: [out, in], the reverse of the order in the file
  absl::Span<const std::byte> data;
};

// Thread-compatible after Parse.
class GgufFile {
 public:
  // Parses a whole file's bytes, which must outlive the result. INVALID_ARGUMENT for a wrong magic
  // or version, a truncated or over-long table, a duplicate name, an unknown tensor type, rows that
  // are no whole number of blocks, or data outside of the file.
  static absl::StatusOr<GgufFile> Parse(absl::Span<const std::byte> bytes, std::string_view source);

  const std::map<std::string, GgufTensor>& tensors() const { return tensors_; }
  const std::map<std::string, GgufValue>& metadata() const { return metadata_; }
  const std::string& source() const { return source_; }

  // nullptr when absent.
  const GgufValue* FindMetadata(std::string_view key) const;
  // NOT_FOUND when absent, INVALID_ARGUMENT when of another type; both name the file and the key.
  absl::StatusOr<int64_t> GetInt(std::string_view key) const;
  absl::StatusOr<double> GetFloat(std::string_view key) const;
  absl::StatusOr<std::string> GetString(std::string_view key) const;
  // A token's id. nullopt when absent, and for -1 and 2^32 - 1, by which writers say that there is
  // no such token. INVALID_ARGUMENT when of another type.
  absl::StatusOr<std::optional<int64_t>> GetTokenId(std::string_view key) const;

  // Takes in the tensors of another file of the same model; its metadata are left out.
  // INVALID_ARGUMENT, with nothing taken in, when both have a tensor of the same name.
  absl::Status AddTensorsOf(GgufFile part);

 private:
  std::string source_;
  std::map<std::string, GgufTensor> tensors_;
  std::map<std::string, GgufValue> metadata_;
};

}  // namespace shira

#endif  // SHIRA_BASE_GGUF_FILE_H_
