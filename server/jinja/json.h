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

// Reads the JSON texts of one request, within one allowance.
class JsonReader {
 public:
  // Keeps the order of keys; of equal keys the last value counts, in the place of the first.
  // INVALID_ARGUMENT for malformed JSON, integers of more than 64 bits, nesting past kMaxJsonDepth,
  // and when all texts together hold more than kMaxJsonValues values.
  absl::StatusOr<Value> Read(std::string_view json);

 private:
  int64_t values_left_ = kMaxJsonValues;
};

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
