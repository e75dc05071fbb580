// File: adapters/format/inferred_shapes.h
//
// What an adapter's own files tell about the model that it belongs to, for programs that look at an
// adapter without its model.

#ifndef SHIRA_ADAPTERS_FORMAT_INFERRED_SHAPES_H_
#define SHIRA_ADAPTERS_FORMAT_INFERRED_SHAPES_H_

#include "absl/status/statusor.h"
#include "adapters/format/adapter_files.h"
#include "adapters/format/adapter_reader.h"

namespace shira {

struct InferredShapes {
  // The parameters that the adapter touches, without names of models. An AdapterReader made of it
  // reads this adapter.
  BaseModelIdentity identity;
  // Whether the file states the shapes. If not, they are the smallest that hold every index: good
  // for looking at entries by row and column, never for densities or for writing a file.
  bool exact = false;
};

// The errors of AdapterReader::Parse() that do not depend on a model. INVALID_ARGUMENT also for
// indices so large that no matrix has them; UNIMPLEMENTED for positions that mean nothing without
// the shape.
absl::StatusOr<InferredShapes> InferShapes(const AdapterFiles& files);

}  // namespace shira

#endif  // SHIRA_ADAPTERS_FORMAT_INFERRED_SHAPES_H_
