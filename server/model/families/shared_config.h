// File: server/model/families/shared_config.h
//
// The facts that every family has under the same keys: sizes, norms' epsilon, rotary positions, tied
// embeddings, ends of text. A family's reader takes them from here and adds its own.

#ifndef SHIRA_SERVER_MODEL_FAMILIES_SHARED_CONFIG_H_
#define SHIRA_SERVER_MODEL_FAMILIES_SHARED_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/gguf_file.h"
#include "server/model/config_fields.h"
#include "server/model/families/rope_config.h"
#include "server/model/layer_spec.h"
#include "server/model/model_config.h"

namespace shira {

// What absence means in config.json, as in transformers' configuration of the family; other sizes
// must be given.
struct JsonDefaults {
  int64_t max_position = 2048;
  double norm_eps = 1e-6;
  const char* norm_eps_key = "rms_norm_eps";
  const char* intermediate_size_key = "intermediate_size";
  bool tie_word_embeddings = false;
  bool kv_heads_as_heads = false;  // else num_key_value_heads must be given
  int64_t head_dim = 0;            // 0: hidden_size / num_attention_heads
  Activation activation = Activation::kSilu;
  const char* activation_key = "hidden_act";
  RopeRules rope = {};
  bool ropes_by_layer_type = false;  // the family reads its ropes by itself
  // The quantisation of its folders that its tensors can have (TensorSpec::other); "": none.
  std::string_view quantisation = "";
};

// All layers are LayerSpec's default. Refuses unknown activations and kinds of
// rotary positions, and folders quantised otherwise.
ModelConfig SharedFromJson(const ConfigFields& fields, const JsonDefaults& defaults);

// The scalar metadata whose keys begin with `prefix`, "llama.".
ConfigFields GgufFieldsUnder(const GgufFile& gguf, std::string prefix, ConfigProblems* problems);

// What a family knows of a GGUF file besides.
struct GgufOptions {
  std::vector<std::string_view> known_settings = {};  // of those that are refused elsewhere
  const char* norm_eps_key = "attention.layer_norm_rms_epsilon";
  RopeRules rope = {};
};

// All layers are LayerSpec's default; embeddings are tied where there is no output matrix, and the
// vocabulary is as long as their table. `fields` are those under the architecture's name. Refuses
// unknown kinds of rotary positions, and settings that some converters write and that change what the
// model computes.
ModelConfig SharedFromGguf(const GgufFile& gguf, const ConfigFields& fields,
                           const GgufOptions& options, ConfigProblems* problems);

// The same of families with layer norms, whose metadata are under `prefix`.
ModelConfig LayerNormFromGguf(const GgufFile& gguf, std::string prefix, const RopeRules& rope,
                              ConfigProblems* problems);

// Gives every layer the window that `key` says.
void SetWindow(const ConfigFields& fields, const char* key, ModelConfig& config,
               int64_t absent = 0);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_FAMILIES_SHARED_CONFIG_H_
