#include "server/jinja/builtins.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace shira::jinja {

absl::StatusOr<int64_t> BoundArguments::Integer(size_t parameter, int64_t otherwise) const {
  const Value* value = Get(parameter);
  if (value == nullptr || value->is_none()) return otherwise;
  if (value->is_integral()) return value->integer();
  if (value->is_undefined()) return UndefinedError(*value);
  return absl::InvalidArgumentError(StrCat("expected an integer, found '", TypeName(*value), "'"));
}

absl::StatusOr<std::optional<std::string>> BoundArguments::Text(size_t parameter) const {
  const Value* value = Get(parameter);
  if (value == nullptr || value->is_none()) return std::nullopt;
  if (value->is_string()) return value->text();
  if (value->is_undefined()) return UndefinedError(*value);
  return absl::InvalidArgumentError(StrCat("expected a string, found '", TypeName(*value), "'"));
}

BuiltinTable::BuiltinTable(std::initializer_list<Row> rows) {
  for (const Row& row : rows) {
    BuiltinEntry entry;
    entry.function = row.function;
    for (const absl::string_view word :
         absl::StrSplit(ToAbsl(row.signature), ' ', absl::SkipEmpty())) {
      std::string_view parameter = ToStd(word);
      if (parameter == "*") {
        entry.takes_rest = true;
        continue;
      }
      if (parameter.ends_with("!")) {
        parameter.remove_suffix(1);
        ++entry.required;
      }
      entry.parameters.emplace_back(parameter);
    }
    for (const absl::string_view name : absl::StrSplit(ToAbsl(row.names), ' ')) {
      entry.name = std::string(name);
      entries_[entry.name] = entry;
    }
  }
}

const BuiltinEntry* BuiltinTable::Find(std::string_view name) const {
  const auto found = entries_.find(ToAbsl(name));
  return found == entries_.end() ? nullptr : &found->second;
}

BuiltinTable& BuiltinTable::Include(const BuiltinTable& other) {
  entries_.insert(other.entries_.begin(), other.entries_.end());
  return *this;
}

const BuiltinTable& Filters() {
  static const BuiltinTable& table =
      *new BuiltinTable(BuiltinTable(std::initializer_list<BuiltinTable::Row>())
                            .Include(TextFilters())
                            .Include(NumberFilters())
                            .Include(SequenceFilters())
                            .Include(SelectionFilters()));
  return table;
}

absl::StatusOr<BoundArguments> Bind(const BuiltinEntry& entry, Arguments arguments) {
  std::vector<std::optional<Value>> values(entry.parameters.size());
  Arguments rest;
  for (size_t i = 0; i < arguments.positional.size(); ++i) {
    if (i < values.size()) {
      values[i] = std::move(arguments.positional[i]);
    } else if (entry.takes_rest) {
      rest.positional.push_back(std::move(arguments.positional[i]));
    } else {
      return absl::InvalidArgumentError(StrCat("takes at most ", values.size(),
                                               " arguments, found ", arguments.positional.size()));
    }
  }
  for (auto& [name, value] : arguments.named) {
    const auto found = std::find(entry.parameters.begin(), entry.parameters.end(), name);
    if (found == entry.parameters.end()) {
      if (!entry.takes_rest) {
        return absl::InvalidArgumentError(StrCat("takes no argument '", name, "'"));
      }
      rest.named.emplace_back(name, std::move(value));
      continue;
    }
    std::optional<Value>& slot = values[found - entry.parameters.begin()];
    if (slot) return absl::InvalidArgumentError(StrCat("takes '", name, "' only once"));
    slot = std::move(value);
  }
  for (size_t i = 0; i < entry.required; ++i) {
    if (!values[i]) {
      return absl::InvalidArgumentError(StrCat("needs the argument '", entry.parameters[i], "'"));
    }
  }
  return BoundArguments(std::move(values), std::move(rest));
}

}  // namespace shira::jinja
