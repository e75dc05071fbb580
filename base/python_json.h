// File: base/python_json.h
//
// JSON as Python writes and reads it: with the constants NaN, Infinity and -Infinity, which the
// standard does not have. Hugging Face's files may hold them anywhere.

#ifndef SHIRA_BASE_PYTHON_JSON_H_
#define SHIRA_BASE_PYTHON_JSON_H_

#include <string>
#include <string_view>

#include "nlohmann/json.hpp"

namespace shira {

// `text` with quotes around those constants: whoever wants a number there finds a text that says
// what it is, and who ignores the field need not know. What is no JSON otherwise stays so.
std::string QuotePythonConstants(std::string_view text);

// The value, discarded (nlohmann's is_discarded()) where the text is not valid.
template <typename Json = nlohmann::json>
Json ParsePythonJson(std::string_view text) {
  Json value = Json::parse(text, /*callback=*/nullptr, /*allow_exceptions=*/false);
  if (!value.is_discarded()) return value;
  return Json::parse(QuotePythonConstants(text), /*callback=*/nullptr, /*allow_exceptions=*/false);
}

}  // namespace shira

#endif  // SHIRA_BASE_PYTHON_JSON_H_
