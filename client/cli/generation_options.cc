#include "client/cli/generation_options.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "client/cli/adapter_spec.h"
#include "client/cli/format.h"

namespace shira::cli {

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
      absl::StrCat("[", FormatAdapters(summary.adapter()), "; ", usage.prompt_tokens(), " + ",
                   usage.completion_tokens(), " tokens, ",
                   summary.finish_reason() == v1::FINISH_REASON_LENGTH ? "length" : "stop");
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
