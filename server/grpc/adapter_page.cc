#include "server/grpc/adapter_page.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/generation/field_problems.h"
#include "server/grpc/proto_conversion.h"

namespace shira {
namespace {

constexpr int kDefaultPageSize = 100;
constexpr int kMaxPageSize = 1000;
// gRPC's clients take 4 MiB.
constexpr size_t kMaxPageBytes = size_t{2} << 20;
// Of an adapter without its texts: a generous guess.
constexpr size_t kAdapterBytes = 256;

using Position = std::pair<std::string, int64_t>;  // name, version

Position PositionOf(const AdapterInfo& info) { return {info.name, info.version}; }

std::string TokenOf(const Position& position) {
  return absl::WebSafeBase64Escape(StrCat(position.first, "@", position.second));
}

// nullopt if no page gave it. An empty one is before everything, since no name is empty.
std::optional<Position> ParseToken(const std::string& token) {
  if (token.empty()) return Position();
  std::string text;
  if (!absl::WebSafeBase64Unescape(token, &text)) return std::nullopt;
  const size_t at = text.rfind('@');
  Position position;
  if (at == std::string::npos || !absl::SimpleAtoi(text.substr(at + 1), &position.second)) {
    return std::nullopt;
  }
  position.first = text.substr(0, at);
  return position;
}

size_t BytesOf(const AdapterInfo& info) {
  size_t bytes = kAdapterBytes + info.name.size() + info.path.size() + info.error.size();
  for (const std::string& alias : info.aliases) bytes += alias.size();
  if (info.adapter != nullptr) {
    bytes += info.adapter->base_model.size() + info.adapter->format.size();
  }
  return bytes;
}

template <typename Enum>
bool IsOneOf(Enum value, const google::protobuf::RepeatedField<int>& wanted) {
  return wanted.empty() || std::find(wanted.begin(), wanted.end(), value) != wanted.end();
}

bool Matches(const AdapterInfo& info, const v1::ListAdaptersRequest& request) {
  return info.name.starts_with(request.name_prefix()) &&
         IsOneOf(ToProto(info.state), request.states()) &&
         IsOneOf(ToProto(info.residency), request.residencies());
}

FieldProblems Check(const v1::ListAdaptersRequest& request) {
  FieldProblems problems;
  if (request.page_size() < 0) problems.Add("page_size", "is negative");
  if (!ParseToken(request.page_token()).has_value()) {
    problems.Add("page_token", "is not the next_page_token of a page");
  }
  for (const int state : request.states()) {
    if (!v1::AdapterState_IsValid(state) || state == v1::ADAPTER_STATE_UNSPECIFIED) {
      problems.Add("states", StrCat(state, " is no state"));
    }
  }
  for (const int residency : request.residencies()) {
    if (!v1::AdapterResidency_IsValid(residency) ||
        residency == v1::ADAPTER_RESIDENCY_UNSPECIFIED) {
      problems.Add("residencies", StrCat(residency, " is no residency"));
    }
  }
  return problems;
}

}  // namespace

absl::StatusOr<AdapterPage> PageOf(std::vector<AdapterInfo> all,
                                   const v1::ListAdaptersRequest& request) {
  SHIRA_RETURN_IF_ERROR(Check(request).ToStatus());
  const Position after = *ParseToken(request.page_token());
  const size_t size =
      request.page_size() == 0 ? kDefaultPageSize : std::min(request.page_size(), kMaxPageSize);
  AdapterPage page;
  size_t bytes = 0;
  for (AdapterInfo& info : all) {
    if (PositionOf(info) <= after || !Matches(info, request)) continue;
    bytes += BytesOf(info);
    if (page.adapters.size() == size || (!page.adapters.empty() && bytes > kMaxPageBytes)) {
      page.next_page_token = TokenOf(PositionOf(page.adapters.back()));
      break;
    }
    page.adapters.push_back(std::move(info));
  }
  return page;
}

absl::StatusOr<AliasPage> PageOf(std::vector<AliasInfo> all,
                                 const v1::ListAliasesRequest& request) {
  FieldProblems problems;
  if (request.page_size() < 0) problems.Add("page_size", "is negative");
  std::string after;
  if (!absl::WebSafeBase64Unescape(request.page_token(), &after)) {
    problems.Add("page_token", "is not the next_page_token of a page");
  }
  SHIRA_RETURN_IF_ERROR(problems.ToStatus());
  const size_t size =
      request.page_size() == 0 ? kMaxPageSize : std::min(request.page_size(), kMaxPageSize);
  AliasPage page;
  for (AliasInfo& alias : all) {
    if (alias.name <= after) continue;
    if (page.aliases.size() == size) {
      page.next_page_token = absl::WebSafeBase64Escape(page.aliases.back().name);
      break;
    }
    page.aliases.push_back(std::move(alias));
  }
  return page;
}

}  // namespace shira
