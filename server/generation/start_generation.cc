#include "server/generation/start_generation.h"

#include <optional>
#include <random>
#include <utility>
#include <variant>
#include <vector>

#include "base/out_of_memory.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "base/strings.h"
#include "server/generation/answer_observer.h"
#include "server/generation/error_details.h"
#include "server/generation/prompt_builder.h"
#include "server/logging/log_event.h"

namespace shira {

ErrorMetadata AdapterAtFault(const AdapterLifecycle& lifecycle,
                             absl::Span<const AdapterSelectionTerm> terms) {
  for (const AdapterSelectionTerm& term : terms) {
    const std::optional<AdapterInfo> info = lifecycle.Get(term.name);
    if (!info.has_value() || info->state != AdapterState::kReady) return {{"name", term.name}};
  }
  if (terms.size() == 1) return {{"name", terms.front().name}};
  return {};
}

namespace {

// Below 2^52: with the number of an answer added it stays below 2^53, which is what survives in
// programs that keep every number of a JSON document as a double (jq, JavaScript).
uint64_t DrawSeed() {
  constexpr uint64_t kSeeds = uint64_t{1} << 52;
  std::random_device device;
  return ((uint64_t{device()} << 32) | device()) % kSeeds;
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
                          const GenerateRequest& request) {
  return WithReason(engine.CheckAnswers(prompt.ids, *request.max_tokens, request.choices),
                    "ANSWERS_EXCEED_KV_MEMORY",
                    {{"n", StrCat(request.choices)},
                     {"max_tokens", StrCat(*request.max_tokens)},
                     {"prompt_tokens", StrCat(prompt.ids.size())}});
}

// What the request's adapters are now.
absl::StatusOr<std::vector<AdapterRef>> ResolveAdapters(const AdapterLifecycle& lifecycle,
                                                        const GenerateRequest& request) {
  const bool is_default = !request.adapters.has_value();
  absl::StatusOr<std::vector<AdapterRef>> adapters =
      is_default ? lifecycle.ResolveDefault() : lifecycle.Resolve(*request.adapters);
  if (adapters.ok()) return adapters;
  return WithReason(adapters.status(), Operation::kUseAdapter,
                    is_default ? ErrorMetadata() : AdapterAtFault(lifecycle, *request.adapters));
}

// What the API promises about errors, for those that come while the generation waits.
class ExplainedSource final : public StateSource {
 public:
  ExplainedSource(const AdapterLifecycle& lifecycle, std::vector<AdapterSelectionTerm> terms,
                  std::shared_ptr<StateSource> source)
      : lifecycle_(lifecycle), terms_(std::move(terms)), source_(std::move(source)) {}

  absl::StatusOr<std::shared_ptr<const CompiledState>> Get(
      absl::FunctionRef<void()> on_memory) override {
    absl::StatusOr<std::shared_ptr<const CompiledState>> state = source_->Get(on_memory);
    if (state.ok()) return state;
    return WithReason(state.status(), Operation::kUseAdapter, AdapterAtFault(lifecycle_, terms_));
  }

 private:
  const AdapterLifecycle& lifecycle_;
  const std::vector<AdapterSelectionTerm> terms_;
  const std::shared_ptr<StateSource> source_;
};

// The adapters' handle, whose state is got when it is the generation's turn.
absl::StatusOr<StateHandle> HoldSelected(AdapterLifecycle& lifecycle,
                                         const GenerateRequest& request) {
  const bool is_default = !request.adapters.has_value();
  absl::StatusOr<StateHandle> state =
      is_default ? lifecycle.HoldDefault() : lifecycle.Hold(*request.adapters);
  const std::vector<AdapterSelectionTerm> terms =
      is_default ? std::vector<AdapterSelectionTerm>() : *request.adapters;
  if (!state.ok()) {
    return WithReason(state.status(), Operation::kUseAdapter, AdapterAtFault(lifecycle, terms));
  }
  state->SetSource(std::make_shared<ExplainedSource>(lifecycle, terms, state->source()));
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

// An error without a reason is none that the request could have caused.
absl::Status Explained(absl::Status status) {
  if (!absl::IsResourceExhausted(status)) return status;
  return WithReason(std::move(status), "OUT_OF_MEMORY");
}

// The part of the way that may take long. As StartGeneration().
absl::Status Submit(const ServiceContext& service, const Backend& backend,
                    const GenerationCaller& caller, GenerateRequest request,
                    std::shared_ptr<GenerationLedger::Entry> entry, AnswerSink& sink) {
  const PromptBuilder prompts(backend.tokenizer, backend.chat_template,
                              backend.chat_template_problem);
  SHIRA_ASSIGN_OR_RETURN(PromptBuilder::Prompt prompt, prompts.Build(request.input));
  request.input = std::monostate();  // large, and of no use any more
  SHIRA_RETURN_IF_ERROR(CheckPromptLength(prompt, backend.limits));
  SHIRA_RETURN_IF_ERROR(CheckAnswers(backend.engine, prompt, request));
  if (service.log_prompts) LogPrompt(prompt, backend.tokenizer, caller.id);

  GenerationRequest generation;
  SHIRA_ASSIGN_OR_RETURN(generation.state, HoldSelected(backend.lifecycle, request));
  if (!request.has_seed) request.sampling.seed = DrawSeed();
  generation.id = caller.id;
  generation.client = caller.client;
  generation.prompt = std::move(prompt.ids);
  generation.max_tokens = *request.max_tokens;
  generation.stop_tokens = std::move(request.stop_tokens);
  if (!request.ignore_eos) {
    const std::vector<int32_t>& eos = backend.model.end_of_generation_ids;
    generation.stop_tokens.insert(generation.stop_tokens.end(), eos.begin(), eos.end());
  }
  generation.sampling = request.sampling;
  generation.top_logprobs = request.top_logprobs;
  generation.choices = request.choices;
  generation.speculate = request.speculate;
  generation.priority = request.priority;
  generation.deadline = caller.deadline;
  generation.cancellation = caller.cancellation;
  const std::optional<uint64_t> seed =
      request.sampling.greedy() ? std::nullopt : std::optional(request.sampling.seed);
  AnswerObserver::Request answer{.id = caller.id,
                                 .adapters = generation.state.adapters(),
                                 .seed = seed,
                                 .prompt = generation.prompt,
                                 .choices = request.choices,
                                 .deadline = caller.deadline,
                                 .entry = std::move(entry),
                                 .log_answer = service.log_prompts};
  generation.observer = std::make_shared<AnswerObserver>(std::move(answer), backend.tokenizer,
                                                         std::move(request.text), sink);
  return WithReason(backend.engine.Submit(std::move(generation)).status(),
                    Operation::kQueueGeneration, {{"request_id", caller.id}});
}

}  // namespace

absl::StatusOr<std::shared_ptr<GenerationLedger::Entry>> AdmitGeneration(
    const ServiceContext& service, const Backend& backend, const GenerationCaller& caller,
    GenerateRequest& request) {
  SHIRA_RETURN_IF_ERROR(CheckAndComplete(backend.limits, request));
  SHIRA_RETURN_IF_ERROR(CheckPriority(request.priority, caller));
  SHIRA_ASSIGN_OR_RETURN(const std::vector<AdapterRef> adapters,
                         ResolveAdapters(backend.lifecycle, request));
  SHIRA_ASSIGN_OR_RETURN(std::shared_ptr<GenerationLedger::Entry> entry,
                         service.ledger.Admit(caller.client, adapters));
  if (const absl::Status room = backend.engine.CheckRoom(); !room.ok()) {
    return WithReason(room, Operation::kQueueGeneration, {{"request_id", caller.id}});
  }
  return entry;
}

absl::Status StartGeneration(const ServiceContext& service, const Backend& backend,
                             GenerationCaller caller, GenerateRequest request,
                             std::shared_ptr<GenerationLedger::Entry> entry, AnswerSink& sink) {
  if (InputBytes(request.input) <= kSmallInputBytes) {
    return Explained(CatchOutOfMemory([&] {
      return Submit(service, backend, caller, std::move(request), std::move(entry), sink);
    }));
  }
  const std::string client = caller.client;
  auto work = [&service, &backend, &sink, caller = std::move(caller),
               request = std::make_shared<GenerateRequest>(std::move(request)),
               entry = std::move(entry)] {
    const absl::Status status = CatchOutOfMemory([&]() -> absl::Status {
      SHIRA_RETURN_IF_ERROR(caller.cancellation->status());
      if (SteadyNow() >= caller.deadline) {
        return absl::DeadlineExceededError("the call's deadline passed before it was tokenised");
      }
      return Submit(service, backend, caller, std::move(*request), entry, sink);
    });
    if (!status.ok()) sink.OnError(Explained(status));
  };
  return WithReason(service.text_work.Add(client, std::move(work)), "SERVER_BUSY");
}

}  // namespace shira
