#include "server/catalog/catalog_snapshot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/escaping.h"
#include "base/problem_list.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "nlohmann/json.hpp"
#include "server/catalog/adapter_name.h"

namespace shira {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kFormat = "shira-server-state";
constexpr int64_t kFormatVersion = 2;
// The last format without "forgotten_versions".
constexpr int64_t kOldFormatVersion = 1;

constexpr auto kOwners = std::to_array<std::pair<FileOwner, std::string_view>>({
    {FileOwner::kUser, "user"},
    {FileOwner::kUpload, "upload"},
    {FileOwner::kBlend, "blend"},
});

std::string OwnerName(FileOwner owner) {
  for (const auto& [known, name] : kOwners) {
    if (known == owner) return std::string(name);
  }
  return "user";
}

// Collects every problem; what it returns beside one is of no use.
class SnapshotReader {
 public:
  CatalogSnapshot Read(const Json& json) {
    CatalogSnapshot snapshot;
    std::vector<const char*> keys = {"format",   "format_version", "last_versions",
                                     "adapters", "aliases",        "default_state"};
    const bool is_old = json.at("format_version") == Json(kOldFormatVersion);
    if (!is_old) keys.push_back("forgotten_versions");
    if (!ExpectKeys(json, "the file", keys)) return snapshot;
    snapshot.versions.last = LastVersions(json.at("last_versions"));
    if (!is_old) snapshot.versions.forgotten = ForgottenVersions(json.at("forgotten_versions"));
    Each(json, "adapters", [&](const Json& element, const std::string& where) {
      snapshot.adapters.push_back(Adapter(element, where));
    });
    Each(json, "aliases", [&](const Json& element, const std::string& where) {
      snapshot.aliases.push_back(Alias(element, where));
    });
    Each(json, "default_state", [&](const Json& element, const std::string& where) {
      snapshot.default_state.push_back(Term(element, where));
    });
    if (problems_.empty()) CheckTogether(snapshot);
    return snapshot;
  }

  absl::Status status() const { return problems_.ToStatus(absl::StatusCode::kDataLoss, "content"); }

 private:
  // Whether it is an object with exactly these keys.
  bool ExpectKeys(const Json& object, const std::string& where,
                  const std::vector<const char*>& keys) {
    if (!object.is_object()) {
      problems_.Add(where, ": expected an object");
      return false;
    }
    bool complete = true;
    for (const char* key : keys) {
      if (object.contains(key)) continue;
      problems_.Add(where, ": '", key, "' is missing");
      complete = false;
    }
    const std::set<std::string> known(keys.begin(), keys.end());
    for (const auto& [key, value] : object.items()) {
      if (!known.contains(key)) problems_.Add(where, ": '", key, "' is unknown");
    }
    return complete;
  }

  template <typename Parse>
  void Each(const Json& object, const char* key, Parse parse) {
    const Json& array = object.at(key);
    if (!array.is_array()) {
      problems_.Add(key, ": expected an array");
      return;
    }
    size_t index = 0;
    for (const Json& element : array) parse(element, StrCat(key, "[", index++, "]"));
  }

  std::string String(const Json& value, const std::string& where) {
    if (value.is_string()) return value.get<std::string>();
    problems_.Add(where, ": expected a string");
    return "";
  }

  int64_t Positive(const Json& value, const std::string& where) {
    if (value.is_number_integer() && value.get<int64_t>() > 0) return value.get<int64_t>();
    problems_.Add(where, ": expected a positive number");
    return 1;
  }

  std::string Name(std::string name, const std::string& where) {
    if (const absl::Status status = ValidateAdapterName(name); !status.ok()) {
      problems_.Add(where, ": ", ToStd(status.message()));
    }
    return name;
  }

  Sha256Digest Digest(const Json& value, const std::string& where) {
    Sha256Digest digest;
    const std::string hex = String(value, where);
    if (hex.size() != 2 * digest.bytes.size() ||
        hex.find_first_not_of("0123456789abcdef") != std::string::npos) {
      problems_.Add(where, ": expected 64 hexadecimal digits");
      return digest;
    }
    const std::string bytes = absl::HexStringToBytes(hex);
    std::copy(bytes.begin(), bytes.end(), digest.bytes.begin());
    return digest;
  }

  FileOwner Owner(const Json& value, const std::string& where) {
    const std::string name = String(value, where);
    for (const auto& [owner, known] : kOwners) {
      if (known == name) return owner;
    }
    problems_.Add(where, ": '", name, "' is unknown");
    return FileOwner::kUser;
  }

  std::map<std::string, int64_t, std::less<>> LastVersions(const Json& json) {
    std::map<std::string, int64_t, std::less<>> versions;
    if (!json.is_object()) {
      problems_.Add("last_versions: expected an object");
      return versions;
    }
    for (const auto& [name, version] : json.items()) {
      versions[Name(name, "last_versions")] = Positive(version, "last_versions." + name);
    }
    return versions;
  }

  int64_t ForgottenVersions(const Json& json) {
    if (json.is_number_integer() && json.get<int64_t>() >= 0) return json.get<int64_t>();
    problems_.Add("forgotten_versions: expected a number, 0 or more");
    return 0;
  }

  CatalogSnapshot::Adapter Adapter(const Json& json, const std::string& where) {
    CatalogSnapshot::Adapter adapter;
    if (!ExpectKeys(json, where,
                    {"name", "version", "sha256", "format", "path", "source", "source_sha256",
                     "owner", "pinned"})) {
      return adapter;
    }
    adapter.name = Name(String(json.at("name"), where + ".name"), where + ".name");
    adapter.version = Positive(json.at("version"), where + ".version");
    adapter.digest = Digest(json.at("sha256"), where + ".sha256");
    adapter.format = String(json.at("format"), where + ".format");
    adapter.path = String(json.at("path"), where + ".path");
    adapter.source = String(json.at("source"), where + ".source");
    adapter.source_digest = Digest(json.at("source_sha256"), where + ".source_sha256");
    adapter.owner = Owner(json.at("owner"), where + ".owner");
    const Json& pinned = json.at("pinned");
    if (!pinned.is_boolean()) problems_.Add(where, ".pinned: expected true or false");
    adapter.pinned = pinned.is_boolean() && pinned.get<bool>();
    return adapter;
  }

  AdapterVersion Version(const Json& json, const std::string& where) {
    const absl::StatusOr<AdapterReference> reference = ParseAdapterReference(String(json, where));
    if (!reference.ok() || !reference->version.has_value()) {
      problems_.Add(where, ": expected NAME@VERSION");
      return {};
    }
    return {Name(reference->name, where), *reference->version};
  }

  AliasInfo Alias(const Json& json, const std::string& where) {
    AliasInfo alias;
    if (!ExpectKeys(json, where, {"name", "target", "history"})) return alias;
    alias.name = Name(String(json.at("name"), where + ".name"), where + ".name");
    alias.target = Version(json.at("target"), where + ".target");
    const Json& history = json.at("history");
    if (!history.is_array() || history.size() > kMaxAliasHistory) {
      problems_.Add(where, ".history: expected an array of at most ", kMaxAliasHistory);
      return alias;
    }
    for (const Json& target : history) {
      alias.history.push_back(Version(target, where + ".history"));
    }
    return alias;
  }

  AdapterSelectionTerm Term(const Json& json, const std::string& where) {
    AdapterSelectionTerm term;
    if (!ExpectKeys(json, where, {"name", "weight"})) return term;
    term.name = String(json.at("name"), where + ".name");
    const absl::StatusOr<AdapterReference> reference = ParseAdapterReference(term.name);
    if (reference.ok()) {
      Name(reference->name, where + ".name");
    } else {
      problems_.Add(where, ".name: ", ToStd(reference.status().message()));
    }
    const Json& weight = json.at("weight");
    if (weight.is_number() && std::isfinite(weight.get<double>())) {
      term.weight = weight.get<double>();
    } else {
      problems_.Add(where, ".weight: expected a finite number");
    }
    return term;
  }

  // What only the whole tells.
  void CheckTogether(const CatalogSnapshot& snapshot) {
    std::set<AdapterVersion> versions;
    std::set<std::string> names;
    for (const CatalogSnapshot::Adapter& adapter : snapshot.adapters) {
      const AdapterVersion version{adapter.name, adapter.version};
      if (!versions.insert(version).second) {
        problems_.Add("adapters: ", version.ToString(), " occurs twice");
      }
      names.insert(adapter.name);
      const auto last = snapshot.versions.last.find(adapter.name);
      if (last == snapshot.versions.last.end() || last->second < adapter.version) {
        problems_.Add("adapters: ", version.ToString(), " is beyond last_versions");
      }
    }
    for (const AliasInfo& alias : snapshot.aliases) {
      if (!names.insert(alias.name).second) {
        problems_.Add("aliases: the name '", alias.name, "' occurs twice");
      }
      if (!versions.contains(alias.target)) {
        problems_.Add("aliases: ", alias.name, " names ", alias.target.ToString(),
                      ", which is not there");
      }
    }
  }

  ProblemList problems_;
};

// First, so that a newer file is told from a damaged one.
absl::Status CheckFormat(const Json& json) {
  if (!json.is_object() || json.value("format", Json()) != Json(std::string(kFormat))) {
    return absl::DataLossError(StrCat("format: expected \"", kFormat, "\""));
  }
  const Json version = json.value("format_version", Json());
  if (version != Json(kFormatVersion) && version != Json(kOldFormatVersion)) {
    return absl::FailedPreconditionError(
        StrCat("format_version: this program knows ", kFormatVersion, ", found ", version.dump()));
  }
  return absl::OkStatus();
}

}  // namespace

std::string SerializeSnapshot(const CatalogSnapshot& snapshot) {
  Json adapters = Json::array();
  for (const CatalogSnapshot::Adapter& adapter : snapshot.adapters) {
    adapters.push_back({{"name", adapter.name},
                        {"version", adapter.version},
                        {"sha256", adapter.digest.Hex()},
                        {"format", adapter.format},
                        {"path", adapter.path},
                        {"source", adapter.source},
                        {"source_sha256", adapter.source_digest.Hex()},
                        {"owner", OwnerName(adapter.owner)},
                        {"pinned", adapter.pinned}});
  }
  Json aliases = Json::array();
  for (const AliasInfo& alias : snapshot.aliases) {
    Json history = Json::array();
    for (const AdapterVersion& target : alias.history) history.push_back(target.ToString());
    aliases.push_back({{"name", alias.name},
                       {"target", alias.target.ToString()},
                       {"history", std::move(history)}});
  }
  Json terms = Json::array();
  for (const AdapterSelectionTerm& term : snapshot.default_state) {
    terms.push_back({{"name", term.name}, {"weight", term.weight}});
  }
  Json last_versions = Json::object();
  for (const auto& [name, version] : snapshot.versions.last) last_versions[name] = version;
  const Json file = {{"format", std::string(kFormat)},
                     {"format_version", kFormatVersion},
                     {"last_versions", std::move(last_versions)},
                     {"forgotten_versions", snapshot.versions.forgotten},
                     {"adapters", std::move(adapters)},
                     {"aliases", std::move(aliases)},
                     {"default_state", std::move(terms)}};
  // Paths need not be UTF-8, JSON has to be: such a path is not found again, which is reported.
  return file.dump(1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace) + "\n";
}

absl::StatusOr<CatalogSnapshot> ParseSnapshot(std::string_view text) {
  const Json json = Json::parse(text, /*cb=*/nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return absl::DataLossError("it is no JSON");
  SHIRA_RETURN_IF_ERROR(CheckFormat(json));
  SnapshotReader reader;
  CatalogSnapshot snapshot = reader.Read(json);
  SHIRA_RETURN_IF_ERROR(reader.status());
  return snapshot;
}

}  // namespace shira
