// File: adapters/format/peft_writer.h
//
// Writes a folder that PEFT's PeftModel.from_pretrained loads as a SHiRA adapter (peft_shira.h has
// the layout).
//
// PEFT gives every target exactly r * (rows + cols) entries, with one r for the whole adapter, and
// refuses to load anything else. So r is the smallest that holds every parameter, and what a
// parameter has too few is filled up at its first free positions with -0.0, which added to any
// weight leaves its bits as they are (+0.0 would turn -0.0 into +0.0). An adapter that PEFT wrote
// gets its own r again and needs no filling.

#ifndef SHIRA_ADAPTERS_FORMAT_PEFT_WRITER_H_
#define SHIRA_ADAPTERS_FORMAT_PEFT_WRITER_H_

#include <string>

#include "absl/status/status.h"
#include "adapters/format/adapter_writer.h"
#include "adapters/sparse_adapter.h"

namespace shira {

// As AdapterWriter::write; `path` is the folder. Values are multiplied by the adapter's scale,
// rounded to float, since PEFT's files have none. FAILED_PRECONDITION lists every parameter that
// PEFT cannot hold: one that would need more entries than it has elements (the message says which
// parameter asks for that r), one that is no weight of an nn.Linear, one whose values are
// replacements, or an adapter that rounds its values.
absl::Status WritePeftShira(const SparseAdapter& adapter, const std::string& path,
                            const AdapterWriteOptions& options);

}  // namespace shira

#endif  // SHIRA_ADAPTERS_FORMAT_PEFT_WRITER_H_
