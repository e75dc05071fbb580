#include "server/lifecycle/adapter_loading.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "base/out_of_memory.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/catalog/adapter_name.h"
#include "server/residency/freed_memory.h"

namespace shira {
namespace {

using AdapterPtr = std::shared_ptr<const SparseAdapter>;

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

absl::StatusOr<AdapterLoadResult> AdapterLoading::Load(const std::string& name,
                                                       const std::string& path,
                                                       std::string_view expected_sha256,
                                                       const AdapterLoadOptions& options) {
  SHIRA_RETURN_IF_ERROR(ValidateAdapterName(name));
  SHIRA_RETURN_IF_ERROR(CheckExpectedDigest(expected_sha256));
  SHIRA_ASSIGN_OR_RETURN(const std::string resolved,
                         parts_.sources.Resolve(path, options.by_operator));
  return LoadShared(
      {name, resolved, absl::AsciiStrToLower(ToAbsl(expected_sha256)), FileOwner::kUser, options});
}

absl::StatusOr<AdapterLoadResult> AdapterLoading::LoadUpload(const std::string& name,
                                                             const std::string& path,
                                                             std::string_view expected_sha256,
                                                             const AdapterLoadOptions& options) {
  absl::StatusOr<AdapterLoadResult> result;
  absl::Status arguments = ValidateAdapterName(name);
  if (arguments.ok()) arguments = CheckExpectedDigest(expected_sha256);
  if (arguments.ok()) {
    result = LoadShared(
        {name, path, absl::AsciiStrToLower(ToAbsl(expected_sha256)), FileOwner::kUpload, options});
  } else {
    result = arguments;
  }
  if (!result.ok() || result->already_loaded) parts_.uploads->Remove(path);
  return result;
}

absl::StatusOr<AdapterLoadResult> AdapterLoading::LoadShared(const Request& request) {
  std::optional<Catalog::LoadTurn> turn;
  bool is_joined = false;
  const auto load = [&]() -> absl::StatusOr<AdapterLoadResult> {
    SHIRA_ASSIGN_OR_RETURN(turn, parts_.catalog.BeginLoad(request.name, request.path));
    return LoadAlone(request, *turn);
  };
  // With the flight, so that no call joins a load whose name others may change already.
  const auto end_turn = [&] {
    if (turn.has_value()) parts_.catalog.EndLoad(*turn);
  };
  const auto join = [&] {
    is_joined = true;
    parts_.book.BookShared();
  };
  absl::StatusOr<AdapterLoadResult> result =
      flights_.Do({request.name, request.path, request.expected_sha256, request.options.format,
                   request.options.replace},
                  load, join, end_turn);
  if (is_joined) {
    if (result.ok()) result->already_loaded = true;
    return result;
  }
  if (!turn.has_value()) return result;
  if (result.ok() && !result->already_loaded) parts_.states.RefreshDefault();
  if (!result.ok()) ReturnFreedMemory();
  return result;
}

absl::StatusOr<AdapterLoadResult> AdapterLoading::LoadAlone(const Request& request,
                                                            const Catalog::LoadTurn& turn) {
  const SteadyTime start = SteadyNow();
  absl::StatusOr<AdapterPtr> adapter = CatchOutOfMemory([&] { return Read(request); });
  // Held until it is published, so that nothing moves it out of memory meanwhile.
  absl::StatusOr<std::shared_ptr<const CompiledState>> compiled = nullptr;
  AdapterOrigin origin{.path = request.path, .source = request.path, .owner = request.owner};
  if (adapter.ok()) {
    SHIRA_ASSIGN_OR_RETURN(
        const Catalog::Novelty novelty,
        parts_.catalog.NoveltyOf(turn, (*adapter)->digest, request.options.replace, request.path));
    if (novelty == Catalog::Novelty::kSame) {
      return AdapterLoadResult{parts_.views.InfoOf(parts_.catalog.EntryOf(turn)),
                               /*already_loaded=*/true};
    }
    origin.source_digest = (*adapter)->digest;
    compiled = parts_.states.CompileOwn(*adapter);
    if (compiled.ok()) {
      parts_.memory.KeepDeltas(*adapter);
    } else {
      adapter = compiled.status();
    }
  }
  return Finish(turn, start, adapter, std::move(origin), /*held=*/nullptr);
}

absl::StatusOr<AdapterPtr> AdapterLoading::Read(const Request& request) {
  SHIRA_ASSIGN_OR_RETURN(AdapterPtr adapter, parts_.sources.Read(request.path));
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

absl::StatusOr<AdapterLoadResult> AdapterLoading::Finish(const Catalog::LoadTurn& turn,
                                                         SteadyTime start,
                                                         const absl::StatusOr<AdapterPtr>& adapter,
                                                         AdapterOrigin origin, AdapterPtr held) {
  if (!adapter.ok()) {
    parts_.catalog.Fail(turn, adapter.status());
    parts_.book.BookFailure();
    return adapter.status();
  }
  SHIRA_ASSIGN_OR_RETURN(const StateKey key, StateKey::Create({{(*adapter)->digest, 1.0}}));
  std::shared_ptr<const CompiledState> state = parts_.memory.FindState(key);  // to be pinned
  const absl::Duration duration = SteadyNow() - start;
  SHIRA_ASSIGN_OR_RETURN(Catalog::Published published,
                         parts_.catalog.Publish(turn, {.summary = SummaryOf(**adapter),
                                                       .origin = std::move(origin),
                                                       .held = {std::move(held), std::move(state)},
                                                       .load_duration = duration}));
  parts_.book.BookLoad(duration);
  return AdapterLoadResult{parts_.views.InfoOf(published.entry), /*already_loaded=*/false,
                           published.replaced};
}

}  // namespace shira
