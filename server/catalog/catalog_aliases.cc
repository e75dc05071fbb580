// Aliases: the part of Catalog that moves them and releases what they kept.

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/catalog/adapter_name.h"
#include "server/catalog/catalog.h"

namespace shira {

absl::StatusOr<AliasInfo> Catalog::SetAlias(const std::string& alias, std::string_view target) {
  SHIRA_RETURN_IF_ERROR(ValidateAdapterName(alias));
  EndingLock lock(*this);
  if (records_.contains(alias)) {
    return absl::AlreadyExistsError(
        StrCat("'", alias, "' is an adapter: an alias needs another name"));
  }
  if (aliases_.Find(target) != nullptr) {
    return absl::InvalidArgumentError(
        StrCat("'", target, "' is an alias: the target has to be an adapter"));
  }
  SHIRA_ASSIGN_OR_RETURN(const RecordPtr record, Find(target));
  SHIRA_RETURN_IF_ERROR(ExpectReady(*record, target));
  const AliasInfo* before = aliases_.Find(alias);
  if (before == nullptr && static_cast<int64_t>(aliases_.size()) >= options_.max_adapters) {
    return absl::ResourceExhaustedError(
        StrCat("cannot set alias '", alias, "': there are ", aliases_.size(),
               " aliases, as many as adapters are allowed; delete some"));
  }
  // What falls out of a full history need not be kept any more.
  const std::string dropped =
      before == nullptr || before->history.empty() ? "" : before->history.back().name;
  AliasInfo info = aliases_.Set(alias, record->id());
  ++changes_;
  if (!dropped.empty()) RetireUnkept(dropped);
  return info;
}

absl::StatusOr<AliasInfo> Catalog::RollbackAlias(std::string_view alias) {
  EndingLock lock(*this);
  const AliasInfo* before = aliases_.Find(alias);
  if (before != nullptr && !before->history.empty()) {
    const std::string target = before->history.front().ToString();
    SHIRA_ASSIGN_OR_RETURN(const RecordPtr record, Find(target));
    SHIRA_RETURN_IF_ERROR(ExpectReady(*record, target));
  }
  const std::string left = before == nullptr ? "" : before->target.name;
  SHIRA_ASSIGN_OR_RETURN(AliasInfo info, aliases_.Rollback(alias));
  ++changes_;
  RetireUnkept(left);
  return info;
}

absl::Status Catalog::DeleteAlias(std::string_view alias) {
  EndingLock lock(*this);
  for (const AdapterSelectionTerm& term : default_terms_) {
    if (term.name == alias) {
      return absl::FailedPreconditionError(
          StrCat("alias '", alias, "' is part of the default state: revert to the base first"));
    }
  }
  const AliasInfo* found = aliases_.Find(alias);
  if (found == nullptr) return absl::NotFoundError(StrCat("no alias '", alias, "' is set"));
  const AliasInfo deleted = *found;
  aliases_.Delete(alias);
  ++changes_;
  RetireUnkept(deleted.target.name);
  for (const AdapterVersion& version : deleted.history) RetireUnkept(version.name);
  return absl::OkStatus();
}

std::vector<AliasInfo> Catalog::Aliases() const {
  absl::MutexLock lock(&mutex_);
  return aliases_.List();
}

}  // namespace shira
