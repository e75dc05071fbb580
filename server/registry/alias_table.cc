#include "server/registry/alias_table.h"

#include <algorithm>
#include <utility>

#include "base/strings.h"

namespace shira {

const AliasInfo* AliasTable::Find(std::string_view alias) const {
  const auto found = aliases_.find(alias);
  return found == aliases_.end() ? nullptr : &found->second;
}

const AliasInfo& AliasTable::Set(const std::string& alias, AdapterVersion target) {
  AliasInfo& info = aliases_[alias];
  if (info.name.empty()) {
    info.name = alias;
    info.target = std::move(target);
  } else if (info.target != target) {
    info.history.insert(info.history.begin(), std::exchange(info.target, std::move(target)));
    if (info.history.size() > kMaxAliasHistory) info.history.pop_back();
  }
  return info;
}

absl::StatusOr<AliasInfo> AliasTable::Rollback(std::string_view alias) {
  const auto found = aliases_.find(alias);
  if (found == aliases_.end()) {
    return absl::NotFoundError(StrCat("no alias '", alias, "' is set"));
  }
  AliasInfo& info = found->second;
  if (info.history.empty()) {
    return absl::FailedPreconditionError(
        StrCat("alias '", alias, "' has no target before ", info.target.ToString()));
  }
  info.target = std::move(info.history.front());
  info.history.erase(info.history.begin());
  return info;
}

bool AliasTable::Delete(std::string_view alias) {
  const auto found = aliases_.find(alias);
  if (found == aliases_.end()) return false;
  aliases_.erase(found);
  return true;
}

void AliasTable::Forget(const AdapterVersion& version) {
  for (auto& [name, info] : aliases_) std::erase(info.history, version);
}

void AliasTable::Restore(AliasInfo alias) {
  std::string name = alias.name;
  aliases_.emplace(std::move(name), std::move(alias));
}

std::vector<std::string> AliasTable::NamesOf(const AdapterVersion& version) const {
  std::vector<std::string> names;
  for (const auto& [name, info] : aliases_) {
    if (info.target == version) names.push_back(name);
  }
  return names;
}

bool AliasTable::Mentions(const AdapterVersion& version) const {
  return std::any_of(aliases_.begin(), aliases_.end(), [&](const auto& entry) {
    const auto& history = entry.second.history;
    return entry.second.target == version ||
           std::find(history.begin(), history.end(), version) != history.end();
  });
}

std::vector<AliasInfo> AliasTable::List() const {
  std::vector<AliasInfo> list;
  list.reserve(aliases_.size());
  for (const auto& [name, info] : aliases_) list.push_back(info);
  return list;
}

}  // namespace shira
