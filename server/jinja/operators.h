// File: server/jinja/operators.h
//
// The operators of the template language on values, as Python evaluates them. INVALID_ARGUMENT for
// operands that Python refuses, and for integers that leave 64 bits; RESOURCE_EXHAUSTED past the
// bounds.

#ifndef SHIRA_SERVER_JINJA_OPERATORS_H_
#define SHIRA_SERVER_JINJA_OPERATORS_H_

#include "absl/status/statusor.h"
#include "server/jinja/ast.h"  // BinaryOperator, Comparison
#include "server/jinja/value.h"

namespace shira::jinja {

absl::StatusOr<Value> Apply(BinaryOperator op, const Value& left, const Value& right,
                            Budget& budget);
absl::StatusOr<Value> ApplySign(bool negative, const Value& operand);
absl::StatusOr<bool> Compare(Comparison op, const Value& left, const Value& right, Budget& budget);
// item in container
absl::StatusOr<bool> Contains(const Value& container, const Value& item, Budget& budget);

}  // namespace shira::jinja

#endif  // SHIRA_SERVER_JINJA_OPERATORS_H_
