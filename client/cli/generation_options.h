// File: client/cli/generation_options.h
//
// The options that say how to generate, which `generate` and `chat` share.

#ifndef SHIRA_CLIENT_CLI_GENERATION_OPTIONS_H_
#define SHIRA_CLIENT_CLI_GENERATION_OPTIONS_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/terminal/output.h"
#include "shira/v1/inference.pb.h"

namespace shira::cli {

// What is absent is not sent: the server's defaults hold.
struct GenerationOptions {
  std::vector<std::string> adapters;
  bool base = false;
  std::optional<int32_t> max_tokens;
  std::optional<float> temperature;
  std::optional<uint64_t> seed;
  std::optional<float> top_p;
  std::optional<int32_t> top_k;
  std::optional<float> min_p;
  std::optional<float> repetition_penalty;
  std::optional<float> presence_penalty;
  std::optional<float> frequency_penalty;
  std::vector<std::string> logit_biases;  // TOKEN:BIAS
  std::vector<std::string> stop_strings;
  bool ignore_eos = false;
  std::optional<int32_t> priority;
  std::optional<bool> speculate;
};

// `options` has to outlive `app`.
void AddGenerationOptions(CLI::App& app, GenerationOptions& options);

// A request without its input. INVALID_ARGUMENT for a malformed adapter or bias, which the parser
// of the command line refuses before.
absl::StatusOr<v1::GenerateRequest> MakeRequest(const GenerationOptions& options);

// One line about the answer: "[pirate v1; 35 + 42 tokens, stop; queue 0.1 ms, ...]".
void PrintFigures(const v1::GenerateSummary& summary, Output& err);

}  // namespace shira::cli

#endif  // SHIRA_CLIENT_CLI_GENERATION_OPTIONS_H_
