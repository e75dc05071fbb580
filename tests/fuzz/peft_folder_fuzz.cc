// A PEFT folder. The input is adapter_config.json, a zero byte (which no JSON contains), and
// adapter_model.safetensors.

#include "tests/fuzz/fuzz_folder.h"
#include "tests/fuzz/fuzz_model.h"
#include "tests/fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const shira::testing::FuzzFolder folder;
  const std::string_view input = shira::testing::AsText(data, size);
  const size_t end = input.find('\0');
  folder.Write("adapter_config.json", input.substr(0, end));
  folder.Write("adapter_model.safetensors",
               end == std::string_view::npos ? "" : input.substr(end + 1));
  shira::testing::CheckAdapter(shira::testing::FuzzModelReader().Read(folder.path()));
  return 0;
}
