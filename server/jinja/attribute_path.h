// File: server/jinja/attribute_path.h
//
// The `attribute` argument of filters: "user.address.0" names an item of an item.

#ifndef SHIRA_SERVER_JINJA_ATTRIBUTE_PATH_H_
#define SHIRA_SERVER_JINJA_ATTRIBUTE_PATH_H_

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "server/jinja/value.h"

namespace shira::jinja {

class AttributePath {
 public:
  // A dotted string or an integer; nullptr or none: the value itself.
  static AttributePath Parse(const Value* attribute);
  // "a,b.c" names several.
  static std::vector<AttributePath> ParseList(const Value* attribute);

  // `otherwise` replaces an undefined part, if given and not none.
  absl::StatusOr<Value> Get(Value value, Budget& budget, const Value* otherwise = nullptr) const;
  bool empty() const { return parts_.empty(); }

 private:
  std::vector<Value> parts_;
};

// A string in lower case, anything else as it is: how filters compare unless they are told that
// case matters.
Value IgnoreCase(const Value& value);

}  // namespace shira::jinja

#endif  // SHIRA_SERVER_JINJA_ATTRIBUTE_PATH_H_
