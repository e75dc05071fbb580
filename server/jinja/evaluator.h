// File: server/jinja/evaluator.h
//
// Evaluates expressions for the interpreter, which executes statements.

#ifndef SHIRA_SERVER_JINJA_EVALUATOR_H_
#define SHIRA_SERVER_JINJA_EVALUATOR_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/jinja/ast.h"
#include "server/jinja/builtins.h"
#include "server/jinja/object.h"
#include "server/jinja/scope.h"

namespace shira::jinja {

class Evaluator : public Runtime {
 public:
  explicit Evaluator(absl::Time now) : now_(now) {}
  // Breaks the cycles that namespaces can make.
  ~Evaluator() override;

  Budget& budget() override { return budget_; }
  absl::Time now() const override { return now_; }
  absl::StatusOr<Value> CallBuiltin(const BuiltinEntry& entry, const Value& subject,
                                    Arguments arguments) override;
  Value NewNamespace(Dict attributes) override;

 protected:
  // Renders the body of a macro whose parameters are set in `scope`.
  virtual absl::StatusOr<std::string> RenderMacro(const MacroDefinition& macro, Scope& scope) = 0;

  absl::StatusOr<Value> Evaluate(const Expression& expression, Scope& scope);
  // `input`: of a filter that has none of its own, the text of a block.
  absl::StatusOr<Value> EvaluateFilter(const Expression& expression, const Value& input,
                                       Scope& scope);
  absl::StatusOr<Value> EvaluateCall(const Call& call, Scope& scope, const Value* caller);

  // Counts one step and one level; the level ends with the guard.
  class Level {
   public:
    explicit Level(Evaluator& evaluator) : evaluator_(evaluator) { ++evaluator_.depth_; }
    ~Level() { --evaluator_.depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;
    absl::Status Check() const;

   private:
    Evaluator& evaluator_;
  };

  // Puts line and column before the message, unless an inner node has done so.
  absl::Status Locate(const Position& position, const absl::Status& status);

 private:
  absl::StatusOr<Value> EvaluateNode(const Expression& expression, Scope& scope);
  absl::StatusOr<Value> Visit(const Constant& node, Scope& scope);
  absl::StatusOr<Value> Visit(const Name& node, Scope& scope);
  absl::StatusOr<Value> Visit(const ListLiteral& node, Scope& scope);
  absl::StatusOr<Value> Visit(const TupleLiteral& node, Scope& scope);
  absl::StatusOr<Value> Visit(const DictLiteral& node, Scope& scope);
  absl::StatusOr<Value> Visit(const Binary& node, Scope& scope);
  absl::StatusOr<Value> Visit(const Sign& node, Scope& scope);
  absl::StatusOr<Value> Visit(const Not& node, Scope& scope);
  absl::StatusOr<Value> Visit(const Logical& node, Scope& scope);
  absl::StatusOr<Value> Visit(const ComparisonChain& node, Scope& scope);
  absl::StatusOr<Value> Visit(const Concatenation& node, Scope& scope);
  absl::StatusOr<Value> Visit(const Conditional& node, Scope& scope);
  absl::StatusOr<Value> Visit(const FilterCall& node, Scope& scope);
  absl::StatusOr<Value> Visit(const TestCall& node, Scope& scope);
  absl::StatusOr<Value> Visit(const Attribute& node, Scope& scope);
  absl::StatusOr<Value> Visit(const Subscript& node, Scope& scope);
  absl::StatusOr<Value> Visit(const Slice& node, Scope& scope);
  absl::StatusOr<Value> Visit(const Call& node, Scope& scope);

  absl::StatusOr<std::vector<Value>> EvaluateAll(const std::vector<ExpressionPtr>& expressions,
                                                 Scope& scope);
  absl::StatusOr<Value> EvaluateOrNone(const ExpressionPtr& expression, Scope& scope);
  absl::StatusOr<Arguments> EvaluateArguments(const ArgumentList& list, Scope& scope);
  absl::StatusOr<Value> CallValue(const Value& callee, Arguments arguments);
  absl::StatusOr<Value> CallMacro(const Macro& macro, Arguments arguments);

  const absl::Time now_;
  Budget budget_;
  int depth_ = 0;
  bool located_ = false;
  std::vector<std::shared_ptr<Namespace>> namespaces_;
};

}  // namespace shira::jinja

#endif  // SHIRA_SERVER_JINJA_EVALUATOR_H_
