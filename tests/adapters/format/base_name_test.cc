#include "adapters/format/base_name.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace shira {
namespace {

const std::vector<std::string> kNames = {"smollm2-135m-instruct-q4_1", "SmolLM2 135M"};

TEST(BaseNameTest, AgreesWhateverCasePunctuationAndSuffix) {
  EXPECT_FALSE(ContradictsBaseName("HuggingFaceTB/SmolLM2-135M-Instruct", kNames));
  EXPECT_FALSE(ContradictsBaseName("someone/smollm2_135m_instruct_q4_1", kNames));
}

TEST(BaseNameTest, ContradictsAnotherModel) {
  EXPECT_TRUE(ContradictsBaseName("HuggingFaceTB/SmolLM2-360M-Instruct", kNames));
  EXPECT_TRUE(ContradictsBaseName("meta-llama/Llama-2-7b", kNames));
}

TEST(BaseNameTest, TakesNoPathForAnIdentity) {
  for (const char* path :
       {"", "/models/llama", "./llama", "../x/llama", "a/b/c", "llama", "models/"}) {
    EXPECT_FALSE(ContradictsBaseName(path, kNames)) << path;
  }
}

TEST(BaseNameTest, ContradictsNothingWhenTheModelHasNoName) {
  EXPECT_FALSE(ContradictsBaseName("meta-llama/Llama-2-7b", {}));
}

}  // namespace
}  // namespace shira
