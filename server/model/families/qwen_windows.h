// File: server/model/families/qwen_windows.h
//
// Which layers have a sliding window, as the configurations of Qwen2 and Qwen3 say it.

#ifndef SHIRA_SERVER_MODEL_FAMILIES_QWEN_WINDOWS_H_
#define SHIRA_SERVER_MODEL_FAMILIES_QWEN_WINDOWS_H_

#include "server/model/config_fields.h"
#include "server/model/model_config.h"

namespace shira {

// Sets the windows of config.layers: none unless "use_sliding_window" is true, else of the layers that
// "layer_types" calls sliding_attention, or without such a list of those from "max_window_layers" on.
void ReadQwenWindows(const ConfigFields& fields, ModelConfig& config);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_FAMILIES_QWEN_WINDOWS_H_
