#include "server/catalog/alias_table.h"

#include <utility>

#include "base/strings.h"

namespace shira {

const AliasInfo* AliasTable::Find(std::string_view alias) const {
  const auto found = aliases_.find(alias);
  return found == aliases_.end() ? nullptr : &found->second;
}

void AliasTable::Link(const AliasInfo& alias) {
  named_by_[alias.target].insert(alias.name);
  mentioned_by_[alias.target].insert(alias.name);
  for (const AdapterVersion& version : alias.history) mentioned_by_[version].insert(alias.name);
}

void AliasTable::Unlink(const AliasInfo& alias) {
  const auto remove = [&](auto& index, const AdapterVersion& version) {
    const auto found = index.find(version);
    found->second.erase(found->second.find(alias.name));
    if (found->second.empty()) index.erase(found);
  };
  remove(named_by_, alias.target);
  remove(mentioned_by_, alias.target);
  for (const AdapterVersion& version : alias.history) remove(mentioned_by_, version);
}

const AliasInfo& AliasTable::Set(const std::string& alias, AdapterVersion target) {
  AliasInfo& info = aliases_[alias];
  if (info.name.empty()) {
    info.name = alias;
    info.target = std::move(target);
  } else if (info.target == target) {
    return info;
  } else {
    Unlink(info);
    info.history.insert(info.history.begin(), std::exchange(info.target, std::move(target)));
    if (info.history.size() > kMaxAliasHistory) info.history.pop_back();
  }
  Link(info);
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
  Unlink(info);
  info.target = std::move(info.history.front());
  info.history.erase(info.history.begin());
  Link(info);
  return info;
}

bool AliasTable::Delete(std::string_view alias) {
  const auto found = aliases_.find(alias);
  if (found == aliases_.end()) return false;
  Unlink(found->second);
  aliases_.erase(found);
  return true;
}

void AliasTable::Forget(const AdapterVersion& version) {
  const auto found = mentioned_by_.find(version);
  if (found == mentioned_by_.end()) return;
  const std::set<std::string> names(found->second.begin(), found->second.end());
  for (const std::string& name : names) {
    AliasInfo& info = aliases_.find(name)->second;
    Unlink(info);
    std::erase(info.history, version);
    Link(info);
  }
}

void AliasTable::Restore(AliasInfo alias) {
  std::string name = alias.name;
  const auto [place, is_new] = aliases_.emplace(std::move(name), std::move(alias));
  if (is_new) Link(place->second);
}

std::vector<std::string> AliasTable::NamesOf(const AdapterVersion& version) const {
  const auto found = named_by_.find(version);
  if (found == named_by_.end()) return {};
  return {found->second.begin(), found->second.end()};
}

bool AliasTable::Mentions(const AdapterVersion& version) const {
  return mentioned_by_.contains(version);
}

std::vector<AliasInfo> AliasTable::List() const {
  std::vector<AliasInfo> list;
  list.reserve(aliases_.size());
  for (const auto& [name, info] : aliases_) list.push_back(info);
  return list;
}

}  // namespace shira
