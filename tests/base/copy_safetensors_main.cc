// copy_safetensors [--stream] IN OUT: parses IN and serialises what it read to OUT; with --stream
// by SafetensorsWriter, in pieces, the tensors in reverse order of their names.

#include <algorithm>
#include <fstream>
#include <iostream>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "base/safetensors.h"
#include "base/safetensors_writer.h"
#include "base/status_macros.h"

namespace {

absl::StatusOr<std::string> Reserialize(const shira::Safetensors& parsed) {
  return shira::SerializeSafetensors(parsed.tensors(), parsed.metadata());
}

absl::Status Stream(const shira::Safetensors& parsed, const std::string& out) {
  std::vector<shira::TensorDeclaration> declarations;
  for (const auto& [name, tensor] : parsed.tensors()) {
    declarations.push_back({name, tensor.dtype, tensor.shape});
  }
  std::reverse(declarations.begin(), declarations.end());
  SHIRA_ASSIGN_OR_RETURN(shira::SafetensorsWriter writer,
                         shira::SafetensorsWriter::Create(out, declarations, parsed.metadata()));
  for (const shira::TensorDeclaration& declaration : declarations) {
    const absl::Span<const std::byte> data = parsed.Find(declaration.name)->data;
    for (size_t begin = 0; begin < data.size(); begin += 7) {
      SHIRA_RETURN_IF_ERROR(writer.Write(data.subspan(begin, 7)));
    }
  }
  return writer.Finish();
}

absl::Status Run(const std::string& in, const std::string& out, bool stream) {
  SHIRA_ASSIGN_OR_RETURN(const shira::MappedFile file, shira::MappedFile::Open(in));
  SHIRA_ASSIGN_OR_RETURN(const shira::Safetensors parsed,
                         shira::Safetensors::Parse(file.bytes(), in));
  if (stream) return Stream(parsed, out);
  SHIRA_ASSIGN_OR_RETURN(const std::string copy, Reserialize(parsed));
  std::ofstream(out, std::ios::binary) << copy;
  return absl::OkStatus();
}

}  // namespace

int main(int argc, char** argv) {
  const bool stream = argc == 4 && std::string_view(argv[1]) == "--stream";
  if (argc != 3 && !stream) return 2;
  const absl::Status status = Run(argv[argc - 2], argv[argc - 1], stream);
  if (status.ok()) return 0;
  std::cerr << status << "\n";
  return 1;
}
