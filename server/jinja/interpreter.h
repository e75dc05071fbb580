// File: server/jinja/interpreter.h
//
// Renders a parsed template.

#ifndef SHIRA_SERVER_JINJA_INTERPRETER_H_
#define SHIRA_SERVER_JINJA_INTERPRETER_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/jinja/ast.h"
#include "server/jinja/value.h"

namespace shira::jinja {

// INVALID_ARGUMENT when the template raises or an operation fails, RESOURCE_EXHAUSTED past the
// bounds of limits.h, UNIMPLEMENTED for a method that only the values reveal; each with line
// and column. `variables` has string keys.
absl::StatusOr<std::string> RenderTemplate(const Block& block, const Dict& variables,
                                           absl::Time now);

}  // namespace shira::jinja

#endif  // SHIRA_SERVER_JINJA_INTERPRETER_H_
