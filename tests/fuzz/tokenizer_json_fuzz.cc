// tokenizer.json, through the folder that it comes in.

#include <memory>

#include "server/tokenizer/tokenizer.h"
#include "tests/fuzz/fuzz_folder.h"
#include "tests/fuzz/fuzz_target.h"
#include "tests/fuzz/use_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const shira::testing::FuzzFolder folder;
  folder.Write("tokenizer.json", shira::testing::AsText(data, size));
  const absl::StatusOr<std::unique_ptr<shira::Tokenizer>> tokenizer =
      shira::Tokenizer::FromHuggingFace(folder.path());
  if (tokenizer.ok()) shira::testing::UseTokenizer(**tokenizer);
  return 0;
}
