// print_gguf FILE: the file's metadata and tensors as one JSON object, tensors with the SHA-256 of
// their bytes.

#include <iostream>
#include <nlohmann/json.hpp>

#include "base/gguf_file.h"
#include "base/mapped_file.h"
#include "base/sha256.h"
#include "base/status_macros.h"

namespace {

absl::StatusOr<nlohmann::json> Describe(const std::string& path) {
  SHIRA_ASSIGN_OR_RETURN(const shira::MappedFile mapped, shira::MappedFile::Open(path));
  SHIRA_ASSIGN_OR_RETURN(const shira::GgufFile file, shira::GgufFile::Parse(mapped.bytes(), path));
  nlohmann::json described = {{"metadata", nlohmann::json::object()},
                              {"tensors", nlohmann::json::object()}};
  for (const auto& [key, value] : file.metadata()) {
    std::visit([&, &key = key](const auto& v) { described["metadata"][key] = v; }, value);
  }
  for (const auto& [name, tensor] : file.tensors()) {
    described["tensors"][name] = {{"type", shira::GgmlTypeName(tensor.type)},
                                  {"shape", tensor.shape},
                                  {"sha256", shira::Sha256::Of(tensor.data).Hex()}};
  }
  return described;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const absl::StatusOr<nlohmann::json> described = Describe(argv[1]);
  if (!described.ok()) {
    std::cerr << described.status() << "\n";
    return 1;
  }
  std::cout << described->dump() << "\n";
}
