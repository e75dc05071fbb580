#include "server/jinja/interpreter.h"

#include <memory>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/jinja/evaluator.h"

namespace shira::jinja {
namespace {

// Where execution goes after a statement.
enum class Flow { kNext, kBreak, kContinue };

class Interpreter : public Evaluator {
 public:
  using Evaluator::Evaluator;

  absl::StatusOr<std::string> Run(const Block& block, const Dict& variables) {
    const auto globals = std::make_shared<Scope>(nullptr);
    for (const auto& [name, value] : variables.entries()) globals->Set(name.text(), value);
    std::string text;
    SHIRA_RETURN_IF_ERROR(Execute(block, *globals, text).status());
    return text;
  }

 protected:
  absl::StatusOr<std::string> RenderMacro(const MacroDefinition& macro, Scope& scope) override {
    std::string text;
    SHIRA_RETURN_IF_ERROR(Execute(macro.body, scope, text).status());
    return text;
  }

 private:
  absl::StatusOr<Flow> Execute(const Block& block, Scope& scope, std::string& out) {
    const Level level(*this);
    SHIRA_RETURN_IF_ERROR(level.Check());
    for (const auto& statement : block) {
      SHIRA_RETURN_IF_ERROR(budget().Spend(1));
      const absl::StatusOr<Flow> flow =
          std::visit([&](const auto& node) { return Visit(node, scope, out); }, statement->node);
      if (!flow.ok()) return Locate(statement->position, flow.status());
      if (*flow != Flow::kNext) return flow;
    }
    return Flow::kNext;
  }

  absl::StatusOr<Flow> Write(std::string_view text, std::string& out) {
    SHIRA_RETURN_IF_ERROR(budget().SpendBytes(text.size()));
    SHIRA_RETURN_IF_ERROR(CheckStringBytes(out.size() + text.size()));
    out += text;
    return Flow::kNext;
  }

  absl::StatusOr<Flow> WriteValue(const Value& value, std::string& out) {
    SHIRA_ASSIGN_OR_RETURN(const std::string text, Str(value));
    return Write(text, out);
  }

  // The results of {% filter %} and {% call %} are joined as they are, so that only a string will
  // do.
  absl::StatusOr<Flow> WriteString(const Value& value, std::string& out) {
    if (value.is_string()) return Write(value.text(), out);
    return absl::InvalidArgumentError(
        StrCat("the block must give a string, found '", TypeName(value), "'"));
  }

  absl::StatusOr<Flow> Visit(const Text& node, Scope&, std::string& out) {
    return Write(node.text, out);
  }

  absl::StatusOr<Flow> Visit(const Print& node, Scope& scope, std::string& out) {
    SHIRA_ASSIGN_OR_RETURN(const Value value, Evaluate(*node.value, scope));
    return WriteValue(value, out);
  }

  absl::StatusOr<Flow> Visit(const If& node, Scope& scope, std::string& out) {
    for (const auto& [condition, body] : node.branches) {
      SHIRA_ASSIGN_OR_RETURN(const Value value, Evaluate(*condition, scope));
      if (Truthy(value)) return Execute(body, scope, out);
    }
    return Execute(node.otherwise, scope, out);
  }

  absl::StatusOr<Flow> Visit(const For& node, Scope& scope, std::string& out) {
    SHIRA_ASSIGN_OR_RETURN(const Value iterable, Evaluate(*node.iterable, scope));
    SHIRA_ASSIGN_OR_RETURN(std::shared_ptr<Iterator> source, Iterate(iterable));
    std::optional<int64_t> size = SizeOf(iterable);
    if (node.condition != nullptr) {
      source = Filtered(std::move(source), node, scope);
      size.reset();
    }
    const auto loop = std::make_shared<Loop>(std::move(source), size);
    const absl::Cleanup clear = [&loop] { loop->Clear(); };
    // jinja2 takes a loop whose every round ends in break or continue for one that had no rounds.
    bool completed_a_round = false;
    while (true) {
      SHIRA_RETURN_IF_ERROR(budget().Spend(1));
      SHIRA_ASSIGN_OR_RETURN(const bool more, loop->Advance());
      if (!more) break;
      const std::shared_ptr<Scope> round = scope.Inner();
      SHIRA_RETURN_IF_ERROR(Assign(node.target, loop->current(), *round));
      round->Set("loop", Value::FromObject(loop));
      SHIRA_ASSIGN_OR_RETURN(const Flow flow, Execute(node.body, *round, out));
      if (flow == Flow::kBreak) break;
      if (flow == Flow::kNext) completed_a_round = true;
    }
    if (completed_a_round) return Flow::kNext;
    return Execute(node.otherwise, *scope.Inner(), out);
  }

  // The items of `source` for which the condition of the loop holds.
  std::shared_ptr<Iterator> Filtered(std::shared_ptr<Iterator> source, const For& node,
                                     Scope& scope) {
    const int depth = source->depth();
    return std::make_shared<Iterator>(
        "generator", depth,
        [this, source = std::move(source), &node,
         outer = scope.shared_from_this()]() -> absl::StatusOr<std::optional<Value>> {
          while (true) {
            SHIRA_ASSIGN_OR_RETURN(std::optional<Value> item, (*source)());
            if (!item) return item;
            const std::shared_ptr<Scope> inner = outer->Inner();
            SHIRA_RETURN_IF_ERROR(Assign(node.target, *item, *inner));
            SHIRA_ASSIGN_OR_RETURN(const Value holds, Evaluate(*node.condition, *inner));
            if (Truthy(holds)) return item;
          }
        });
  }

  absl::StatusOr<Flow> Visit(const Break&, Scope&, std::string&) { return Flow::kBreak; }
  absl::StatusOr<Flow> Visit(const Continue&, Scope&, std::string&) { return Flow::kContinue; }

  absl::StatusOr<Flow> Visit(const Set& node, Scope& scope, std::string&) {
    SHIRA_RETURN_IF_ERROR(CheckNamespaces(node.target, scope));
    SHIRA_ASSIGN_OR_RETURN(Value value, Evaluate(*node.value, scope));
    SHIRA_RETURN_IF_ERROR(Assign(node.target, std::move(value), scope));
    return Flow::kNext;
  }

  absl::StatusOr<Flow> Visit(const SetBlock& node, Scope& scope, std::string&) {
    const std::shared_ptr<Scope> inner = scope.Inner();
    std::string text;
    SHIRA_ASSIGN_OR_RETURN(const Flow flow, Execute(node.body, *inner, text));
    if (flow != Flow::kNext) return flow;
    Value value = Value::String(std::move(text));
    if (node.filter != nullptr) {
      SHIRA_ASSIGN_OR_RETURN(value, EvaluateFilter(*node.filter, value, *inner));
    }
    SHIRA_RETURN_IF_ERROR(Assign(node.target, std::move(value), scope));
    return Flow::kNext;
  }

  absl::StatusOr<Flow> Visit(const With& node, Scope& scope, std::string& out) {
    const std::shared_ptr<Scope> inner = scope.Inner();
    for (const auto& [target, expression] : node.assignments) {
      SHIRA_ASSIGN_OR_RETURN(Value value, Evaluate(*expression, scope));
      SHIRA_RETURN_IF_ERROR(Assign(target, std::move(value), *inner));
    }
    return Execute(node.body, *inner, out);
  }

  absl::StatusOr<Flow> Visit(const FilterBlock& node, Scope& scope, std::string& out) {
    const std::shared_ptr<Scope> inner = scope.Inner();
    std::string text;
    SHIRA_ASSIGN_OR_RETURN(const Flow flow, Execute(node.body, *inner, text));
    if (flow != Flow::kNext) return flow;
    SHIRA_ASSIGN_OR_RETURN(const Value value,
                           EvaluateFilter(*node.filter, Value::String(std::move(text)), *inner));
    return WriteString(value, out);
  }

  absl::StatusOr<Flow> Visit(const Generation& node, Scope& scope, std::string& out) {
    return Execute(node.body, *scope.Inner(), out);
  }

  absl::StatusOr<Flow> Visit(const DefineMacro& node, Scope& scope, std::string&) {
    scope.Set(node.macro.name, MakeMacro(node.macro, scope));
    return Flow::kNext;
  }

  absl::StatusOr<Flow> Visit(const CallBlock& node, Scope& scope, std::string& out) {
    const Value caller = MakeMacro(node.caller, scope);
    const auto& call = std::get<Call>(node.call->node);
    absl::StatusOr<Value> value = EvaluateCall(call, scope, &caller);
    if (!value.ok()) return Locate(node.call->position, value.status());
    return WriteString(*value, out);
  }

  Value MakeMacro(const MacroDefinition& definition, Scope& scope) {
    // A macro holds its scope by address, which keeps the two from owning each other.
    if (macro_scopes_.empty() || macro_scopes_.back().get() != &scope) {
      macro_scopes_.push_back(scope.shared_from_this());
    }
    return Value::FromObject(std::make_shared<Macro>(&definition, &scope));
  }

  // Before the value of an assignment is evaluated, as jinja2 does.
  absl::Status CheckNamespaces(const Target& target, const Scope& scope) {
    for (const Target& inner : target.targets) {
      SHIRA_RETURN_IF_ERROR(CheckNamespaces(inner, scope));
    }
    if (target.attribute.empty()) return absl::OkStatus();
    return NamespaceOf(target, scope).status();
  }

  absl::StatusOr<std::shared_ptr<Namespace>> NamespaceOf(const Target& target, const Scope& scope) {
    const Value* found = scope.Find(target.name);
    std::shared_ptr<Namespace> ns = found == nullptr ? nullptr : found->As<Namespace>();
    if (ns != nullptr) return ns;
    return Locate(target.position,
                  absl::InvalidArgumentError(StrCat("'", target.name,
                                                    "' is no namespace, and only a namespace's "
                                                    "attributes can be set")));
  }

  absl::Status Assign(const Target& target, Value value, Scope& scope) {
    if (target.is_tuple) {
      absl::StatusOr<std::vector<Value>> values = ToVector(value, budget());
      if (!values.ok()) return Locate(target.position, values.status());
      if (values->size() != target.targets.size()) {
        return Locate(target.position, absl::InvalidArgumentError(
                                           StrCat("expected ", target.targets.size(),
                                                  " values to unpack, found ", values->size())));
      }
      for (size_t i = 0; i < values->size(); ++i) {
        SHIRA_RETURN_IF_ERROR(Assign(target.targets[i], std::move((*values)[i]), scope));
      }
      return absl::OkStatus();
    }
    if (target.attribute.empty()) {
      scope.Set(target.name, std::move(value));
      return absl::OkStatus();
    }
    SHIRA_ASSIGN_OR_RETURN(const std::shared_ptr<Namespace> ns, NamespaceOf(target, scope));
    return Locate(target.position, ns->Set(target.attribute, std::move(value)));
  }

  std::vector<std::shared_ptr<Scope>> macro_scopes_;
};

}  // namespace

absl::StatusOr<std::string> RenderTemplate(const Block& block, const Dict& variables,
                                           absl::Time now) {
  return Interpreter(now).Run(block, variables);
}

}  // namespace shira::jinja
