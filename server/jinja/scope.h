// File: server/jinja/scope.h
//
// Where a name is looked up: a scope of variables and the scopes around it.
//
// Names are looked up when they are read. jinja2 resolves them when it compiles, and differs in one
// case: where a nested block reads a variable of the caller that the enclosing block sets further
// down, jinja2 treats it as undefined until then.

#ifndef SHIRA_SERVER_JINJA_SCOPE_H_
#define SHIRA_SERVER_JINJA_SCOPE_H_

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "base/strings.h"
#include "server/jinja/value.h"

namespace shira::jinja {

class Scope : public std::enable_shared_from_this<Scope> {
 public:
  // `parent`: nullptr for the outermost.
  explicit Scope(std::shared_ptr<Scope> parent) : parent_(std::move(parent)) {}

  // nullptr when neither this scope nor one around it has the name.
  const Value* Find(std::string_view name) const {
    for (const Scope* scope = this; scope != nullptr; scope = scope->parent_.get()) {
      const auto found = scope->variables_.find(ToAbsl(name));
      if (found != scope->variables_.end()) return &found->second;
    }
    return nullptr;
  }

  void Set(std::string_view name, Value value) {
    variables_.insert_or_assign(std::string(name), std::move(value));
  }

  std::shared_ptr<Scope> Inner() { return std::make_shared<Scope>(shared_from_this()); }

 private:
  std::shared_ptr<Scope> parent_;
  absl::flat_hash_map<std::string, Value> variables_;
};

}  // namespace shira::jinja

#endif  // SHIRA_SERVER_JINJA_SCOPE_H_
