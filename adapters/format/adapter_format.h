// File: adapters/format/adapter_format.h
//
// The table of adapter formats. A new format is a reader in a file of its own and one line in
// adapter_format.cc.

#ifndef SHIRA_ADAPTERS_FORMAT_ADAPTER_FORMAT_H_
#define SHIRA_ADAPTERS_FORMAT_ADAPTER_FORMAT_H_

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "adapters/format/adapter_files.h"
#include "base/safetensors.h"

namespace shira {

// A reader's result: what the file says, still unsorted and not compared with any model.
struct RawDelta {
  std::string parameter;  // Hugging Face name
  TensorView rows;        // [entries], any integer or float dtype
  TensorView cols;        // [entries]
  TensorView values;      // [entries], F32, BF16 or F16
};

struct RawAdapter {
  std::vector<RawDelta> deltas;  // views into the AdapterFiles
  std::string base_model;
};

struct AdapterFormat {
  std::string_view name;       // as SparseAdapter::format
  std::string_view peft_type;  // adapter_config.json's "peft_type"
  // Takes the file apart. INVALID_ARGUMENT lists every tensor that is left over, missing or of a
  // wrong dtype or rank; UNIMPLEMENTED names an option that the reader does not have.
  absl::StatusOr<RawAdapter> (*read)(const AdapterFiles& files, const Safetensors& tensors);
};

absl::Span<const AdapterFormat> AdapterFormats();

// The format of these files. UNIMPLEMENTED names what was found and what is known.
absl::StatusOr<const AdapterFormat*> FindAdapterFormat(const AdapterFiles& files);

}  // namespace shira

#endif  // SHIRA_ADAPTERS_FORMAT_ADAPTER_FORMAT_H_
