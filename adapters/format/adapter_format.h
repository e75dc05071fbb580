// File: adapters/format/adapter_format.h
//
// The table of adapter formats. A new format is a reader in a file of its own and one line in
// adapter_format.cc. docs/adapter_format.md has their grammars.

#ifndef SHIRA_ADAPTERS_FORMAT_ADAPTER_FORMAT_H_
#define SHIRA_ADAPTERS_FORMAT_ADAPTER_FORMAT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "adapters/format/adapter_files.h"
#include "adapters/format/packed_positions.h"
#include "adapters/sparse_adapter.h"
#include "base/safetensors.h"
#include "base/sha256.h"

namespace shira {

// Where a delta's values go, in the words of its file; value i goes to position i.
struct RowsAndColumns {
  TensorView rows;  // [entries], I32, I64 or F32
  TensorView cols;  // [entries], same dtype
};
using FlatPositions = std::vector<int64_t>;  // row * columns of the matrix + column
// values is the whole parameter, row-major.
struct EveryPosition {
  // What PEFT does with it when it loads the adapter.
  enum class Role {
    kCopy,    // takes the parameter's place where this module uses it (modules_to_save)
    kBase,    // is loaded into the base, and so takes its place wherever it is used
    kFrozen,  // likewise; it is what the base held while the values above it were trained
  };
  Role role = Role::kCopy;
};
using RawPositions =
    std::variant<RowsAndColumns, FlatPositions, EveryPosition, std::shared_ptr<PackedTable>>;

// What the file says about one parameter, still unsorted and not compared with any model.
struct RawDelta {
  std::string parameter;  // Hugging Face name
  ValueKind kind = ValueKind::kDelta;
  RawPositions positions;
  TensorView values;  // F32, BF16 or F16; [entries], or the parameter's shape for EveryPosition
};

// A reader's result. Views point into the AdapterFiles.
struct RawAdapter {
  std::vector<RawDelta> deltas;
  float scale = 1.0f;
  bool rounds_values = false;  // as in SparseAdapter
  std::string base_model;      // empty: not said
  // SwitchEngine::base_digest() of the weights that it belongs to.
  std::optional<Sha256Digest> base_digest;
};

struct AdapterFormat {
  std::string_view name;       // as SparseAdapter::format
  std::string_view peft_type;  // adapter_config.json's "peft_type"; empty: a format without it
  // Whether a file without adapter_config.json is in this format; nullptr for PEFT's.
  bool (*matches)(const Safetensors& tensors);
  // Takes the file apart. INVALID_ARGUMENT lists every tensor that is left over, missing or of a
  // wrong dtype or rank; UNIMPLEMENTED names an option that the reader does not have; DATA_LOSS for
  // content that contradicts its own digest.
  absl::StatusOr<RawAdapter> (*read)(const AdapterFiles& files, const Safetensors& tensors);
};

absl::Span<const AdapterFormat> AdapterFormats();

// The format of these files. UNIMPLEMENTED names what was found and what is known.
absl::StatusOr<const AdapterFormat*> FindAdapterFormat(const AdapterFiles& files,
                                                       const Safetensors& tensors);

}  // namespace shira

#endif  // SHIRA_ADAPTERS_FORMAT_ADAPTER_FORMAT_H_
