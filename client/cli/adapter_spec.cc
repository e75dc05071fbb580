#include "client/cli/adapter_spec.h"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace shira::cli {

absl::StatusOr<v1::WeightedAdapter> ParseAdapterSpec(absl::string_view text) {
  v1::WeightedAdapter adapter;
  const size_t colon = text.rfind(':');
  const absl::string_view name = text.substr(0, colon);
  if (name.empty())
    return absl::InvalidArgumentError(
        absl::StrCat("'", text, "' names no adapter: give NAME or NAME:WEIGHT"));
  adapter.set_name(std::string(name));
  if (colon != absl::string_view::npos) {
    const absl::string_view number = text.substr(colon + 1);
    double weight;
    if (!absl::SimpleAtod(number, &weight) || !std::isfinite(weight)) {
      return absl::InvalidArgumentError(
          absl::StrCat("The weight '", number, "' in '", text, "' is not a finite number"));
    }
    adapter.set_weight(weight);
  }
  return adapter;
}

absl::StatusOr<std::vector<v1::WeightedAdapter>> ParseAdapterSpecs(
    absl::Span<const std::string> texts) {
  std::vector<v1::WeightedAdapter> adapters;
  for (const std::string& text : texts) {
    absl::StatusOr<v1::WeightedAdapter> adapter = ParseAdapterSpec(text);
    if (!adapter.ok()) return adapter.status();
    adapters.push_back(*std::move(adapter));
  }
  return adapters;
}

CLI::Validator AdapterSpecValidator() {
  return CLI::Validator(
      [](const std::string& text) {
        return std::string(ParseAdapterSpec(text).status().message());
      },
      "NAME[:WEIGHT]");
}

}  // namespace shira::cli
