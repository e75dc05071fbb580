#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/registry/adapter_name.h"
#include "server/registry/adapter_registry_impl.h"

namespace shira {
namespace {

absl::Status CheckExpectedDigest(std::string_view expected) {
  const bool hexadecimal = std::all_of(expected.begin(), expected.end(), [](char c) {
    return absl::ascii_isxdigit(static_cast<unsigned char>(c));
  });
  if (!expected.empty() && (expected.size() != 64 || !hexadecimal)) {
    return absl::InvalidArgumentError(
        StrCat("the expected SHA-256 must have 64 hexadecimal digits; it has ", expected.size(),
               " characters"));
  }
  return absl::OkStatus();
}

AdapterSummary SummaryOf(const SparseAdapter& adapter) {
  return {adapter.digest, adapter.format, adapter.base_model, adapter.entries(),
          static_cast<int64_t>(adapter.deltas.size())};
}

}  // namespace

absl::StatusOr<AdapterRegistry::LoadResult> AdapterRegistry::Impl::Load(
    const std::string& name, const std::string& path, std::string_view expected_sha256) {
  SHIRA_RETURN_IF_ERROR(ValidateAdapterName(name));
  SHIRA_RETURN_IF_ERROR(CheckExpectedDigest(expected_sha256));
  SHIRA_ASSIGN_OR_RETURN(const std::string resolved, paths_.Resolve(path));
  const absl::Time start = absl::Now();
  SHIRA_ASSIGN_OR_RETURN(const RecordPtr record, BeginLoad(name, resolved));
  absl::StatusOr<std::shared_ptr<const SparseAdapter>> adapter = Read(resolved, expected_sha256);

  std::shared_ptr<const AdapterSummary> loaded;
  {
    absl::MutexLock lock(&mutex_);
    loaded = record->adapter;
  }
  if (loaded == nullptr) {
    if (adapter.ok()) {
      if (absl::Status compiled = CompileOwnState(*adapter); !compiled.ok()) adapter = compiled;
    }
    if (adapter.ok()) memory_.KeepDeltas(*adapter);
    return FinishLoad(
        record, start, adapter,
        {.held = nullptr, .file_digest = adapter.ok() ? (*adapter)->digest : Sha256Digest()});
  }

  const std::shared_ptr<const CompiledState> resident = engine_.resident();
  absl::MutexLock lock(&mutex_);
  record->load_running = false;
  SHIRA_RETURN_IF_ERROR(adapter.status());
  if ((*adapter)->digest != loaded->digest) {
    return absl::AlreadyExistsError(StrCat("adapter '", name, "' is loaded with SHA-256 ",
                                           loaded->digest.Hex(), ", but ", resolved, " has ",
                                           (*adapter)->digest.Hex(), ": unload it first"));
  }
  return LoadResult{Describe(*record, resident->key), /*already_loaded=*/true};
}

absl::StatusOr<AdapterRegistry::LoadResult> AdapterRegistry::Impl::FinishLoad(
    const RecordPtr& record, absl::Time start,
    const absl::StatusOr<std::shared_ptr<const SparseAdapter>>& adapter, Backing backing) {
  const std::shared_ptr<const CompiledState> resident = engine_.resident();
  absl::MutexLock lock(&mutex_);
  record->load_running = false;
  if (!adapter.ok()) {
    SHIRA_RETURN_IF_ERROR(record->MoveTo(AdapterState::kFailed));
    record->error = std::string(adapter.status().message());
    return adapter.status();
  }
  SHIRA_RETURN_IF_ERROR(record->MoveTo(AdapterState::kReady));
  SHIRA_ASSIGN_OR_RETURN(record->own_state, StateKey::Create({{(*adapter)->digest, 1.0}}));
  record->adapter = std::make_shared<const AdapterSummary>(SummaryOf(**adapter));
  record->held = std::move(backing.held);
  record->file_digest = backing.file_digest;
  record->version = ++versions_[record->name];
  record->load_time = absl::Now();
  record->load_duration = record->load_time - start;
  return LoadResult{Describe(*record, resident->key), /*already_loaded=*/false};
}

absl::StatusOr<AdapterRegistry::Impl::RecordPtr> AdapterRegistry::Impl::BeginLoad(
    const std::string& name, const std::string& path) {
  absl::MutexLock lock(&mutex_);
  const auto found = records_.find(name);
  RecordPtr record = found == records_.end() ? nullptr : found->second;
  if (record == nullptr) {
    if (static_cast<int64_t>(records_.size()) >= options_.max_adapters) {
      return absl::ResourceExhaustedError(
          StrCat("cannot load adapter '", name, "': there are ", records_.size(),
                 " adapters, the most that are allowed; unload some"));
    }
    record = std::make_shared<AdapterRecord>();
    record->name = name;
    records_[name] = record;
  } else if (record->load_running || record->state == AdapterState::kUnloading) {
    return absl::AbortedError(StrCat("adapter '", name, "' is being ",
                                     record->load_running ? "loaded" : "unloaded",
                                     " by another call: try again when that is over"));
  } else if (record->state == AdapterState::kFailed) {
    SHIRA_RETURN_IF_ERROR(record->MoveTo(AdapterState::kLoading));
    record->error.clear();
  }
  record->load_running = true;
  if (record->adapter == nullptr) record->path = path;
  return record;
}

absl::StatusOr<std::shared_ptr<const SparseAdapter>> AdapterRegistry::Impl::Read(
    const std::string& path, std::string_view expected_sha256) const {
  SHIRA_ASSIGN_OR_RETURN(std::shared_ptr<const SparseAdapter> adapter, reader_.Read(path));
  const std::string expected = absl::AsciiStrToLower(ToAbsl(expected_sha256));
  if (!expected.empty() && expected != adapter->digest.Hex()) {
    return absl::DataLossError(
        StrCat(path, " has SHA-256 ", adapter->digest.Hex(), ", but expected is ", expected));
  }
  return adapter;
}

absl::Status AdapterRegistry::Impl::CompileOwnState(
    const std::shared_ptr<const SparseAdapter>& adapter) {
  SHIRA_ASSIGN_OR_RETURN(const StateKey key, StateKey::Create({{adapter->digest, 1.0}}));
  const auto read = [&] { return std::vector<WeightedAdapterRef>{{adapter, 1.0}}; };
  return states_.Get(key, read).status();
}

}  // namespace shira
