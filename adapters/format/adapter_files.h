// File: adapters/format/adapter_files.h
//
// An adapter's files as bytes in memory, before they are parsed.

#ifndef SHIRA_ADAPTERS_FORMAT_ADAPTER_FILES_H_
#define SHIRA_ADAPTERS_FORMAT_ADAPTER_FILES_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "base/safetensors.h"
#include "nlohmann/json.hpp"

namespace shira {

struct AdapterFiles {
  std::string tensors_path;
  std::string tensors;      // the file with the tensors, whole
  std::string config_path;  // adapter_config.json; empty: there is none
  nlohmann::json config;    // an object; null without adapter_config.json

  // `tensors` taken apart; views into it. Errors of Safetensors::Parse().
  absl::StatusOr<Safetensors> ParseTensors() const;
};

// Reads what is at `path`:
//   a folder with adapter_config.json      that file and adapter_model.safetensors (PEFT's layout)
//   a folder without it                    its one file named *.shira or *.safetensors
//   a file named *.shira or *.safetensors  itself
// NOT_FOUND names what is missing, and tells how to convert a folder that holds a pickle instead.
// INVALID_ARGUMENT for a file of another name or that is not regular, several files to choose from,
// a config that is no JSON object, or a file beyond max_file_bytes.
absl::StatusOr<AdapterFiles> ReadAdapterFiles(const std::string& path, uint64_t max_file_bytes);

}  // namespace shira

#endif  // SHIRA_ADAPTERS_FORMAT_ADAPTER_FILES_H_
