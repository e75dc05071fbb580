// File: server/config_file.h
//
// Config files are read and written by CLI11: TOML's `key = value` and `key = ["a", "b"]`. Here
// are two guarantees that CLI11 does not give: a typing error is not read as another config, and
// what is written means the same when it is read again.

#ifndef SHIRA_SERVER_CONFIG_FILE_H_
#define SHIRA_SERVER_CONFIG_FILE_H_

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace shira {

class ConfigReader : public CLI::ConfigBase {
 public:
  // CLI::ConfigError where a list has no end, or where a key comes again further down. (Lines of
  // the same key one after another add up to a list.)
  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override;
};

// Every key of `app`, which has parsed its command line, with the value in effect.
// INVALID_ARGUMENT: a value cannot be in a config file, such as one with a '#'.
absl::StatusOr<std::string> EffectiveConfig(const CLI::App& app);

}  // namespace shira

#endif  // SHIRA_SERVER_CONFIG_FILE_H_
