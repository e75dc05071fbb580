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

// `text` with quotes around those constants. A reader that expects a number then finds a string,
// which its error message can show, and a reader that ignores the field is not affected. Text that
// is not valid JSON for another reason stays invalid.
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
