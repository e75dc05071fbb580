// File: server/jinja/access.h
//
// Attributes, items and slices, with the rules of jinja2's immutable sandbox: a method that would
// change its receiver is undefined.

#ifndef SHIRA_SERVER_JINJA_ACCESS_H_
#define SHIRA_SERVER_JINJA_ACCESS_H_

#include <string_view>

#include "absl/status/statusor.h"
#include "server/jinja/value.h"

namespace shira::jinja {

// object.name: a method or attribute of the type first, then an item; undefined when there is
// neither. INVALID_ARGUMENT if the object is undefined, UNIMPLEMENTED for a method that Python has
// and this interpreter lacks.
absl::StatusOr<Value> GetAttribute(const Value& object, std::string_view name, Budget& budget);
// object[index]: an item first, then, for a string, an attribute.
absl::StatusOr<Value> GetItem(const Value& object, const Value& index, Budget& budget);
// object[start:stop:step]; none where a part is absent.
absl::StatusOr<Value> GetSlice(const Value& object, const Value& start, const Value& stop,
                               const Value& step, Budget& budget);

}  // namespace shira::jinja

#endif  // SHIRA_SERVER_JINJA_ACCESS_H_
