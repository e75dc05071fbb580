#include "server/engine/sequence.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace {

absl::Status CheckPrompt(const std::vector<int32_t>& prompt, const Sequence::Limits& limits) {
  if (prompt.empty()) return absl::InvalidArgumentError("the prompt has no tokens");
  for (const int32_t token : prompt) {
    if (token < 0 || token >= limits.vocab_size) {
      return absl::InvalidArgumentError(StrCat(
          "the prompt has token ", token, ", but the vocabulary ends at ", limits.vocab_size - 1));
    }
  }
  const int64_t tokens = static_cast<int64_t>(prompt.size());
  if (tokens + 1 > limits.max_sequence_tokens) {
    return absl::InvalidArgumentError(
        StrCat("the prompt has ", tokens, " tokens, but with one generated token at most ",
               limits.max_sequence_tokens, " fit the context: shorten it"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Sequence::Check(const GenerationRequest& request, const Limits& limits) {
  if (!request.state || request.observer == nullptr) {
    return absl::InvalidArgumentError("a generation needs a state and an observer");
  }
  if (request.max_tokens <= 0) {
    return absl::InvalidArgumentError(
        StrCat("max_tokens must be positive; it is ", request.max_tokens));
  }
  if (request.choices < 1 || request.choices > limits.max_choices) {
    return absl::InvalidArgumentError(StrCat("a generation has 1 to ", limits.max_choices,
                                             " answers; ", request.choices, " are wanted"));
  }
  if (request.top_logprobs.has_value() && *request.top_logprobs < 0) {
    return absl::InvalidArgumentError(
        StrCat("top_logprobs must not be negative; it is ", *request.top_logprobs));
  }
  SHIRA_RETURN_IF_ERROR(CheckPrompt(request.prompt, limits));
  return request.sampling.Validate(limits.vocab_size);
}

Sequence::Sequence(SequenceId id, GenerationRequest request, const Limits& limits, SteadyTime now)
    : id_(id),
      request_(std::move(request)),
      cancellation_(request_.cancellation != nullptr ? request_.cancellation
                                                     : std::make_shared<CancellationToken>()),
      prompt_tokens_(static_cast<int64_t>(request_.prompt.size())),
      max_tokens_(std::min(request_.max_tokens, limits.max_sequence_tokens - prompt_tokens_)),
      submitted_(now),
      waiting_since_(now) {
  choices_.reserve(request_.choices);
  for (int32_t i = 0; i < request_.choices; ++i) {
    choices_.emplace_back(request_, i, max_tokens_, limits.vocab_size);
  }
}

bool Sequence::Uses(const Sha256Digest& adapter) const {
  const auto& adapters = request_.state.adapters();
  return std::any_of(adapters.begin(), adapters.end(),
                     [&](const AdapterRef& ref) { return ref.digest == adapter; });
}

int64_t Sequence::rows() const {
  return std::count_if(choices_.begin(), choices_.end(),
                       [](const Choice& choice) { return !choice.ended(); });
}

SequenceView Sequence::View(SteadyTime now) const {
  SequenceView view = {.id = id_,
                       .client = request_.client,
                       .state = request_.state.key().digest(),
                       .prefill = prefill(),
                       .pending_tokens = 1,
                       .rows = rows(),
                       .tokens_to_come = 1,
                       .priority = request_.priority,
                       .bypassed = bypassed_,
                       .queued = now - submitted_,
                       .waited = now - waiting_since_,
                       .time_left = request_.deadline - now};
  if (request_.state.state() != nullptr) view.state_entries = compiled_state().entries();
  if (view.prefill) view.pending_tokens = NextPromptTokens();
  for (const Choice& choice : choices_) {
    if (choice.ended()) continue;
    view.context_tokens += choice.stored_tokens();
    view.tokens_to_come = std::max(view.tokens_to_come, choice.tokens_to_come());
  }
  return view;
}

int64_t Sequence::NextPromptTokens() const {
  const Choice& first = choices_.front();
  int64_t tokens = first.pending_tokens();
  if (first.cache() != nullptr) tokens = std::min(tokens, first.cache()->room());
  // A step ends where the prompt is to be kept.
  const int64_t to_branch = branch_tokens_ - first.stored_tokens();
  return to_branch > 0 ? std::min(tokens, to_branch) : tokens;
}

absl::Status Sequence::Interruption(SteadyTime now) const {
  SHIRA_RETURN_IF_ERROR(cancellation_->status());
  if (now >= request_.deadline) {
    int64_t tokens = 0;
    for (const Choice& choice : choices_) tokens += choice.generated_tokens();
    return absl::DeadlineExceededError(
        StrCat("the generation's deadline passed after ", tokens, " tokens"));
  }
  return absl::OkStatus();
}

KvMemory::Demand Sequence::kv_demand() const {
  return {.state = request_.state.key().digest(),
          .prompt = request_.prompt,
          .tokens = prompt_tokens_ + max_tokens_,
          .answers = static_cast<int64_t>(choices_.size())};
}

void Sequence::Admit(KvMemory::Reservation reservation, SteadyTime now) {
  for (size_t i = 0; i < choices_.size(); ++i)
    choices_[i].cache() = std::move(reservation.caches[i]);
  admitted_ = true;
  cached_tokens_ = reservation.cached_tokens;
  branch_tokens_ = reservation.branch_tokens;
  choices_.front().SetStored(cached_tokens_);
  waiting_since_ = now;
}

void Sequence::AddRows(int64_t tokens, std::vector<BatchRow>& rows) const {
  if (prefill()) {
    rows.push_back(choices_.front().NextRow(tokens, compiled_state()));
    return;
  }
  for (const Choice& choice : choices_) {
    if (!choice.ended()) rows.push_back(choice.NextRow(1, compiled_state()));
  }
}

std::vector<DraftOffer> Sequence::OfferDrafts() {
  std::vector<DraftOffer> offers;
  if (prefill()) return offers;
  for (Choice& choice : choices_) {
    if (!choice.ended()) offers.push_back(choice.OfferDraft());
  }
  return offers;
}

void Sequence::AddDrafts(absl::Span<const int64_t> tokens, absl::Span<BatchRow> rows) {
  size_t row = 0;
  for (Choice& choice : choices_) {
    if (choice.ended()) continue;
    if (tokens[row] > 0) rows[row] = choice.DraftRow(tokens[row], compiled_state());
    ++row;
  }
}

absl::StatusOr<Sequence::StepOutcome> Sequence::FinishStep(int64_t tokens,
                                                           absl::Span<const float> logits,
                                                           const StepTimes& times) {
  StepOutcome outcome;
  BookTimes(times);
  const bool was_prefill = prefill();
  if (was_prefill) {
    choices_.front().SetStored(choices_.front().stored_tokens() + tokens);
    outcome.prompt_tokens = tokens;
    if (prefill()) return outcome;
    outcome.prompt_complete = true;
    phase_start_ = times.end;
  }
  int64_t logit_rows = 0;  // that the step had
  for (const Choice& choice : choices_) {
    if (!choice.ended()) logit_rows += 1 + choice.drafted_tokens();
  }
  const size_t vocab_size = was_prefill ? logits.size() : logits.size() / logit_rows;
  const auto is_interrupted = [this] { return !Interruption(SteadyNow()).ok(); };
  size_t offset = 0;
  for (Choice& choice : choices_) {
    if (choice.ended()) continue;
    if (was_prefill) {
      choice.SetStored(prompt_tokens_);  // SharePrompt() keeps the word
    } else {
      choice.SetStored(choice.stored_tokens() + 1);
    }
    const size_t length = vocab_size * (1 + choice.drafted_tokens());
    SHIRA_ASSIGN_OR_RETURN(
        const Choice::Progress progress,
        choice.Continue(request_, logits.subspan(offset, length), is_interrupted));
    outcome.emitted_tokens += progress.emitted_tokens;
    outcome.drafts += progress.drafts;
    if (!was_prefill) offset += length;
  }
  drafts_ += outcome.drafts;
  return outcome;
}

void Sequence::BookTimes(const StepTimes& times) {
  if (!stepped_) {
    timings_.queue = times.start - submitted_;
    phase_start_ = times.start;
    stepped_ = true;
  }
  timings_.switching += times.switching;
  phase_start_ += times.switching;
  (prefill() ? timings_.prefill : timings_.decode) = times.end - phase_start_;
  waiting_since_ = times.end;
}

void Sequence::KeepBranch(KvMemory& memory) {
  const Choice& first = choices_.front();
  if (branch_tokens_ == 0 || first.stored_tokens() != branch_tokens_) return;
  if (PrefixCache* prefixes = memory.prefixes()) {
    prefixes->InsertBranch(compiled_state().key, first.tokens().subspan(0, branch_tokens_),
                           *first.cache());
  }
}

absl::Status Sequence::SharePrompt(KvMemory& memory) {
  std::vector<std::unique_ptr<SequenceCache>> others;
  for (size_t i = 1; i < choices_.size(); ++i) {
    if (choices_[i].ended()) choices_[i].cache().reset();
    others.push_back(std::move(choices_[i].cache()));
  }
  SequenceCache& first = *choices_.front().cache();
  SHIRA_RETURN_IF_ERROR(memory.ForkPrompt(prompt_tokens_, prompt_tokens_ + max_tokens_, first,
                                          absl::MakeSpan(others)));
  for (size_t i = 1; i < choices_.size(); ++i) choices_[i].cache() = std::move(others[i - 1]);
  if (PrefixCache* prefixes = memory.prefixes()) {
    prefixes->Insert(compiled_state().key, request_.prompt, first);
  }
  return absl::OkStatus();
}

void Sequence::ReleaseEnded(KvMemory& memory) {
  for (Choice& choice : choices_) {
    if (!choice.ended() || choice.cache() == nullptr) continue;
    choice.cache()->Finish();
    if (PrefixCache* prefixes = memory.prefixes()) {
      prefixes->Insert(compiled_state().key, choice.tokens().subspan(0, choice.stored_tokens()),
                       *choice.cache());
    }
    choice.cache().reset();
  }
}

std::optional<GenerationResult> Sequence::Result() const {
  if (rows() > 0) return std::nullopt;
  GenerationResult result;
  for (const Choice& choice : choices_) result.choices.push_back(choice.result());
  result.cached_prompt_tokens = cached_tokens_;
  result.drafts = drafts_;
  result.timings = timings_;
  return result;
}

void Sequence::End(std::variant<GenerationResult, absl::Status> outcome) {
  for (Choice& choice : choices_) choice.cache().reset();
  request_.state = StateHandle();
  if (const auto* result = std::get_if<GenerationResult>(&outcome)) {
    request_.observer->OnFinished(*result);
  } else {
    request_.observer->OnFailed(std::get<absl::Status>(outcome));
  }
}

}  // namespace shira
