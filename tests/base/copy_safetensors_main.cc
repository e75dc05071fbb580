// copy_safetensors IN OUT: parses IN and serialises what it read to OUT.

#include <fstream>
#include <iostream>

#include "base/mapped_file.h"
#include "base/safetensors.h"
#include "base/status_macros.h"

namespace {

absl::StatusOr<std::string> Reserialize(const std::string& path) {
  SHIRA_ASSIGN_OR_RETURN(const shira::MappedFile file, shira::MappedFile::Open(path));
  SHIRA_ASSIGN_OR_RETURN(const shira::Safetensors parsed,
                         shira::Safetensors::Parse(file.bytes(), path));
  return shira::SerializeSafetensors(parsed.tensors(), parsed.metadata());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const absl::StatusOr<std::string> copy = Reserialize(argv[1]);
  if (!copy.ok()) {
    std::cerr << copy.status() << "\n";
    return 1;
  }
  std::ofstream(argv[2], std::ios::binary) << *copy;
}
