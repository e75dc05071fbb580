#include "server/grpc/proto_conversion.h"

#include <cmath>
#include <string>
#include <utility>

namespace shira {
namespace {

bool IsFinite(absl::Time time) {
  return time != absl::InfinitePast() && time != absl::InfiniteFuture();
}

}  // namespace

google::protobuf::Duration ToProto(absl::Duration duration) {
  google::protobuf::Duration proto;
  proto.set_seconds(absl::IDivDuration(duration, absl::Seconds(1), &duration));
  proto.set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(duration)));
  return proto;
}

google::protobuf::Timestamp ToProto(absl::Time time) {
  google::protobuf::Timestamp proto;
  const int64_t seconds = absl::ToUnixSeconds(time);
  proto.set_seconds(seconds);
  proto.set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(time - absl::FromUnixSeconds(seconds))));
  return proto;
}

absl::Duration FromProto(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

v1::AdapterIdentity ToProto(const AdapterRef& adapter) {
  v1::AdapterIdentity proto;
  proto.set_name(adapter.name);
  proto.set_version(adapter.version);
  proto.set_sha256(adapter.digest.Hex());
  proto.set_weight(adapter.weight);
  return proto;
}

v1::FinishReason ToProto(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return v1::FINISH_REASON_STOP;
    case FinishReason::kLength:
      return v1::FINISH_REASON_LENGTH;
  }
  return v1::FINISH_REASON_UNSPECIFIED;
}

v1::Timings ToProto(const GenerationTimings& timings) {
  v1::Timings proto;
  *proto.mutable_queue() = ToProto(timings.queue);
  *proto.mutable_switch_() = ToProto(timings.switching);
  *proto.mutable_prefill() = ToProto(timings.prefill);
  *proto.mutable_decode() = ToProto(timings.decode);
  return proto;
}

namespace {

v1::TokenLogprob ToProto(TokenLogprob logprob) {
  v1::TokenLogprob proto;
  proto.set_token_id(logprob.token);
  proto.set_logprob(logprob.logprob);
  proto.set_token(std::move(logprob.bytes));
  return proto;
}

v1::TokenLogprobs ToProto(TokenLogprobs logprobs) {
  v1::TokenLogprobs proto;
  *proto.mutable_chosen() = ToProto(std::move(logprobs.chosen));
  for (TokenLogprob& top : logprobs.top) *proto.add_top() = ToProto(std::move(top));
  return proto;
}

v1::ChoiceEnd ToProto(const AnswerEnd& end) {
  v1::ChoiceEnd proto;
  proto.set_index(end.choice);
  proto.set_finish_reason(ToProto(end.reason));
  proto.set_stop_string(end.stop_string);
  if (end.stop_token.has_value()) proto.set_stop_token_id(*end.stop_token);
  proto.set_completion_tokens(static_cast<int32_t>(end.completion_tokens));
  if (end.seed.has_value()) proto.set_seed(*end.seed);
  return proto;
}

// The fields that a piece of an answer and a whole one have in common.
template <typename Proto>
void MoveInto(AnswerChunk&& chunk, Proto& proto) {
  proto.set_text(std::move(chunk.text));
  proto.mutable_token_ids()->Assign(chunk.token_ids.begin(), chunk.token_ids.end());
  for (TokenLogprobs& logprobs : chunk.logprobs) {
    *proto.add_logprobs() = ToProto(std::move(logprobs));
  }
}

}  // namespace

v1::StreamGenerateResponse::Chunk ToProto(AnswerChunk chunk) {
  v1::StreamGenerateResponse::Chunk proto;
  proto.set_choice(chunk.choice);
  if (chunk.finish_reason.has_value()) proto.set_finish_reason(ToProto(*chunk.finish_reason));
  MoveInto(std::move(chunk), proto);
  return proto;
}

v1::GenerateSummary ToProto(AnswerSummary summary) {
  v1::GenerateSummary proto;
  proto.set_request_id(std::move(summary.request_id));
  for (const AdapterRef& adapter : summary.adapters) *proto.add_adapter() = ToProto(adapter);
  const AnswerEnd& first = summary.ends.front();
  proto.set_finish_reason(ToProto(first.reason));
  proto.set_stop_string(first.stop_string);
  if (first.stop_token.has_value()) proto.set_stop_token_id(*first.stop_token);
  if (first.seed.has_value()) proto.set_seed(*first.seed);
  if (summary.ends.size() > 1) {
    for (const AnswerEnd& end : summary.ends) *proto.add_choices() = ToProto(end);
  }
  v1::Usage& usage = *proto.mutable_usage();
  usage.set_prompt_tokens(static_cast<int32_t>(summary.prompt.size()));
  usage.set_completion_tokens(static_cast<int32_t>(summary.completion_tokens()));
  usage.set_cached_prompt_tokens(static_cast<int32_t>(summary.cached_prompt_tokens));
  usage.set_drafted_tokens(static_cast<int32_t>(summary.drafts.drafted));
  usage.set_accepted_tokens(static_cast<int32_t>(summary.drafts.accepted));
  *proto.mutable_timings() = ToProto(summary.timings);
  proto.mutable_prompt_token_ids()->Assign(summary.prompt.begin(), summary.prompt.end());
  return proto;
}

v1::GenerateResponse ToProto(std::vector<AnswerChunk> answers, AnswerSummary summary) {
  answers.resize(summary.ends.size());
  v1::GenerateResponse proto;
  if (answers.size() > 1) {
    for (const AnswerEnd& end : summary.ends) {
      v1::Choice& choice = *proto.add_choices();
      MoveInto(AnswerChunk(answers[end.choice]), choice);
      *choice.mutable_end() = ToProto(end);
    }
  }
  MoveInto(std::move(answers.front()), proto);
  *proto.mutable_summary() = ToProto(std::move(summary));
  return proto;
}

v1::AdapterState ToProto(AdapterState state) {
  switch (state) {
    case AdapterState::kLoading:
      return v1::ADAPTER_STATE_LOADING;
    case AdapterState::kReady:
      return v1::ADAPTER_STATE_READY;
    case AdapterState::kUnloading:
      return v1::ADAPTER_STATE_UNLOADING;
    case AdapterState::kFailed:
      return v1::ADAPTER_STATE_FAILED;
  }
  return v1::ADAPTER_STATE_UNSPECIFIED;
}

v1::AdapterResidency ToProto(AdapterResidency residency) {
  switch (residency) {
    case AdapterResidency::kOnDisk:
      return v1::ADAPTER_RESIDENCY_ON_DISK;
    case AdapterResidency::kInMemory:
      return v1::ADAPTER_RESIDENCY_IN_MEMORY;
    case AdapterResidency::kFused:
      return v1::ADAPTER_RESIDENCY_FUSED;
  }
  return v1::ADAPTER_RESIDENCY_UNSPECIFIED;
}

v1::Adapter ToProto(const AdapterInfo& info, int64_t model_elements) {
  v1::Adapter proto;
  proto.set_name(info.name);
  proto.set_version(info.version);
  proto.set_state(ToProto(info.state));
  proto.set_residency(ToProto(info.residency));
  proto.set_path(info.path);
  proto.set_error(info.error);
  proto.set_memory_bytes(info.memory_bytes);
  proto.set_running_requests(static_cast<int32_t>(info.running_requests));
  proto.set_pinned(info.pinned);
  proto.mutable_aliases()->Assign(info.aliases.begin(), info.aliases.end());
  if (IsFinite(info.load_time)) *proto.mutable_load_time() = ToProto(info.load_time);
  if (IsFinite(info.last_use)) *proto.mutable_last_use_time() = ToProto(info.last_use);
  *proto.mutable_load_duration() = ToProto(info.load_duration);
  if (info.adapter != nullptr) {
    proto.set_sha256(info.adapter->digest.Hex());
    proto.set_format(info.adapter->format);
    proto.set_base_model(info.adapter->base_model);
    proto.set_entries(info.adapter->entries);
    proto.set_parameter_count(static_cast<int32_t>(info.adapter->parameter_count));
    proto.set_density(static_cast<double>(info.adapter->entries) /
                      static_cast<double>(model_elements));
  }
  return proto;
}

v1::GetAdapterResponse::Parameter ToProto(const ParameterDelta& delta, float scale) {
  double squares = 0.0;
  for (const float value : delta.values) squares += static_cast<double>(value) * value;
  v1::GetAdapterResponse::Parameter proto;
  proto.set_name(delta.parameter);
  proto.set_rows(delta.table->rows());
  proto.set_cols(delta.table->cols());
  proto.set_entries(delta.table->entries());
  proto.set_norm(std::abs(scale) * std::sqrt(squares));
  return proto;
}

v1::Alias ToProto(const AliasInfo& alias) {
  const auto set = [](const AdapterVersion& version, v1::AliasTarget& target) {
    target.set_name(version.name);
    target.set_version(version.version);
  };
  v1::Alias proto;
  proto.set_name(alias.name);
  set(alias.target, *proto.mutable_target());
  for (const AdapterVersion& version : alias.history) set(version, *proto.add_history());
  return proto;
}

v1::BlendOverlap ToProto(const FusionOverlap& overlap) {
  v1::BlendOverlap proto;
  proto.set_part_entries(overlap.operand_entries);
  proto.set_union_entries(overlap.union_entries);
  proto.set_shared_entries(overlap.shared_entries);
  proto.set_sign_conflicts(overlap.sign_conflicts);
  proto.set_blend_entries(overlap.result_entries);
  proto.set_energy_kept(overlap.energy_kept());
  return proto;
}

v1::ResidentState ToProto(const StateKey& key, absl::Span<const AdapterRef> adapters) {
  v1::ResidentState proto;
  proto.set_sha256(key.digest().Hex());
  for (const AdapterRef& adapter : adapters) *proto.add_adapters() = ToProto(adapter);
  return proto;
}

v1::VerifyWeightsResponse::Parameter ToProto(const ParameterHashes& hashes) {
  v1::VerifyWeightsResponse::Parameter proto;
  proto.set_name(hashes.name);
  proto.set_sha256(hashes.resident.Hex());
  proto.set_base_sha256(hashes.base.Hex());
  if (hashes.expected.has_value()) proto.set_expected_sha256(hashes.expected->Hex());
  return proto;
}

v1::GetModelResponse ToProto(const ModelInfo& model) {
  v1::GetModelResponse proto;
  proto.set_name(model.name);
  proto.set_architecture(model.architecture);
  proto.set_parameter_count(model.parameter_count);
  proto.set_dtype(model.dtype);
  proto.set_weight_bytes(model.weight_bytes);
  proto.set_vocab_size(model.vocab_size);
  proto.set_context_length(model.context_length);
  proto.set_num_layers(model.num_layers);
  proto.set_hidden_size(model.hidden_size);
  proto.mutable_eos_token_ids()->Assign(model.end_of_generation_ids.begin(),
                                        model.end_of_generation_ids.end());
  proto.set_has_chat_template(model.has_chat_template);
  proto.set_base_sha256(model.base_sha256);
  proto.set_server_version(model.server_version);
  return proto;
}

}  // namespace shira
