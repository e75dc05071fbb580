// File: client/cli/adapter_spec.h
//
// Adapters on the command line: NAME or NAME:WEIGHT.

#ifndef SHIRA_CLIENT_CLI_ADAPTER_SPEC_H_
#define SHIRA_CLIENT_CLI_ADAPTER_SPEC_H_

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "shira/v1/inference.pb.h"

namespace shira::cli {

// What follows the last ':' is the weight, a finite number; names hold no ':'. Without one the
// weight is absent, which means 1. INVALID_ARGUMENT names the text and what is wrong with it. Which
// names exist is the server's to say.
absl::StatusOr<v1::WeightedAdapter> ParseAdapterSpec(absl::string_view text);

// All of them, or the first error.
absl::StatusOr<std::vector<v1::WeightedAdapter>> ParseAdapterSpecs(
    absl::Span<const std::string> texts);

// Lets the parser of the command line refuse a malformed one, so that it is a usage error.
CLI::Validator AdapterSpecValidator();

}  // namespace shira::cli

#endif  // SHIRA_CLIENT_CLI_ADAPTER_SPEC_H_
