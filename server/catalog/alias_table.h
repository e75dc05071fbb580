// File: server/catalog/alias_table.h
//
// Names for versions of adapters: prod -> tone@3. An alias always names one version, so replacing
// an adapter moves no alias. It remembers its targets before, to be moved back.

#ifndef SHIRA_SERVER_CATALOG_ALIAS_TABLE_H_
#define SHIRA_SERVER_CATALOG_ALIAS_TABLE_H_

#include <cstddef>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/catalog/adapter_name.h"

namespace shira {

struct AliasInfo {
  std::string name;
  AdapterVersion target;
  std::vector<AdapterVersion> history;  // the latest first; at most kMaxAliasHistory
};

inline constexpr size_t kMaxAliasHistory = 8;

// Knows nothing of which versions there are: its owner sees to that. Thread-compatible.
class AliasTable {
 public:
  // nullptr when absent.
  const AliasInfo* Find(std::string_view alias) const;

  // Makes or moves an alias. The target before becomes the latest of its history; moving it to
  // where it is changes nothing.
  const AliasInfo& Set(const std::string& alias, AdapterVersion target);

  // Moves an alias back to the latest target of its history, which that is no part of then.
  // NOT_FOUND for an unknown alias, FAILED_PRECONDITION without a history.
  absl::StatusOr<AliasInfo> Rollback(std::string_view alias);

  // False if it is not there.
  bool Delete(std::string_view alias);

  // Takes a version that is gone out of every history. REQUIRES: it is no alias' target.
  void Forget(const AdapterVersion& version);

  // An alias as it was saved. REQUIRES: its name is absent.
  void Restore(AliasInfo alias);

  // The aliases whose target it is, by name.
  std::vector<std::string> NamesOf(const AdapterVersion& version) const;
  // Whether it is a target, or in a history.
  bool Mentions(const AdapterVersion& version) const;

  // By name.
  std::vector<AliasInfo> List() const;
  size_t size() const { return aliases_.size(); }

 private:
  // Every change of an alias is made between these two, which keep the maps below.
  void Unlink(const AliasInfo& alias);
  void Link(const AliasInfo& alias);

  std::map<std::string, AliasInfo, std::less<>> aliases_;
  std::map<AdapterVersion, std::set<std::string>> named_by_;  // of targets
  // Of targets and histories. A history can have a version several times.
  std::map<AdapterVersion, std::multiset<std::string>> mentioned_by_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_CATALOG_ALIAS_TABLE_H_
