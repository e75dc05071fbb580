// File: server/model/gguf_parts.h
//
// A GGUF model on disk: one file, or the several that llama.cpp's gguf-split and converters make of
// it. Those are called NAME-00001-of-00003.gguf and so on; the first holds the metadata, each holds
// some of the tensors, and all say their place (split.no, from 0) and number (split.count).

#ifndef SHIRA_SERVER_MODEL_GGUF_PARTS_H_
#define SHIRA_SERVER_MODEL_GGUF_PARTS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/gguf_file.h"
#include "base/mapped_file.h"

namespace shira {

// Whether the file at `path` begins as a GGUF file does. A file that cannot be read does not.
bool IsGgufFile(const std::string& path);

struct GgufParts {
  std::vector<MappedFile> mapped;
  GgufFile gguf;  // the first file's metadata, the tensors of all; points into `mapped`
};

// Opens the file at `path` and, where it is the first of several, the others beside it. Errors of
// MappedFile::Open() and GgufFile::Parse(). NOT_FOUND names the part that is missing.
// INVALID_ARGUMENT: `path` is not the first part or not called as one, a file is another part or
// another model's, or the tensors are not as many as the first part says.
absl::StatusOr<GgufParts> OpenGgufParts(const std::string& path);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_GGUF_PARTS_H_
