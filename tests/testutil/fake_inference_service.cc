#include <unicode/unistr.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "tests/testutil/fake_services.h"

namespace shira::testing {
namespace {

std::vector<int32_t> CodePoints(const std::string& text) {
  const icu::UnicodeString unicode = icu::UnicodeString::fromUTF8(text);
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < unicode.length(); i = unicode.moveIndex32(i, 1))
    ids.push_back(unicode.char32At(i));
  return ids;
}

std::string FromCodePoint(int32_t id) {
  std::string text;
  icu::UnicodeString(static_cast<UChar32>(id)).toUTF8String(text);
  return text;
}

std::string InputText(const v1::GenerateRequest& request) {
  if (!request.has_chat()) return request.prompt();
  const auto& messages = request.chat().messages();
  return messages.empty() ? "" : messages[messages.size() - 1].content();
}

v1::TokenLogprobs Logprobs(int32_t id, int top) {
  v1::TokenLogprobs logprobs;
  logprobs.mutable_chosen()->set_token_id(id);
  logprobs.mutable_chosen()->set_logprob(-0.25f);
  logprobs.mutable_chosen()->set_token(FromCodePoint(id));
  for (int i = 0; i < top; ++i) {
    v1::TokenLogprob& other = *logprobs.add_top();
    other = logprobs.chosen();
    other.set_logprob(-0.25f - i);
  }
  return logprobs;
}

class FakeInferenceService final : public v1::Inference::Service {
 public:
  explicit FakeInferenceService(FakeServerState& state) : state_(state) {}

  grpc::Status Generate(grpc::ServerContext* context, const v1::GenerateRequest* request,
                        v1::GenerateResponse* response) override {
    const grpc::Status status = Run(*context, *request, *response->mutable_summary(),
                                    [&](const v1::StreamGenerateResponse::Chunk& chunk) {
                                      response->mutable_text()->append(chunk.text());
                                      response->mutable_token_ids()->MergeFrom(chunk.token_ids());
                                      response->mutable_logprobs()->MergeFrom(chunk.logprobs());
                                    });
    for (const v1::ChoiceEnd& end : response->summary().choices()) {
      v1::Choice& choice = *response->add_choices();
      choice.set_text(absl::StrCat(response->text(), "#", end.index()));
      *choice.mutable_token_ids() = response->token_ids();
      *choice.mutable_logprobs() = response->logprobs();
      *choice.mutable_end() = end;
    }
    return status;
  }

  grpc::Status StreamGenerate(grpc::ServerContext* context,
                              const v1::StreamGenerateRequest* request,
                              grpc::ServerWriter<v1::StreamGenerateResponse>* writer) override {
    v1::StreamGenerateResponse event;
    v1::GenerateSummary summary;
    const grpc::Status status = Run(*context, request->request(), summary,
                                    [&](const v1::StreamGenerateResponse::Chunk& chunk) {
                                      *event.mutable_chunk() = chunk;
                                      writer->Write(event);
                                    });
    if (!status.ok() || InputText(request->request()) == "damaged") return status;
    *event.mutable_summary() = summary;
    writer->Write(event);
    return status;
  }

  grpc::Status Tokenize(grpc::ServerContext*, const v1::TokenizeRequest* request,
                        v1::TokenizeResponse* response) override {
    absl::MutexLock lock(&state_.mutex);
    state_.last_tokenize = *request;
    for (const int32_t id : CodePoints(request->text())) response->add_ids(id);
    response->set_text(request->text());
    return grpc::Status::OK;
  }

  grpc::Status Detokenize(grpc::ServerContext*, const v1::DetokenizeRequest* request,
                          v1::DetokenizeResponse* response) override {
    absl::MutexLock lock(&state_.mutex);
    state_.last_detokenize = *request;
    for (const int32_t id : request->ids()) {
      if (id < 0)
        return ErrorStatus(grpc::StatusCode::INVALID_ARGUMENT, "ids: below 0", "INVALID_TOKEN_ID",
                           {{"field", "ids"}});
      response->mutable_text()->append(FromCodePoint(id));
    }
    return grpc::Status::OK;
  }

  grpc::Status GetModel(grpc::ServerContext*, const v1::GetModelRequest*,
                        v1::GetModelResponse* response) override {
    response->set_name("fake-135m");
    response->set_architecture("llama");
    response->set_parameter_count(134515008);
    response->set_dtype("bfloat16");
    response->set_weight_bytes(269030016);
    response->set_vocab_size(49152);
    response->set_context_length(2048);
    response->set_num_layers(30);
    response->set_hidden_size(576);
    response->add_eos_token_ids(2);
    response->set_has_chat_template(true);
    response->set_base_sha256(FakeDigest("base"));
    response->set_server_version("0.1.0");
    return grpc::Status::OK;
  }

 private:
  template <typename Emit>
  grpc::Status Run(grpc::ServerContext& context, const v1::GenerateRequest& request,
                   v1::GenerateSummary& summary, Emit emit) {
    const std::string text = InputText(request);
    if (grpc::Status status = CheckAvailable(state_); !status.ok()) return status;
    {
      absl::MutexLock lock(&state_.mutex);
      state_.last_generate = request;
      const auto key = context.client_metadata().find("shira-adapter");
      state_.last_routing_key = key == context.client_metadata().end()
                                    ? std::string()
                                    : std::string(key->second.data(), key->second.size());
      for (const v1::WeightedAdapter& wanted : request.adapter().adapters()) {
        const auto adapter = state_.adapters.find(wanted.name());
        if (adapter == state_.adapters.end()) return NoAdapter(wanted.name());
        v1::AdapterIdentity& identity = *summary.add_adapter();
        identity.set_name(wanted.name());
        identity.set_version(adapter->second.version());
        identity.set_sha256(adapter->second.sha256());
        identity.set_weight(wanted.has_weight() ? wanted.weight() : 1);
      }
      if (!request.has_adapter())
        summary.mutable_adapter()->Assign(state_.resident.begin(), state_.resident.end());
    }
    if (text == "busy") {
      return ErrorStatus(grpc::StatusCode::RESOURCE_EXHAUSTED, "The queue is full", "QUEUE_FULL",
                         {{"limit", "64"}}, 2);
    }
    if (text == "drain")
      return ErrorStatus(grpc::StatusCode::UNAVAILABLE, "The server drains", "DRAINING", {});
    if (text == "forever") return RunForever(context, emit);

    const std::vector<int32_t> answer = CodePoints("You said: " + text);
    const bool limited = request.stop().has_max_tokens() &&
                         request.stop().max_tokens() < static_cast<int>(answer.size());
    const size_t count = limited ? request.stop().max_tokens() : answer.size();
    for (size_t i = 0; i < count; ++i) {
      v1::StreamGenerateResponse::Chunk chunk;
      chunk.set_text(FromCodePoint(answer[i]));
      chunk.add_token_ids(answer[i]);
      if (request.has_logprobs()) *chunk.add_logprobs() = Logprobs(answer[i], request.logprobs());
      emit(chunk);
      if (text == "cut") return {grpc::StatusCode::UNAVAILABLE, "the connection was lost"};
    }
    summary.set_request_id("fake-1");
    summary.set_finish_reason(limited ? v1::FINISH_REASON_LENGTH : v1::FINISH_REASON_STOP);
    if (!limited) summary.set_stop_token_id(2);
    for (const int32_t id : CodePoints(text)) summary.add_prompt_token_ids(id);
    summary.mutable_usage()->set_prompt_tokens(summary.prompt_token_ids_size());
    summary.mutable_usage()->set_completion_tokens(static_cast<int>(count));
    if (request.speculate()) {
      summary.mutable_usage()->set_drafted_tokens(5);
      summary.mutable_usage()->set_accepted_tokens(4);
    }
    summary.mutable_timings()->mutable_queue()->set_nanos(100000);
    summary.mutable_timings()->mutable_switch_()->set_nanos(2500000);
    summary.mutable_timings()->mutable_prefill()->set_nanos(30000000);
    summary.mutable_timings()->mutable_decode()->set_seconds(1);
    if (request.sampling().temperature() > 0)
      summary.set_seed(request.sampling().has_seed() ? request.sampling().seed() : 42);
    for (int i = 0; request.n() > 1 && i < request.n(); ++i) {
      v1::ChoiceEnd& end = *summary.add_choices();
      end.set_index(i);
      end.set_finish_reason(summary.finish_reason());
      if (summary.has_seed()) end.set_seed(summary.seed() + i);
    }
    return grpc::Status::OK;
  }

  template <typename Emit>
  grpc::Status RunForever(grpc::ServerContext& context, Emit emit) {
    v1::StreamGenerateResponse::Chunk chunk;
    chunk.set_text("la ");
    while (!context.IsCancelled()) {
      emit(chunk);
      absl::SleepFor(absl::Milliseconds(5));
    }
    absl::MutexLock lock(&state_.mutex);
    ++state_.cancelled;
    return grpc::Status::CANCELLED;
  }

  FakeServerState& state_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeFakeInferenceService(FakeServerState& state) {
  return std::make_unique<FakeInferenceService>(state);
}

}  // namespace shira::testing
