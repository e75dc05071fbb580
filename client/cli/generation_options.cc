#include "client/cli/generation_options.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/cli/adapter_spec.h"
#include "client/cli/format.h"

namespace shira::cli {
namespace {

using LogitBias = std::pair<int32_t, float>;

absl::StatusOr<LogitBias> ParseLogitBias(absl::string_view text) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ':');
  LogitBias bias;
  if (parts.size() != 2 || !absl::SimpleAtoi(parts[0], &bias.first) ||
      !absl::SimpleAtof(parts[1], &bias.second)) {
    return absl::InvalidArgumentError(absl::StrCat("expected ID:B, found ", text));
  }
  return bias;
}

}  // namespace

void AddGenerationOptions(CLI::App& app, GenerationOptions& options) {
  CLI::Option* adapter =
      app.add_option(
             "--adapter", options.adapters,
             "Answer with this adapter, by a weight that is 1 when not given; repeat it for a sum "
             "(default: the server's default state)")
          ->type_name("NAME[:W]")
          ->allow_extra_args(false);
  adapter->check(AdapterSpecValidator().description(""));
  app.add_flag("--base", options.base, "Answer with the base model, whatever the default is")
      ->excludes(adapter);
  app.add_option("--max-tokens", options.max_tokens,
                 "Most new tokens (default: as many as the context has room for)")
      ->type_name("N");
  app.add_option("--temperature", options.temperature,
                 "0: the most probable token each time (default); above: sample")
      ->type_name("T");
  app.add_option(
         "--seed", options.seed,
         "Same seed, same request, same weights: same answer (default: the server picks one)")
      ->type_name("S");
  app.add_option("--top-p", options.top_p,
                 "Sample from the fewest tokens whose probability reaches P")
      ->type_name("P");
  app.add_option("--top-k", options.top_k, "Sample from the K most probable tokens")
      ->type_name("K");
  app.add_option("--min-p", options.min_p,
                 "Sample from tokens with at least P times the probability of the best one")
      ->type_name("P");
  app.add_option("--repetition-penalty", options.repetition_penalty,
                 "Make tokens seen before less probable (1: no penalty)")
      ->type_name("R");
  app.add_option("--presence-penalty", options.presence_penalty,
                 "Make tokens that the answer has less probable, by R in their logits (0: none)")
      ->type_name("R");
  app.add_option("--frequency-penalty", options.frequency_penalty,
                 "The same for each time that the answer has them (0: none)")
      ->type_name("R");
  app.add_option("--logit-bias", options.logit_biases,
                 "Add B to the logit of token number ID; repeat it for several")
      ->type_name("ID:B")
      ->allow_extra_args(false)
      ->check(CLI::Validator(
          [](const std::string& text) {
            return ParseLogitBias(text).ok() ? "" : "expected ID:B, found " + text;
          },
          ""));
  app.add_option("--priority", options.priority,
                 "Requests of a higher priority are answered first (-100 to 100, default: 0)")
      ->type_name("P");
  app.add_option("--speculate", options.speculate,
                 "Whether the server may draft tokens (default: as it was started); changes the "
                 "time, not the answer")
      ->type_name("on|off");
  app.add_option("--stop", options.stop_strings,
                 "End the answer before this text; repeat it for several")
      ->type_name("TEXT")
      ->allow_extra_args(false);
  app.add_flag("--ignore-eos", options.ignore_eos, "Go on past the model's own end of the answer");
}

absl::StatusOr<v1::GenerateRequest> MakeRequest(const GenerationOptions& options) {
  v1::GenerateRequest request;
  absl::StatusOr<std::vector<v1::WeightedAdapter>> adapters = ParseAdapterSpecs(options.adapters);
  if (!adapters.ok()) return adapters.status();
  if (options.base || !adapters->empty()) {
    request.mutable_adapter()->mutable_adapters()->Add(adapters->begin(), adapters->end());
  }
  v1::SamplingParams& sampling = *request.mutable_sampling();
  if (options.temperature) sampling.set_temperature(*options.temperature);
  if (options.seed) sampling.set_seed(*options.seed);
  if (options.top_p) sampling.set_top_p(*options.top_p);
  if (options.top_k) sampling.set_top_k(*options.top_k);
  if (options.min_p) sampling.set_min_p(*options.min_p);
  if (options.repetition_penalty) sampling.set_repetition_penalty(*options.repetition_penalty);
  if (options.presence_penalty) sampling.set_presence_penalty(*options.presence_penalty);
  if (options.frequency_penalty) sampling.set_frequency_penalty(*options.frequency_penalty);
  for (const std::string& text : options.logit_biases) {
    const absl::StatusOr<LogitBias> bias = ParseLogitBias(text);
    if (!bias.ok()) return bias.status();
    (*sampling.mutable_logit_bias())[bias->first] = bias->second;
  }
  if (options.priority) request.set_priority(*options.priority);
  if (options.speculate) request.set_speculate(*options.speculate);
  v1::StopConditions& stop = *request.mutable_stop();
  if (options.max_tokens) stop.set_max_tokens(*options.max_tokens);
  for (const std::string& text : options.stop_strings) stop.add_stop_strings(text);
  stop.set_ignore_eos(options.ignore_eos);
  return request;
}

void PrintFigures(const v1::GenerateSummary& summary, Output& err) {
  const v1::Usage& usage = summary.usage();
  const v1::Timings& timings = summary.timings();
  const absl::Duration decode = ToDuration(timings.decode());
  std::string line =
      absl::StrCat("[", FormatAdapters(summary.adapter()), "; ", usage.prompt_tokens(),
                   usage.cached_prompt_tokens() > 0
                       ? absl::StrCat(" (", usage.cached_prompt_tokens(), " cached)")
                       : "",
                   " + ", usage.completion_tokens(), " tokens, ",
                   summary.finish_reason() == v1::FINISH_REASON_LENGTH ? "length" : "stop");
  if (usage.drafted_tokens() > 0) {
    absl::StrAppend(&line, " (", usage.accepted_tokens(), " of ", usage.drafted_tokens(),
                    " drafts accepted)");
  }
  if (summary.has_seed()) absl::StrAppend(&line, ", seed ", summary.seed());
  absl::StrAppend(&line, "; queue ", FormatTimeSpan(ToDuration(timings.queue())), ", switch ",
                  FormatTimeSpan(ToDuration(timings.switch_())), ", prefill ",
                  FormatTimeSpan(ToDuration(timings.prefill())), ", decode ",
                  FormatTimeSpan(decode));
  // The first token comes out of the prefill.
  if (usage.completion_tokens() > 1 && decode > absl::ZeroDuration()) {
    absl::StrAppendFormat(&line, " (%.1f tokens/s)",
                          (usage.completion_tokens() - 1) / absl::ToDoubleSeconds(decode));
  }
  err.Write(err.Dim(line + "]") + "\n");
}

}  // namespace shira::cli
