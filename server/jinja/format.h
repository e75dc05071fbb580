// File: server/jinja/format.h
//
// The two ways in which Python formats text.

#ifndef SHIRA_SERVER_JINJA_FORMAT_H_
#define SHIRA_SERVER_JINJA_FORMAT_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/jinja/builtins.h"  // Arguments
#include "server/jinja/value.h"

namespace shira::jinja {

// format % arguments, where a tuple holds several arguments and a dict serves %(name)s.
absl::StatusOr<std::string> FormatPercent(std::string_view format, const Value& arguments,
                                          Budget& budget);

// format.format(...): fields by position and name, with attributes, items, !s and !r. UNIMPLEMENTED
// for format specifications ("{:>8}").
absl::StatusOr<std::string> FormatBraces(std::string_view format, const Arguments& arguments,
                                         Budget& budget);

}  // namespace shira::jinja

#endif  // SHIRA_SERVER_JINJA_FORMAT_H_
