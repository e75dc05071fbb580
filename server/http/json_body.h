// File: server/http/json_body.h
//
// The JSON that clients send, read within bounds.

#ifndef SHIRA_SERVER_HTTP_JSON_BODY_H_
#define SHIRA_SERVER_HTTP_JSON_BODY_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace shira {

// Keeps the order of keys: chat templates write tools as they were sent.
using Json = nlohmann::ordered_json;

inline constexpr int kMaxJsonBodyDepth = 64;
// Of one object: it is looked up one key after the other.
inline constexpr int kMaxJsonBodyKeys = 4096;
// Of the whole body: the sum over its keys of their places in their objects.
inline constexpr int64_t kMaxJsonBodyKeyComparisons = 50'000'000;
// Of the whole body: a value takes more memory than its text.
inline constexpr int64_t kMaxJsonBodyValues = 1'000'000;

// The object that a request's body is. Of equal keys the last value counts. INVALID_ARGUMENT, reason
// INVALID_REQUEST, for malformed JSON, text that is not UTF-8, what is no object, integers of more
// than 64 bits, and past the bounds above.
absl::StatusOr<Json> ParseJsonBody(std::string_view body);

// On one line. Text that is not UTF-8 gets U+FFFD in its place.
std::string JsonText(const Json& json);

// "a string", "an integer": for messages.
std::string_view KindOf(const Json& json);

}  // namespace shira

#endif  // SHIRA_SERVER_HTTP_JSON_BODY_H_
