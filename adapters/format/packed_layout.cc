#include "adapters/format/packed_layout.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "base/dtype.h"
#include "base/strings.h"

namespace shira {
namespace {

constexpr absl::string_view kTables = "tables";
constexpr absl::string_view kDelta = ".delta";
constexpr absl::string_view kReplacement = ".replacement";

void AddText(Sha256& hash, std::string_view text) { hash.UpdateU64(text.size()).Update(text); }

std::optional<int64_t> ParseNumber(absl::string_view text) {
  int64_t number = 0;
  const bool digits = std::all_of(text.begin(), text.end(), absl::ascii_isdigit);
  if (text.empty() || !digits || (text.size() > 1 && text.front() == '0') ||
      !absl::SimpleAtoi(text, &number)) {
    return std::nullopt;
  }
  return number;
}

}  // namespace

std::string PackedTableName(int64_t table) { return StrCat(kTables, ".", table); }

std::string PackedValuesName(std::string_view parameter, ValueKind kind, int64_t table) {
  return StrCat(parameter, kind == ValueKind::kDelta ? kDelta : kReplacement, ".", table);
}

std::optional<PackedName> ParsePackedName(std::string_view name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::optional<int64_t> table = ParseNumber(ToAbsl(name.substr(dot + 1)));
  if (!table.has_value()) return std::nullopt;
  absl::string_view rest = ToAbsl(name.substr(0, dot));
  if (rest == kTables) return PackedName{"", ValueKind::kDelta, *table};
  ValueKind kind = ValueKind::kDelta;
  if (absl::ConsumeSuffix(&rest, kReplacement)) {
    kind = ValueKind::kReplacement;
  } else if (!absl::ConsumeSuffix(&rest, kDelta)) {
    return std::nullopt;
  }
  if (rest.empty()) return std::nullopt;
  return PackedName{std::string(rest), kind, *table};
}

Sha256Digest PackedDigest(const std::map<std::string, TensorView>& tensors,
                          const std::map<std::string, std::string>& metadata) {
  Sha256 hash;
  for (const auto& [key, value] : metadata) {
    if (key == kPackedDigestKey) continue;
    AddText(hash, key);
    AddText(hash, value);
  }
  for (const auto& [name, tensor] : tensors) {
    AddText(hash, name);
    AddText(hash, DTypeName(tensor.dtype));
    hash.UpdateU64(tensor.data.size()).Update(tensor.data);
  }
  return hash.Finish();
}

std::optional<Sha256Digest> ParseSha256(std::string_view hex) {
  Sha256Digest digest;
  if (hex.size() != 2 * digest.bytes.size()) return std::nullopt;
  const auto digit = [](char c) -> int {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return -1;
  };
  for (size_t i = 0; i < digest.bytes.size(); ++i) {
    const int high = digit(hex[2 * i]);
    const int low = digit(hex[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    digest.bytes[i] = static_cast<uint8_t>(16 * high + low);
  }
  return digest;
}

}  // namespace shira
