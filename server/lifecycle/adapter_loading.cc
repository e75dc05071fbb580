#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "base/excerpt.h"
#include "base/out_of_memory.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "base/strings.h"
#include "server/catalog/adapter_name.h"
#include "server/lifecycle/adapter_lifecycle_impl.h"
#include "server/residency/freed_memory.h"

namespace shira {
namespace {

// Of what is kept about an adapter that could not be loaded.
constexpr size_t kMaxErrorBytes = 1500;

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

absl::StatusOr<AdapterLifecycle::LoadResult> AdapterLifecycle::Impl::Load(
    const std::string& name, const std::string& path, std::string_view expected_sha256,
    const LoadOptions& options) {
  SHIRA_RETURN_IF_ERROR(ValidateAdapterName(name));
  SHIRA_RETURN_IF_ERROR(CheckExpectedDigest(expected_sha256));
  const PathConfinement& paths = options.by_operator ? operator_paths_ : client_paths_;
  SHIRA_ASSIGN_OR_RETURN(const std::string resolved, paths.Resolve(path));
  return LoadShared(
      {name, resolved, absl::AsciiStrToLower(ToAbsl(expected_sha256)), FileOwner::kUser, options});
}

absl::StatusOr<AdapterLifecycle::LoadResult> AdapterLifecycle::Impl::LoadUpload(
    const std::string& name, const std::string& path, std::string_view expected_sha256,
    const LoadOptions& options) {
  absl::StatusOr<LoadResult> result;
  absl::Status arguments = ValidateAdapterName(name);
  if (arguments.ok()) arguments = CheckExpectedDigest(expected_sha256);
  if (arguments.ok()) {
    result = LoadShared(
        {name, path, absl::AsciiStrToLower(ToAbsl(expected_sha256)), FileOwner::kUpload, options});
  } else {
    result = arguments;
  }
  if (!result.ok() || result->already_loaded) uploads_->Remove(path);
  return result;
}

absl::StatusOr<AdapterLifecycle::LoadResult> AdapterLifecycle::Impl::LoadShared(
    const LoadRequest& request) {
  const std::string key =
      absl::StrJoin({request.path, request.expected_sha256, request.options.format,
                     std::string(request.options.replace ? "replace" : "")},
                    "\n");
  SHIRA_ASSIGN_OR_RETURN(const LoadTurn turn, BeginLoad(request.name, request.path, key));
  if (!turn.is_mine) return AwaitJob(turn);
  // The turn ends whatever happens in it.
  const absl::StatusOr<LoadResult> result =
      CatchOutOfMemory([&] { return LoadAlone(request, turn.record); });
  EndTurn(turn, result);
  if (result.ok() && !result->already_loaded) RefreshDefault();
  if (!result.ok()) ReturnFreedMemory();
  return result;
}

absl::StatusOr<AdapterLifecycle::LoadResult> AdapterLifecycle::Impl::LoadAlone(
    const LoadRequest& request, const RecordPtr& record) {
  const SteadyTime start = SteadyNow();
  absl::StatusOr<AdapterPtr> adapter = CatchOutOfMemory([&] { return Read(request); });
  // Held until it is published, so that nothing moves it out of memory meanwhile.
  absl::StatusOr<std::shared_ptr<const CompiledState>> compiled = nullptr;
  DeltaBacking backing{.path = request.path, .source = request.path, .owner = request.owner};
  if (adapter.ok()) {
    SHIRA_ASSIGN_OR_RETURN(const Novelty novelty, NoveltyOf(record, (*adapter)->digest,
                                                            request.options.replace, request.path));
    if (novelty == Novelty::kSame) {
      const std::shared_ptr<const CompiledState> resident = engine_.resident();
      absl::MutexLock lock(&mutex_);
      return LoadResult{Describe(*record, resident->key), /*already_loaded=*/true};
    }
    backing.source_digest = (*adapter)->digest;
    compiled = CompileOwnState(*adapter);
    if (compiled.ok()) {
      memory_.KeepDeltas(*adapter);
    } else {
      adapter = compiled.status();
    }
  }
  return Publish(record, start, adapter, std::move(backing));
}

absl::StatusOr<AdapterLifecycle::Impl::AdapterPtr> AdapterLifecycle::Impl::Read(
    const LoadRequest& request) {
  const LoadSlots::Slot slot(slots_);
  SHIRA_ASSIGN_OR_RETURN(AdapterPtr adapter, reader_.Read(request.path));
  const std::string& expected = request.expected_sha256;
  if (!expected.empty() && expected != adapter->digest.Hex()) {
    return absl::DataLossError(StrCat(request.path, " has SHA-256 ", adapter->digest.Hex(),
                                      ", but expected is ", expected));
  }
  const std::string& format = request.options.format;
  if (!format.empty() && format != adapter->format) {
    return absl::InvalidArgumentError(
        StrCat(request.path, ": expected format ", format, ", found ", adapter->format));
  }
  return adapter;
}

absl::StatusOr<AdapterLifecycle::Impl::AdapterPtr> AdapterLifecycle::Impl::ReadAgain(
    const std::string& path) {
  // Checked again, since a folder may have become a link meanwhile.
  SHIRA_ASSIGN_OR_RETURN(const std::string resolved, all_paths_.Resolve(path));
  const LoadSlots::Slot slot(slots_);
  return reader_.Read(resolved);
}

// ---- Turns --------------------------------------------------------------------------------------

absl::StatusOr<AdapterLifecycle::Impl::LoadTurn> AdapterLifecycle::Impl::BeginLoad(
    const std::string& name, const std::string& path, std::string key) {
  absl::MutexLock lock(&mutex_);
  if (aliases_.Find(name) != nullptr) {
    return absl::AlreadyExistsError(StrCat("'", name,
                                           "' is an alias: an adapter needs another "
                                           "name"));
  }
  const auto found = records_.find(name);
  LoadTurn turn;
  if (found != records_.end()) turn.record = NewestOf(found->second);
  if (turn.record != nullptr) {
    const std::shared_ptr<LoadJob>& job = turn.record->job;
    if (job != nullptr && !key.empty() && job->key == key) {
      turn.job = job;
      ++stats_.shared_loads;
      return turn;
    }
    if (job != nullptr || turn.record->state == AdapterState::kUnloading) {
      return absl::AbortedError(StrCat("adapter '", name, "' is being ",
                                       job != nullptr ? "loaded" : "unloaded",
                                       " by another call: try again when that is over"));
    }
  }
  if (turn.record == nullptr) {
    int64_t count = RecordCount();
    while (count >= options_.max_adapters && EndRecent(/*owner=*/std::nullopt)) --count;
    if (count >= options_.max_adapters) {
      return absl::ResourceExhaustedError(
          StrCat("cannot load adapter '", name, "': there are ", count,
                 " adapters, the most that are allowed; unload some"));
    }
    turn.record = std::make_shared<AdapterRecord>();
    turn.record->name = name;
    records_[name][0] = turn.record;
  } else if (turn.record->state == AdapterState::kFailed && turn.record->version == 0) {
    SHIRA_RETURN_IF_ERROR(turn.record->MoveTo(AdapterState::kLoading));
    turn.record->error.clear();
  }
  if (turn.record->version == 0) turn.record->backing.path = path;
  turn.job = std::make_shared<LoadJob>();
  turn.job->key = std::move(key);
  turn.record->job = turn.job;
  turn.is_mine = true;
  return turn;
}

absl::StatusOr<AdapterLifecycle::LoadResult> AdapterLifecycle::Impl::AwaitJob(const LoadTurn& turn) {
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(&turn.job->done));
  absl::StatusOr<LoadResult> result = turn.job->result;
  if (result.ok()) result->already_loaded = true;
  return result;
}

void AdapterLifecycle::Impl::EndTurn(const LoadTurn& turn,
                                    const absl::StatusOr<LoadResult>& result) {
  absl::MutexLock lock(&mutex_);
  turn.record->job = nullptr;
  turn.job->result = result;
  turn.job->done = true;
}

// ---- The end of a load --------------------------------------------------------------------------

absl::StatusOr<AdapterLifecycle::Impl::Novelty> AdapterLifecycle::Impl::NoveltyOf(
    const RecordPtr& record, const Sha256Digest& digest, bool replace,
    std::string_view what) const {
  absl::MutexLock lock(&mutex_);
  const std::optional<Sha256Digest> loaded = record->digest();
  const bool is_ready = record->state == AdapterState::kReady;
  if (loaded == digest) return is_ready ? Novelty::kSame : Novelty::kRecovered;
  if (is_ready && !replace) {
    return absl::AlreadyExistsError(StrCat("adapter '", record->name, "' is loaded with SHA-256 ",
                                           loaded->Hex(), ", but ", what, " has ", digest.Hex(),
                                           ": unload it first, or ask to replace it"));
  }
  return Novelty::kNewVersion;
}

absl::StatusOr<AdapterLifecycle::LoadResult> AdapterLifecycle::Impl::Publish(
    const RecordPtr& newest, SteadyTime start, const absl::StatusOr<AdapterPtr>& adapter,
    DeltaBacking backing) {
  const std::shared_ptr<const CompiledState> resident = engine_.resident();
  std::shared_ptr<const CompiledState> state;  // to be pinned
  if (adapter.ok()) {
    SHIRA_ASSIGN_OR_RETURN(const StateKey key, StateKey::Create({{(*adapter)->digest, 1.0}}));
    state = memory_.FindState(key);
  }
  absl::MutexLock lock(&mutex_);
  if (!adapter.ok()) {
    PublishFailure(*newest, adapter.status());
    return adapter.status();
  }
  const bool is_first = newest->version == 0;
  const bool is_recovered = !is_first && newest->digest() == (*adapter)->digest;
  RecordPtr record = newest;
  if (!is_first && !is_recovered) {
    record = std::make_shared<AdapterRecord>();
    record->name = newest->name;
  } else if (is_recovered) {
    SHIRA_RETURN_IF_ERROR(record->MoveTo(AdapterState::kLoading));
  }
  SHIRA_RETURN_IF_ERROR(record->MoveTo(AdapterState::kReady));
  SHIRA_ASSIGN_OR_RETURN(record->own_state, StateKey::Create({{(*adapter)->digest, 1.0}}));
  record->adapter = std::make_shared<const AdapterSummary>(SummaryOf(**adapter));
  record->backing = std::move(backing);
  record->error.clear();
  record->saved.reset();
  record->load_time = absl::Now();
  record->load_duration = SteadyNow() - start;
  if (!is_recovered) {
    AdapterVersions& versions = records_[record->name];
    versions.erase(0);
    record->version = versions_.Next(record->name);
    versions[record->version] = record;
  }
  ++changes_;
  std::optional<Sha256Digest> replaced;
  if (record != newest) {
    record->pinned = std::exchange(newest->pinned, false);
    newest->pinned_state = nullptr;
    replaced = newest->digest();
    RetireUnkept(newest->name);
  }
  if (record->pinned) record->pinned_state = std::move(state);
  stats_.loads.Add(record->load_duration);
  return LoadResult{Describe(*record, resident->key), /*already_loaded=*/false, replaced};
}

void AdapterLifecycle::Impl::PublishFailure(AdapterRecord& record, const absl::Status& error) {
  ++stats_.failed_loads;
  if (record.state == AdapterState::kReady) return;
  // Legal from kLoading; a record that was kFailed before stays so.
  record.state = AdapterState::kFailed;
  record.error = Excerpt(ToStd(error.message()), kMaxErrorBytes);
}

absl::StatusOr<std::shared_ptr<const CompiledState>> AdapterLifecycle::Impl::CompileOwnState(
    const AdapterPtr& adapter) {
  SHIRA_ASSIGN_OR_RETURN(const StateKey key, StateKey::Create({{adapter->digest, 1.0}}));
  const auto read = [&] { return std::vector<WeightedAdapterRef>{{adapter, 1.0}}; };
  return states_.Get(key, adapter->entries(), [] {}, read);
}

}  // namespace shira
