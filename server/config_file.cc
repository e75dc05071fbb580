#include "server/config_file.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <string_view>

#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "base/strings.h"

namespace shira {
namespace {

// Comes after the last line: a list without end takes every line after it, this one too.
constexpr char kEnd[] = "end-of-config";

// What some editors begin a text file with.
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

constexpr char kNotWritable[] = "cannot be written as a config file: ";

bool IsSectionMark(const CLI::ConfigItem& item) { return item.name == "++" || item.name == "--"; }

}  // namespace

std::vector<CLI::ConfigItem> ConfigReader::from_config(std::istream& input) const {
  std::string contents{std::istreambuf_iterator<char>(input), {}};
  if (contents.starts_with(kByteOrderMark)) contents.erase(0, kByteOrderMark.size());
  std::istringstream text(StrCat(contents, "\n", kEnd, "\n"));
  std::vector<CLI::ConfigItem> items = ConfigBase::from_config(text);
  if (std::erase_if(items, [](const auto& item) { return item.name == kEnd; }) == 0) {
    throw CLI::ConfigError("the config file has a list without its ]");
  }
  std::set<std::string> keys;
  for (const CLI::ConfigItem& item : items) {
    if (!IsSectionMark(item) && !keys.insert(item.fullname()).second) {
      throw CLI::ConfigError(StrCat("the config file has the key ", item.fullname(), " twice"));
    }
  }
  return items;
}

absl::StatusOr<std::string> EffectiveConfig(const CLI::App& app) {
  std::string text = app.config_to_str(/*default_also=*/true, /*write_description=*/true);
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_items_expected_max() == 1 || option->count() > 0) continue;
    // CLI11 writes no value at all as one that is empty.
    const std::string key = option->get_single_name();
    absl::StrReplaceAll({{StrCat("\n", key, "=\"\"\n"), StrCat("\n# ", key, "=[]\n")}}, &text);
  }

  // Values with ends of lines may even make keys of their own.
  std::istringstream input(text);
  std::vector<CLI::ConfigItem> items;
  try {
    items = ConfigReader().from_config(input);
  } catch (const CLI::ConfigError& error) {
    return absl::InvalidArgumentError(StrCat(kNotWritable, error.what()));
  }
  for (const CLI::Option* option : app.get_options()) {
    if (!option->get_configurable() || option->count() == 0) continue;
    const std::vector<std::string> values = option->reduced_results();
    const bool is_same = std::any_of(items.begin(), items.end(), [&](const CLI::ConfigItem& item) {
      return item.name == option->get_single_name() && item.inputs == values;
    });
    if (!is_same) {
      return absl::InvalidArgumentError(
          StrCat(kNotWritable, "--", option->get_single_name(), " ", absl::StrJoin(values, ", ")));
    }
  }
  return text;
}

}  // namespace shira
