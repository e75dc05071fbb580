// The GGUF container, and the tokenizer that its metadata describe.

#include <memory>

#include "base/gguf_file.h"
#include "server/tokenizer/tokenizer.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/use_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = shira::testing::AsText(data, size);
  const absl::StatusOr<shira::GgufFile> file =
      shira::GgufFile::Parse(shira::testing::AsBytes(text), "input");
  if (!file.ok()) return 0;
  for (const auto& [name, tensor] : file->tensors()) shira::testing::Touch(tensor.data);
  const absl::StatusOr<std::unique_ptr<shira::Tokenizer>> tokenizer =
      shira::Tokenizer::FromGguf(*file);
  if (tokenizer.ok()) shira::testing::UseTokenizer(**tokenizer);
  return 0;
}
