#include "server/tokenizer/token_settings.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <string_view>
#include <system_error>

#include "absl/strings/numbers.h"
#include "base/mapped_file.h"
#include "base/python_json.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace {

using Json = nlohmann::ordered_json;

// The largest tokenizer_config.json in circulation are about 1 MB.
constexpr uint64_t kMaxFileBytes = uint64_t{64} << 20;

constexpr std::string_view kNames[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                       "pad_token", "cls_token", "mask_token"};
constexpr std::string_view kExtra = "extra_special_tokens";
constexpr std::string_view kAdditional = "additional_special_tokens";

bool IsStandardName(std::string_view name) {
  return std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}

// An empty object without the file.
absl::StatusOr<Json> ReadObject(const std::filesystem::path& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return Json::object();
  SHIRA_ASSIGN_OR_RETURN(const std::string text, ReadFile(path.native(), kMaxFileBytes));
  Json json = ParsePythonJson<Json>(text);
  if (json.is_discarded()) {
    return absl::InvalidArgumentError(
        StrCat(path.native(), ": not valid JSON (", text.size(), " bytes)"));
  }
  if (!json.is_object()) {
    return absl::InvalidArgumentError(StrCat(path.native(), ": the JSON is no object"));
  }
  return json;
}

ListedToken SpecialToken(std::string content) {
  ListedToken result;
  result.token.content = std::move(content);
  result.token.special = true;
  return result;
}

absl::StatusOr<bool> Flag(const Json& object, const char* key, std::string_view where) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return false;
  if (!found->is_boolean()) {
    return absl::InvalidArgumentError(StrCat(where, ".", key, " is no boolean"));
  }
  return found->get<bool>();
}

// A text is a special token; an object has flags, and is `special` where it does not say, which
// those of tokenizer_config.json are not.
absl::StatusOr<ListedToken> ReadToken(const Json& json, std::string_view where, bool special) {
  if (json.is_string()) return SpecialToken(json.get<std::string>());
  const auto content = json.is_object() ? json.find("content") : json.end();
  if (!json.is_object() || content == json.end() || !content->is_string()) {
    return absl::InvalidArgumentError(
        StrCat(where, ": expected a token's text, or an object with \"content\""));
  }
  ListedToken result;
  result.object_of_config = !special;
  AddedToken& token = result.token;
  token.content = content->get<std::string>();
  SHIRA_ASSIGN_OR_RETURN(token.single_word, Flag(json, "single_word", where));
  SHIRA_ASSIGN_OR_RETURN(token.lstrip, Flag(json, "lstrip", where));
  SHIRA_ASSIGN_OR_RETURN(token.rstrip, Flag(json, "rstrip", where));
  SHIRA_ASSIGN_OR_RETURN(token.special, Flag(json, "special", where));
  token.special = token.special || special;
  if (json.contains("normalized") && !json["normalized"].is_null()) {
    SHIRA_ASSIGN_OR_RETURN(result.normalized, Flag(json, "normalized", where));
  }
  return result;
}

class Reader {
 public:
  Reader(std::filesystem::path folder, absl::Span<const AddedToken> tokens)
      : folder_(std::move(folder)), tokens_(tokens) {}

  absl::StatusOr<TokenSettings> Read() {
    const std::filesystem::path path = folder_ / "tokenizer_config.json";
    SHIRA_ASSIGN_OR_RETURN(const Json config, ReadObject(path));
    where_ = path.native();
    SHIRA_RETURN_IF_ERROR(ReadConfig(config));
    if (config.contains("added_tokens_decoder")) {
      SHIRA_RETURN_IF_ERROR(ReadDecoder(config["added_tokens_decoder"]));
    } else {
      SHIRA_RETURN_IF_ERROR(ReadOlderFiles());
    }
    PutNamesInOrder();
    return std::move(settings_);
  }

 private:
  absl::Status ReadConfig(const Json& config) {
    SHIRA_ASSIGN_OR_RETURN(settings_.split_special_tokens,
                           Flag(config, "split_special_tokens", where_));
    for (const auto& [key, value] : config.items()) {
      SHIRA_RETURN_IF_ERROR(ReadNamed(key, value, /*special=*/false));
      if (!IsStandardName(key) && value.is_string()) last_names_.push_back(key);
    }
    // The first of the two keys that says anything.
    for (const std::string_view key : {kExtra, kAdditional}) {
      const auto found = config.find(std::string(key));
      if (found == config.end() || found->is_null() || found->empty()) continue;
      return ReadExtra(*found, key, /*special=*/false);
    }
    return absl::OkStatus();
  }

  // What `key` says if it names a token: one of the standard names, or "..._token" of any other.
  absl::Status ReadNamed(const std::string& key, const Json& value, bool special) {
    if (value.is_null()) return absl::OkStatus();
    const bool has_flags = value.is_object() && (special || value.contains("__type"));
    const bool other = key.ends_with("_token") && (value.is_string() || has_flags);
    if (!IsStandardName(key) && !other) return absl::OkStatus();
    SHIRA_ASSIGN_OR_RETURN(ListedToken token, ReadToken(value, StrCat(where_, ": ", key), special));
    SetNamed(key, std::move(token));
    return absl::OkStatus();
  }

  void SetNamed(const std::string& name, ListedToken token) {
    for (auto& [known, value] : settings_.named) {
      if (known != name) continue;
      value = std::move(token);
      return;
    }
    settings_.named.emplace_back(name, std::move(token));
  }

  // A list of tokens, or an object of named ones.
  absl::Status ReadExtra(const Json& value, std::string_view key, bool special) {
    const std::string where = StrCat(where_, ": ", key);
    if (value.is_object()) {
      for (const auto& [name, token] : value.items()) {
        SHIRA_ASSIGN_OR_RETURN(ListedToken read, ReadToken(token, StrCat(where, ".", name), true));
        SetNamed(name, std::move(read));
        last_names_.push_back(name);
      }
      return absl::OkStatus();
    }
    if (!value.is_array()) {
      return absl::InvalidArgumentError(StrCat(where, ": expected a list of tokens, or an object"));
    }
    for (const Json& element : value) {
      SHIRA_ASSIGN_OR_RETURN(ListedToken read, ReadToken(element, where, special));
      settings_.extra.push_back(std::move(read));
    }
    return absl::OkStatus();
  }

  absl::Status ReadDecoder(const Json& decoder) {
    const std::string where = StrCat(where_, ": added_tokens_decoder");
    if (!decoder.is_object()) return absl::InvalidArgumentError(StrCat(where, " is no object"));
    for (const auto& [key, value] : decoder.items()) {
      int64_t id = 0;
      if (!absl::SimpleAtoi(key, &id)) {
        return absl::InvalidArgumentError(StrCat(where, ": '", key, "' is no token id"));
      }
      if (!value.is_object()) {
        return absl::InvalidArgumentError(StrCat(where, "['", key, "'] is no object"));
      }
      SHIRA_ASSIGN_OR_RETURN(ListedToken token,
                             ReadToken(value, StrCat(where, "['", key, "']"), /*special=*/false));
      settings_.listed.insert_or_assign(id, std::move(token));
    }
    return absl::OkStatus();
  }

  // What transformers wrote before there was added_tokens_decoder, and does not read with it.
  absl::Status ReadOlderFiles() {
    const std::filesystem::path map_path = folder_ / "special_tokens_map.json";
    SHIRA_ASSIGN_OR_RETURN(const Json map, ReadObject(map_path));
    where_ = map_path.native();
    for (const auto& [key, value] : map.items()) {
      if (key == kExtra) {
        SHIRA_RETURN_IF_ERROR(ReadExtra(value, key, /*special=*/true));
      } else if (IsLastName(key)) {
        PutAmongOthers(key);
      } else {
        SHIRA_RETURN_IF_ERROR(ReadNamed(key, value, /*special=*/true));
      }
    }

    const std::filesystem::path added_path = folder_ / "added_tokens.json";
    SHIRA_ASSIGN_OR_RETURN(const Json added, ReadObject(added_path));
    const std::set<std::string> special = StandardAndExtra();
    for (const auto& [content, id] : added.items()) {
      if (!id.is_number_integer()) {
        return absl::InvalidArgumentError(
            StrCat(added_path.native(), ": '", content, "' has no token id"));
      }
      ListedToken token;
      token.token.content = content;
      token.token.special = special.contains(content);
      settings_.listed.insert_or_assign(id.get<int64_t>(), std::move(token));
    }
    for (const AddedToken& token : tokens_) {
      settings_.listed.insert_or_assign(token.id, ListedToken{token, token.normalized});
    }
    // Not before: added_tokens.json does not hear of these.
    const auto more = map.find(std::string(kAdditional));
    if (more == map.end() || !settings_.extra.empty()) return absl::OkStatus();
    where_ = map_path.native();
    return ReadExtra(*more, kAdditional, /*special=*/true);
  }

  std::set<std::string> StandardAndExtra() const {
    std::set<std::string> contents;
    for (const auto& [name, token] : settings_.named) {
      if (IsStandardName(name) && !token.object_of_config) contents.insert(token.token.content);
    }
    for (const ListedToken& token : settings_.extra) {
      if (!token.object_of_config) contents.insert(token.token.content);
    }
    return contents;
  }

  // Such a name keeps its token and changes its place.
  void PutAmongOthers(const std::string& name) {
    std::erase(last_names_, name);
    const auto named = std::find_if(settings_.named.begin(), settings_.named.end(),
                                    [&](const auto& entry) { return entry.first == name; });
    std::rotate(named, named + 1, settings_.named.end());
  }

  bool IsLastName(std::string_view name) const {
    return std::find(last_names_.begin(), last_names_.end(), name) != last_names_.end();
  }

  // The standard names first, in their order, then the others as they came, but those that
  // tokenizer_config.json gives as a text or in extra_special_tokens last.
  void PutNamesInOrder() {
    const auto rank = [this](const auto& named) {
      const auto place = std::find(std::begin(kNames), std::end(kNames), named.first);
      return place - std::begin(kNames) + (IsLastName(named.first) ? 1 : 0);
    };
    std::stable_sort(settings_.named.begin(), settings_.named.end(),
                     [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
  }

  const std::filesystem::path folder_;
  const absl::Span<const AddedToken> tokens_;
  std::string where_;  // the file that is read
  std::vector<std::string> last_names_;
  TokenSettings settings_;
};

}  // namespace

absl::StatusOr<TokenSettings> ReadTokenSettings(const std::string& folder,
                                                absl::Span<const AddedToken> tokens) {
  return Reader(folder, tokens).Read();
}

std::vector<AddedToken> TokensToAdd(const TokenSettings& settings, const AddedTokenList& known) {
  std::set<std::string> contents;
  std::set<std::string> names;
  for (const auto& [id, token] : settings.listed) contents.insert(token.token.content);
  for (const auto& [name, token] : settings.named) names.insert(token.token.content);

  std::vector<AddedToken> result;
  const auto add = [&](const ListedToken& listed) {
    AddedToken token = listed.token;
    token.special = token.special || names.contains(token.content);
    token.normalized = listed.normalized.value_or(!token.special);
    result.push_back(std::move(token));
  };
  const auto add_if_new = [&](const ListedToken& listed) {
    const std::string& content = listed.token.content;
    if (!known.Contains(content) && !contents.contains(content)) add(listed);
  };
  for (const auto& [id, token] : settings.listed) add(token);
  for (const auto& [name, token] : settings.named) add_if_new(token);
  for (const ListedToken& token : settings.extra) add_if_new(token);
  return result;
}

}  // namespace shira
