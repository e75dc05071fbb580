// File: server/model/model_names.h
//
// What a model may be called.

#ifndef SHIRA_SERVER_MODEL_MODEL_NAMES_H_
#define SHIRA_SERVER_MODEL_MODEL_NAMES_H_

#include <string>
#include <vector>

#include "server/model/weight_loader.h"

namespace shira {

// What the model at `path`, whose weights are `source`, may be called in an adapter's note of its
// base: its name, ORG/NAME where it lies in the hub's cache and else the last component of its path,
// GGUF's general.basename, and config.json's _name_or_path.
std::vector<std::string> NamesOfModel(const std::string& path, const WeightSource& source);

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_MODEL_NAMES_H_
