// File: adapters/format/packed_layout.h
//
// The names in a packed file (*.shira), which its writer and its reader share. The file is a
// safetensors file; docs/adapter_format.md is its grammar:
//
//   tables.<k>                    U8 [bytes]        index table k, coded (packed_positions.h)
//   <parameter>.delta.<k>         F32 or BF16 [n]   added at the positions of table k
//   <parameter>.replacement.<k>   F32 or BF16 [n]   the new weights there

#ifndef SHIRA_ADAPTERS_FORMAT_PACKED_LAYOUT_H_
#define SHIRA_ADAPTERS_FORMAT_PACKED_LAYOUT_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "adapters/sparse_adapter.h"
#include "base/safetensors.h"
#include "base/sha256.h"

namespace shira {

// Keys of __metadata__. Required:
inline constexpr char kPackedFormatKey[] = "format";    // kPackedFormat
inline constexpr char kPackedVersionKey[] = "version";  // kPackedVersion
inline constexpr char kPackedDigestKey[] = "digest";    // PackedDigest(), hexadecimal
// Optional:
inline constexpr char kPackedScaleKey[] = "scale";             // decimal; absent: 1
inline constexpr char kPackedRoundingKey[] = "rounding";       // kPackedRoundsValues; absent: none
inline constexpr char kPackedBaseModelKey[] = "base_model";    // SparseAdapter::base_model
inline constexpr char kPackedBaseDigestKey[] = "base_digest";  // hexadecimal
// Provenance, for people:
inline constexpr char kPackedSourceFormatKey[] = "source_format";
inline constexpr char kPackedSourceDigestKey[] = "source_digest";
inline constexpr char kPackedToolKey[] = "tool";
inline constexpr char kPackedDateKey[] = "date";

inline constexpr char kPackedFormat[] = "shira.packed";
inline constexpr char kPackedVersion[] = "1";
inline constexpr char kPackedRoundsValues[] = "resident";

// "tables.<k>".
std::string PackedTableName(int64_t table);
// "<parameter>.<kind>.<k>".
std::string PackedValuesName(std::string_view parameter, ValueKind kind, int64_t table);

struct PackedName {
  std::string parameter;  // empty: the name of a table
  ValueKind kind = ValueKind::kDelta;
  int64_t table = 0;
};
// The inverse of both; nullopt for any other name. A number has no leading zero.
std::optional<PackedName> ParsePackedName(std::string_view name);

// SHA-256 over the metadata, but for the digest itself, and every tensor, in the order of names:
// each as its key or name, its value or dtype, and its bytes, each with its length before it.
Sha256Digest PackedDigest(const std::map<std::string, TensorView>& tensors,
                          const std::map<std::string, std::string>& metadata);

// 64 lower-case hexadecimal digits; nullopt for anything else.
std::optional<Sha256Digest> ParseSha256(std::string_view hex);

}  // namespace shira

#endif  // SHIRA_ADAPTERS_FORMAT_PACKED_LAYOUT_H_
