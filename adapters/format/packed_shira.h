// File: adapters/format/packed_shira.h
//
// Reads our packed file (*.shira): coded positions, each index table once, values in bf16 or fp32
// (packed_layout.h). About 3.2 B per entry, less where parameters share tables.

#ifndef SHIRA_ADAPTERS_FORMAT_PACKED_SHIRA_H_
#define SHIRA_ADAPTERS_FORMAT_PACKED_SHIRA_H_

#include "absl/status/statusor.h"
#include "adapters/format/adapter_format.h"

namespace shira {

// Whether the file's metadata says so.
bool IsPackedShira(const Safetensors& tensors);

// As AdapterFormat::read. DATA_LOSS when the content is not what its digest says; UNIMPLEMENTED for
// another version. The digest is checked before anything is decoded.
absl::StatusOr<RawAdapter> ReadPackedShira(const AdapterFiles& files, const Safetensors& tensors);

}  // namespace shira

#endif  // SHIRA_ADAPTERS_FORMAT_PACKED_SHIRA_H_
