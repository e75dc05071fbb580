// File: server/model/config_fields.h
//
// Typed access to a model's configuration, whatever file it comes from. Reading never stops at a
// problem: it is noted, a neutral value is returned, and the user sees every problem at once.

#ifndef SHIRA_SERVER_MODEL_CONFIG_FIELDS_H_
#define SHIRA_SERVER_MODEL_CONFIG_FIELDS_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "base/problem_list.h"

namespace shira {

struct ConfigProblems {
  ProblemList malformed;    // the file is wrong
  ProblemList unsupported;  // the file is right, but this program does not have what it asks for

  // INVALID_ARGUMENT for the malformed, else UNIMPLEMENTED for the unsupported, else OK.
  absl::Status ToStatus(std::string_view source) const;
};

// One object of a configuration. Null counts as absent. `problems` must outlive it.
class ConfigFields {
 public:
  // `prefix` goes before a key in messages: "llama." or "".
  ConfigFields(nlohmann::json object, std::string prefix, ConfigProblems* problems)
      : object_(std::move(object)), prefix_(std::move(prefix)), problems_(problems) {}

  bool Has(const char* key) const { return Find(key) != nullptr; }
  // Whether it is there as null, where that means something else than absence.
  bool IsNull(const char* key) const;

  bool IsList(const char* key) const { return Has(key) && Find(key)->is_array(); }

  // Required: absence is a problem.
  int64_t Int(const char* key) const;
  double Float(const char* key) const;
  // Optional: `absent` is what absence means.
  int64_t Int(const char* key, int64_t absent) const { return Has(key) ? Int(key) : absent; }
  double Float(const char* key, double absent) const { return Has(key) ? Float(key) : absent; }
  bool Bool(const char* key, bool absent) const;
  std::string String(const char* key, std::string_view absent) const;
  // One id or a list of ids.
  std::vector<int32_t> TokenIds(const char* key) const;
  // Empty when absent.
  std::vector<std::string> Strings(const char* key) const;
  std::vector<int64_t> Ints(const char* key) const;
  std::vector<double> Floats(const char* key) const;
  // nullopt when absent.
  std::optional<ConfigFields> Object(const char* key) const;

  // Notes a setting that contradicts others. `parts` say what was expected and found.
  template <typename... Parts>
  void Wrong(std::string_view key, const Parts&... parts) const {
    problems_->malformed.Add(prefix_, key, ": ", parts...);
  }
  // Notes a setting that this program does not have. `parts` say what was found and what is known.
  template <typename... Parts>
  void Unsupported(std::string_view key, const Parts&... parts) const {
    problems_->unsupported.Add(prefix_, key, ": ", parts...);
  }

 private:
  const nlohmann::json* Find(const char* key) const;
  // Notes that the field is absent or of another type.
  void Malformed(const char* key, std::string_view expected) const;

  nlohmann::json object_;
  std::string prefix_;
  ConfigProblems* problems_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_CONFIG_FIELDS_H_
