// File: adapters/format/adapter_files.h
//
// An adapter's files as bytes in memory, before anybody has understood them.

#ifndef SHIRA_ADAPTERS_FORMAT_ADAPTER_FILES_H_
#define SHIRA_ADAPTERS_FORMAT_ADAPTER_FILES_H_

#include <string>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace shira {

struct AdapterFiles {
  std::string path;       // the folder
  nlohmann::json config;  // adapter_config.json, an object
  std::string tensors;    // adapter_model.safetensors, whole

  std::string config_path() const { return path + "/adapter_config.json"; }
  std::string tensors_path() const { return path + "/adapter_model.safetensors"; }
};

// Reads a folder in PEFT's layout. NOT_FOUND names the missing file, and tells how to convert a
// folder that holds a pickle instead; INVALID_ARGUMENT if the config is no JSON object;
// RESOURCE_EXHAUSTED beyond max_file_bytes.
absl::StatusOr<AdapterFiles> ReadAdapterFiles(const std::string& path, uint64_t max_file_bytes);

}  // namespace shira

#endif  // SHIRA_ADAPTERS_FORMAT_ADAPTER_FILES_H_
