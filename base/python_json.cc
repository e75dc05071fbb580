#include "base/python_json.h"

#include <cstddef>

namespace shira {

std::string QuotePythonConstants(std::string_view text) {
  std::string result;
  result.reserve(text.size() + 16);
  bool in_string = false;
  for (size_t i = 0; i < text.size();) {
    if (!in_string) {
      bool constant = false;
      for (const std::string_view name : {"-Infinity", "Infinity", "NaN"}) {
        if (!text.substr(i).starts_with(name)) continue;
        result.append("\"").append(name).append("\"");
        i += name.size();
        constant = true;
        break;
      }
      if (constant) continue;
    } else if (text[i] == '\\' && i + 1 < text.size()) {
      result.append(text, i, 2);
      i += 2;
      continue;
    }
    if (text[i] == '"') in_string = !in_string;
    result.push_back(text[i++]);
  }
  return result;
}

}  // namespace shira
