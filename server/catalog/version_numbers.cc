#include "server/catalog/version_numbers.h"

#include <algorithm>

namespace shira {

int64_t VersionNumbers::Next(std::string_view name) {
  const auto found = names_.find(name);
  if (found != names_.end()) {
    Remember(found->second);
    return ++found->second.last;
  }
  return names_.emplace(std::string(name), Name{forgotten_ + 1, std::nullopt}).first->second.last;
}

void VersionNumbers::Gone(std::string_view name) {
  const auto found = names_.find(name);
  if (found == names_.end() || found->second.gone.has_value()) return;
  found->second.gone = gone_.insert(gone_.end(), found->first);
  if (gone_.size() <= kMaxGoneNames) return;
  const auto oldest = names_.find(gone_.front());
  forgotten_ = std::max(forgotten_, oldest->second.last);
  names_.erase(oldest);
  gone_.pop_front();
}

VersionNumbers::Saved VersionNumbers::Save() const {
  Saved saved;
  for (const auto& [name, entry] : names_) saved.last[name] = entry.last;
  saved.forgotten = forgotten_;
  return saved;
}

void VersionNumbers::Restore(const Saved& saved) {
  names_.clear();
  gone_.clear();
  forgotten_ = saved.forgotten;
  for (const auto& [name, last] : saved.last) {
    names_[name] = {last, gone_.insert(gone_.end(), name)};
  }
}

void VersionNumbers::Keep(std::string_view name) {
  const auto found = names_.find(name);
  if (found != names_.end()) Remember(found->second);
}

void VersionNumbers::Remember(Name& name) {
  if (!name.gone.has_value()) return;
  gone_.erase(*name.gone);
  name.gone.reset();
}

}  // namespace shira
