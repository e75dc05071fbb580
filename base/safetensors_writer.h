// File: base/safetensors_writer.h
//
// Writes a safetensors file as a stream, for files that need not fit in memory: all tensors are
// declared first, then their bytes follow in the order of declaration. The file appears when it is
// whole (base/atomic_file.h). safetensors.h says what the format is.
//
//   SHIRA_ASSIGN_OR_RETURN(SafetensorsWriter writer, SafetensorsWriter::Create(
//       path, {{"values", DType::kF32, {n}}, {"indices", DType::kI32, {2, n}}}, {{"format",
//       "pt"}}));
//   SHIRA_RETURN_IF_ERROR(writer.Write(value_bytes));
//   SHIRA_RETURN_IF_ERROR(writer.Write(index_bytes));
//   return writer.Finish();

#ifndef SHIRA_BASE_SAFETENSORS_WRITER_H_
#define SHIRA_BASE_SAFETENSORS_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/atomic_file.h"
#include "base/dtype.h"

namespace shira {

struct TensorDeclaration {
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;
};

// The length and the JSON of a file's header, padded with spaces so that the data begins at a
// multiple of 8, as the reference implementation does. The tensors lie in the order given, without
// gaps. INVALID_ARGUMENT for a name that occurs twice, is reserved or is no UTF-8, for a negative
// or overflowing shape, and for a header beyond kSafetensorsMaxHeaderBytes.
absl::StatusOr<std::string> MakeSafetensorsHeader(
    absl::Span<const TensorDeclaration> tensors,
    const std::map<std::string, std::string>& metadata);

// Thread-compatible; movable. An object that is destroyed before Finish() returned OK leaves
// nothing behind.
class SafetensorsWriter {
 public:
  // Opens the file and writes the header. To have every tensor aligned for its type, declare those
  // of wider types first; readers do not need it. Errors of MakeSafetensorsHeader() with the path,
  // and of AtomicFile.
  static absl::StatusOr<SafetensorsWriter> Create(
      const std::string& path, absl::Span<const TensorDeclaration> tensors,
      const std::map<std::string, std::string>& metadata);

  // The next bytes of the data: row-major, little-endian, in the order of declaration, in pieces of
  // any size. INVALID_ARGUMENT beyond what was declared; errors of AtomicFile.
  absl::Status Write(absl::Span<const std::byte> bytes);

  // The same for a vector or span of numbers.
  template <typename Numbers>
  absl::Status WriteNumbers(const Numbers& numbers) {
    return Write({reinterpret_cast<const std::byte*>(numbers.data()),
                  numbers.size() * sizeof(*numbers.data())});
  }

  // Puts the file under its name. FAILED_PRECONDITION when bytes are missing; errors of AtomicFile.
  // REQUIRES: called at most once.
  absl::Status Finish();

 private:
  SafetensorsWriter(AtomicFile file, uint64_t data_bytes)
      : file_(std::move(file)), missing_bytes_(data_bytes) {}

  AtomicFile file_;
  uint64_t missing_bytes_;  // declared and not yet written
};

}  // namespace shira

#endif  // SHIRA_BASE_SAFETENSORS_WRITER_H_
