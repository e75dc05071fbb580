// File: server/jinja/json.h
//
// JSON to values and back. Writing is Python's json.dumps to the byte, since models were trained on
// its output.

#ifndef SHIRA_SERVER_JINJA_JSON_H_
#define SHIRA_SERVER_JINJA_JSON_H_

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/jinja/value.h"

namespace shira::jinja {

// Keeps the order of keys; of equal keys the last value counts. INVALID_ARGUMENT for malformed
// JSON, integers of more than 64 bits and nesting past kMaxValueDepth.
absl::StatusOr<Value> ParseJson(std::string_view json);

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<std::string> indent;  // of one level; absent: all on one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};

// json.dumps(value). INVALID_ARGUMENT for what Python cannot serialise, RESOURCE_EXHAUSTED past the
// bounds.
absl::StatusOr<std::string> DumpJson(const Value& value, const JsonStyle& style, Budget& budget);

}  // namespace shira::jinja

#endif  // SHIRA_SERVER_JINJA_JSON_H_
