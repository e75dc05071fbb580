// The safetensors reader, and that what it reads can be written and read again.

#include "base/safetensors.h"
#include "tests/fuzz/fuzz_target.h"

using ::shira::Safetensors;
using ::shira::TensorView;
using ::shira::testing::Promise;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = shira::testing::AsText(data, size);
  const absl::StatusOr<Safetensors> file =
      Safetensors::Parse(shira::testing::AsBytes(text), "input");
  if (!file.ok()) return 0;
  for (const auto& [name, tensor] : file->tensors()) shira::testing::Touch(tensor.data);

  const absl::StatusOr<std::string> written =
      shira::SerializeSafetensors(file->tensors(), file->metadata());
  Promise(written.ok(), "what was read can be written");
  const absl::StatusOr<Safetensors> again =
      Safetensors::Parse(shira::testing::AsBytes(*written), "written");
  Promise(again.ok(), "what was written can be read");
  Promise(again->metadata() == file->metadata(), "the metadata come back");
  Promise(again->tensors().size() == file->tensors().size(), "every tensor comes back");
  for (const auto& [name, tensor] : file->tensors()) {
    const TensorView* same = again->Find(name);
    Promise(same != nullptr && same->dtype == tensor.dtype && same->shape == tensor.shape &&
                same->data == tensor.data,
            "every tensor comes back as it was");
  }
  return 0;
}
