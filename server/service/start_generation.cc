#include "server/service/start_generation.h"

#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/logging/log_event.h"
#include "server/service/error_details.h"
#include "server/service/generate_request.h"
#include "server/service/prompt_builder.h"

namespace shira {
namespace {

uint64_t DrawSeed() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

ErrorMetadata AdapterAtFault(const AdapterRegistry& registry,
                             absl::Span<const AdapterSelectionTerm> terms) {
  for (const AdapterSelectionTerm& term : terms) {
    const std::optional<AdapterInfo> info = registry.Get(term.name);
    if (!info.has_value() || info->state != AdapterState::kReady) return {{"name", term.name}};
  }
  if (terms.size() == 1) return {{"name", terms.front().name}};
  return {};
}

absl::Status CheckPromptLength(const PromptBuilder::Prompt& prompt, const RequestLimits& limits) {
  const auto tokens = static_cast<int64_t>(prompt.ids.size());
  if (limits.max_prompt_tokens == 0 || tokens <= limits.max_prompt_tokens) return absl::OkStatus();
  return WithReason(
      absl::InvalidArgumentError(StrCat("the prompt has ", tokens, " tokens, more than ",
                                        limits.max_prompt_tokens, ", the server's limit")),
      "PROMPT_TOO_LONG",
      {{"prompt_tokens", StrCat(tokens)}, {"limit", StrCat(limits.max_prompt_tokens)}});
}

absl::Status CheckPriority(int32_t priority, const GenerationCaller& caller) {
  if (priority <= 0 || caller.may_raise_priority) return absl::OkStatus();
  return WithReason(absl::PermissionDeniedError(
                        StrCat("'", caller.client, "' may not ask for priority ", priority,
                               ": above 0 it needs one of the roles priority, admin")),
                    "PRIORITY_NOT_PERMITTED", {{"priority", StrCat(priority)}});
}

absl::Status CheckAnswers(const Engine& engine, const PromptBuilder::Prompt& prompt,
                          const GenerateOptions& options) {
  return WithReason(engine.CheckAnswers(prompt.ids, options.max_tokens, options.choices),
                    "ANSWERS_EXCEED_KV_MEMORY",
                    {{"n", StrCat(options.choices)},
                     {"max_tokens", StrCat(options.max_tokens)},
                     {"prompt_tokens", StrCat(prompt.ids.size())}});
}

// What the request's adapters are now.
absl::StatusOr<std::vector<AdapterRef>> ResolveAdapters(const AdapterRegistry& registry,
                                                        const GenerateOptions& options) {
  const bool is_default = !options.adapters.has_value();
  absl::StatusOr<std::vector<AdapterRef>> adapters =
      is_default ? registry.ResolveDefault() : registry.Resolve(*options.adapters);
  if (adapters.ok()) return adapters;
  return WithReason(adapters.status(), Operation::kUseAdapter,
                    is_default ? ErrorMetadata() : AdapterAtFault(registry, *options.adapters));
}

absl::StatusOr<StateHandle> AcquireSelected(AdapterRegistry& registry,
                                            const GenerateOptions& options) {
  if (options.adapters.has_value()) return AcquireAdapters(registry, *options.adapters);
  absl::StatusOr<StateHandle> state = registry.AcquireDefault();
  if (!state.ok()) return WithReason(state.status(), Operation::kUseAdapter);
  return state;
}

// For a server that was asked to log what people write.
void LogPrompt(const PromptBuilder::Prompt& prompt, const Tokenizer& tokenizer,
               const std::string& id) {
  const std::string text =
      !prompt.text.empty()
          ? prompt.text
          : tokenizer.Decode(prompt.ids, /*skip_special_tokens=*/false).value_or("");
  LogEvent(spdlog::level::info, "prompt", {{"request", id}, {"text", text}});
}

}  // namespace

absl::StatusOr<StateHandle> AcquireAdapters(AdapterRegistry& registry,
                                            absl::Span<const AdapterSelectionTerm> terms) {
  absl::StatusOr<StateHandle> state = registry.Acquire(terms);
  if (!state.ok()) {
    return WithReason(state.status(), Operation::kUseAdapter, AdapterAtFault(registry, terms));
  }
  return state;
}

absl::StatusOr<std::shared_ptr<CancellationToken>> StartGeneration(
    const ServiceContext& service, const Backend& backend, const v1::GenerateRequest& request,
    const GenerationCaller& caller, AnswerSink& sink) {
  SHIRA_ASSIGN_OR_RETURN(GenerateOptions options, ParseGenerateRequest(request, backend.limits));
  SHIRA_RETURN_IF_ERROR(CheckPriority(options.priority, caller));
  SHIRA_ASSIGN_OR_RETURN(const std::vector<AdapterRef> named,
                         ResolveAdapters(backend.registry, options));
  SHIRA_ASSIGN_OR_RETURN(std::shared_ptr<GenerationLedger::Entry> entry,
                         service.ledger.Admit(caller.client, named));
  if (absl::Status room = backend.engine.CheckRoom(); !room.ok()) {
    return WithReason(room, Operation::kQueueGeneration, {{"request_id", caller.id}});
  }

  const PromptBuilder prompts(backend.tokenizer, backend.chat_template);
  SHIRA_ASSIGN_OR_RETURN(PromptBuilder::Prompt prompt, prompts.Build(request));
  SHIRA_RETURN_IF_ERROR(CheckPromptLength(prompt, backend.limits));
  SHIRA_RETURN_IF_ERROR(CheckAnswers(backend.engine, prompt, options));
  if (service.log_prompts) LogPrompt(prompt, backend.tokenizer, caller.id);

  GenerationRequest generation;
  SHIRA_ASSIGN_OR_RETURN(generation.state, AcquireSelected(backend.registry, options));
  if (!options.has_seed) options.sampling.seed = DrawSeed();
  generation.id = caller.id;
  generation.client = caller.client;
  generation.prompt = std::move(prompt.ids);
  generation.max_tokens = options.max_tokens;
  generation.stop_tokens = std::move(options.stop_tokens);
  if (!options.ignore_eos) {
    const std::vector<int32_t>& eos = backend.model.end_of_generation_ids;
    generation.stop_tokens.insert(generation.stop_tokens.end(), eos.begin(), eos.end());
  }
  generation.sampling = options.sampling;
  generation.top_logprobs = options.top_logprobs;
  generation.choices = options.choices;
  generation.priority = options.priority;
  generation.deadline = caller.deadline;
  const std::optional<uint64_t> seed =
      options.sampling.greedy() ? std::nullopt : std::optional(options.sampling.seed);
  AnswerObserver::Request answer{.id = caller.id,
                                 .adapters = generation.state.adapters(),
                                 .seed = seed,
                                 .prompt = generation.prompt,
                                 .choices = options.choices,
                                 .deadline = caller.deadline,
                                 .entry = std::move(entry),
                                 .log_answer = service.log_prompts};
  generation.observer = std::make_shared<AnswerObserver>(std::move(answer), backend.tokenizer,
                                                         std::move(options.text), sink);

  absl::StatusOr<std::shared_ptr<CancellationToken>> token =
      backend.engine.Submit(std::move(generation));
  if (!token.ok()) {
    return WithReason(token.status(), Operation::kQueueGeneration, {{"request_id", caller.id}});
  }
  return token;
}

}  // namespace shira
