#include "server/model/gguf_parts.h"

#include <array>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace {

constexpr std::string_view kMagic = "GGUF";

// As split.count is a 16-bit number.
constexpr int64_t kMaxParts = UINT16_MAX;

// Which of how many files one is; {0, 1} for a model in one file.
struct Place {
  int64_t number = 0;  // from 0
  int64_t count = 1;
};

absl::StatusOr<Place> PlaceOf(const GgufFile& gguf) {
  if (gguf.FindMetadata("split.count") == nullptr) return Place{};
  Place place;
  SHIRA_ASSIGN_OR_RETURN(place.count, gguf.GetInt("split.count"));
  if (place.count <= 1) return Place{};
  SHIRA_ASSIGN_OR_RETURN(place.number, gguf.GetInt("split.no"));
  if (place.count > kMaxParts || place.number < 0 || place.number >= place.count) {
    return absl::InvalidArgumentError(
        StrCat(gguf.source(), ": split.no is ", place.number, " and split.count is ", place.count,
               "; expected a number below a count of at most ", kMaxParts));
  }
  return place;
}

// What the name of a part ends with, but for its extension.
std::string NameEnd(Place place) {
  return absl::StrFormat("-%05d-of-%05d", place.number + 1, place.count);
}

// The path of the other part at `number`; nullopt where `path` is not called as `place` says.
std::optional<std::string> PathOfPart(const std::string& path, Place place, int64_t number) {
  constexpr size_t kExtension = std::string_view(".gguf").size();
  const std::string end = NameEnd(place);
  if (path.size() < end.size() + kExtension) return std::nullopt;
  const size_t at = path.size() - end.size() - kExtension;
  if (path.compare(at, end.size(), end) != 0) return std::nullopt;
  return StrCat(path.substr(0, at), NameEnd({number, place.count}),
                path.substr(path.size() - kExtension));
}

// The tensors of the part at `number`, which `first` and the file itself have to agree about.
absl::Status AddPart(const std::string& path, Place first, int64_t number, GgufParts& parts) {
  absl::StatusOr<MappedFile> mapped = MappedFile::Open(path);
  if (absl::IsNotFound(mapped.status())) {
    return absl::NotFoundError(StrCat(path, ": part ", number + 1, " of ", first.count,
                                      " of a split model is missing; all parts of ",
                                      parts.gguf.source(), " have to be in its folder"));
  }
  SHIRA_RETURN_IF_ERROR(mapped.status());
  SHIRA_ASSIGN_OR_RETURN(GgufFile part, GgufFile::Parse(mapped->bytes(), path));
  SHIRA_ASSIGN_OR_RETURN(const Place place, PlaceOf(part));
  if (place.number != number || place.count != first.count) {
    return absl::InvalidArgumentError(StrCat(path, ": expected part ", number + 1, " of ",
                                             first.count, " of a split model, found part ",
                                             place.number + 1, " of ", place.count));
  }
  SHIRA_RETURN_IF_ERROR(parts.gguf.AddTensorsOf(std::move(part)));
  parts.mapped.push_back(*std::move(mapped));
  return absl::OkStatus();
}

}  // namespace

bool IsGgufFile(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) return false;  // opening a pipe would wait
  std::array<char, kMagic.size()> begin{};
  std::ifstream file(path, std::ios::binary);
  return file.read(begin.data(), begin.size()) &&
         std::string_view(begin.data(), begin.size()) == kMagic;
}

absl::StatusOr<GgufParts> OpenGgufParts(const std::string& path) {
  SHIRA_ASSIGN_OR_RETURN(MappedFile mapped, MappedFile::Open(path));
  SHIRA_ASSIGN_OR_RETURN(GgufFile gguf, GgufFile::Parse(mapped.bytes(), path));
  GgufParts parts{.mapped = {}, .gguf = std::move(gguf)};
  parts.mapped.push_back(std::move(mapped));
  SHIRA_ASSIGN_OR_RETURN(const Place place, PlaceOf(parts.gguf));
  if (place.count == 1) return parts;
  if (place.number != 0) {
    return absl::InvalidArgumentError(StrCat(
        path, ": this is part ", place.number + 1, " of ", place.count,
        " of a split model; name the first one, ",
        PathOfPart(path, place, 0).value_or(StrCat("*", NameEnd({0, place.count}), ".gguf"))));
  }
  for (int64_t number = 1; number < place.count; ++number) {
    const std::optional<std::string> other = PathOfPart(path, place, number);
    if (!other.has_value()) {
      return absl::InvalidArgumentError(
          StrCat(path, ": this is the first part of a split model, but its name does not end in ",
                 NameEnd(place), ".gguf, by which the others are found"));
    }
    SHIRA_RETURN_IF_ERROR(AddPart(*other, place, number, parts));
  }
  if (parts.gguf.FindMetadata("split.tensors.count") != nullptr) {
    SHIRA_ASSIGN_OR_RETURN(const int64_t tensors, parts.gguf.GetInt("split.tensors.count"));
    const int64_t found = static_cast<int64_t>(parts.gguf.tensors().size());
    if (tensors != found) {
      return absl::InvalidArgumentError(StrCat(path, ": expected ", tensors, " tensors in ",
                                               place.count, " parts, found ", found));
    }
  }
  return parts;
}

}  // namespace shira
