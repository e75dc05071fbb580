// A packed file (*.shira): as it is, and with its digest made right, since nothing is decoded
// before the digest is checked and no mutation would guess it.

#include <map>
#include <string>

#include "absl/strings/escaping.h"
#include "adapters/format/packed_layout.h"
#include "base/safetensors.h"
#include "tests/fuzz/fuzz_model.h"
#include "tests/fuzz/fuzz_target.h"

namespace {

void Read(std::string tensors) {
  shira::AdapterFiles files;
  files.tensors_path = "input.shira";
  files.tensors = std::move(tensors);
  shira::testing::CheckAdapter(shira::testing::FuzzModelReader().Parse(files));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input = shira::testing::AsText(data, size);
  Read(std::string(input));

  const auto parsed = shira::Safetensors::Parse(shira::testing::AsBytes(input), "input");
  if (!parsed.ok()) return 0;
  std::map<std::string, std::string> metadata = parsed->metadata();
  metadata[shira::kPackedDigestKey] = shira::PackedDigest(parsed->tensors(), metadata).Hex();
  absl::StatusOr<std::string> digested = shira::SerializeSafetensors(parsed->tensors(), metadata);
  if (digested.ok()) Read(*std::move(digested));
  return 0;
}
