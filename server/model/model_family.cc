#include "server/model/model_family.h"

#include "absl/status/status.h"
#include "base/strings.h"
#include "server/model/families/gemma.h"
#include "server/model/families/gpt_neox.h"
#include "server/model/families/gpt_oss.h"
#include "server/model/families/granite.h"
#include "server/model/families/llama.h"
#include "server/model/families/ministral3.h"
#include "server/model/families/mistral.h"
#include "server/model/families/mixtral.h"
#include "server/model/families/olmo.h"
#include "server/model/families/phi3.h"
#include "server/model/families/qwen2.h"
#include "server/model/families/qwen3.h"
#include "server/model/families/qwen3_moe.h"
#include "server/model/families/smollm3.h"
#include "server/model/families/stablelm.h"
#include "server/model/families/starcoder2.h"

namespace shira {
namespace {

constexpr const ModelFamily* kFamilies[] = {
    &kGemma2Family,         // Gemma 2
    &kGemma3Family,         // the text models of Gemma 3
    &kGptNeoxFamily,        // GPT-NeoX, Pythia
    &kGptOssFamily,         // gpt-oss
    &kGraniteFamily,        // Granite 3
    &kGraniteHybridFamily,  // Granite 4, the dense ones
    &kLlamaFamily,          // Llama, SmolLM 1 and 2
    &kMinistral3Family,     // Ministral 3
    &kMistralFamily,        // Mistral
    &kMixtralFamily,        // Mixtral
    &kOlmo2Family,          // OLMo 2
    &kOlmo3Family,          // OLMo 3
    &kPhi3Family,           // Phi 3, 3.5 and 4 mini
    &kQwen2Family,          // Qwen 2 and 2.5
    &kQwen3Family,          // Qwen 3
    &kQwen3MoeFamily,       // mixtures of experts of Qwen 3
    &kSmolLm3Family,        // SmolLM 3
    &kStableLmFamily,       // StableLM
    &kStarcoder2Family,     // StarCoder 2
};

absl::StatusOr<const ModelFamily*> FindFamily(std::string_view ModelFamily::*name,
                                              std::string_view wanted, std::string_view source) {
  std::string known;
  for (const ModelFamily* family : kFamilies) {
    const std::string_view own = family->*name;
    if (own.empty()) continue;
    if (own == wanted) return family;
    StrAppend(&known, known.empty() ? "" : ", ", own);
  }
  return absl::UnimplementedError(
      StrCat(source, ": the model family '", wanted, "' is not one of those known: ", known));
}

}  // namespace

absl::StatusOr<const ModelFamily*> FindFamilyByModelType(std::string_view model_type,
                                                         std::string_view source) {
  return FindFamily(&ModelFamily::model_type, model_type, source);
}

absl::StatusOr<const ModelFamily*> FindFamilyByGgufArchitecture(std::string_view architecture,
                                                                std::string_view source) {
  return FindFamily(&ModelFamily::gguf_architecture, architecture, source);
}

}  // namespace shira
