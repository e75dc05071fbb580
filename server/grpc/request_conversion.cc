#include "server/grpc/request_conversion.h"

#include <string>

namespace shira {
namespace {

PromptInput InputOf(const v1::GenerateRequest& request) {
  switch (request.input_case()) {
    case v1::GenerateRequest::kPrompt:
      return request.prompt();
    case v1::GenerateRequest::kChat:
      return FromProto(request.chat());
    case v1::GenerateRequest::kTokenIds:
      return std::vector<int32_t>(request.token_ids().ids().begin(),
                                  request.token_ids().ids().end());
    case v1::GenerateRequest::INPUT_NOT_SET:
      break;
  }
  return std::monostate();
}

SamplingParams FromProto(const v1::SamplingParams& proto) {
  SamplingParams params;
  params.temperature = proto.temperature();
  params.top_k = proto.top_k();
  if (proto.has_top_p()) params.top_p = proto.top_p();
  params.min_p = proto.min_p();
  if (proto.has_repetition_penalty()) params.repetition_penalty = proto.repetition_penalty();
  params.presence_penalty = proto.presence_penalty();
  params.frequency_penalty = proto.frequency_penalty();
  params.logit_bias.assign(proto.logit_bias().begin(), proto.logit_bias().end());
  params.seed = proto.seed();
  return params;
}

std::vector<ContentPart> FromProto(const v1::ContentParts& proto) {
  std::vector<ContentPart> parts;
  parts.reserve(proto.parts_size());
  for (const v1::ContentPart& part : proto.parts()) {
    parts.push_back(part.has_text() ? ContentPart{part.text()} : ContentPart());
  }
  return parts;
}

ChatMessage FromProto(const v1::ChatMessage& proto) {
  ChatMessage message{.role = proto.role(), .more_fields_json = proto.more_fields_json()};
  if (proto.has_content()) message.content = proto.content();
  if (proto.has_content_parts()) message.content = FromProto(proto.content_parts());
  if (proto.has_reasoning_content()) message.reasoning_content = proto.reasoning_content();
  for (const v1::ToolCall& call : proto.tool_calls()) {
    message.tool_calls.push_back({call.id(), call.name(), call.arguments_json()});
  }
  if (proto.has_tool_call_id()) message.tool_call_id = proto.tool_call_id();
  if (proto.has_name()) message.name = proto.name();
  return message;
}

}  // namespace

GenerateRequest FromProto(const v1::GenerateRequest& proto) {
  GenerateRequest request;
  request.input = InputOf(proto);
  request.request_id = proto.request_id();
  if (proto.has_adapter()) request.adapters = FromProto(proto.adapter().adapters());
  request.sampling = FromProto(proto.sampling());
  request.has_seed = proto.sampling().has_seed();
  const v1::StopConditions& stop = proto.stop();
  if (stop.has_max_tokens()) request.max_tokens = stop.max_tokens();
  request.text.stop_strings.assign(stop.stop_strings().begin(), stop.stop_strings().end());
  request.text.include_stop_string = stop.include_stop_string();
  request.stop_tokens.assign(stop.stop_token_ids().begin(), stop.stop_token_ids().end());
  request.ignore_eos = stop.ignore_eos();
  if (proto.has_logprobs()) request.top_logprobs = proto.logprobs();
  if (proto.has_n()) request.choices = proto.n();
  request.priority = proto.priority();
  if (proto.has_speculate()) request.speculate = proto.speculate();
  return request;
}

Conversation FromProto(const v1::ChatInput& chat) {
  Conversation conversation{
      .messages = {},
      .continue_last_message = chat.omit_generation_prompt(),
      .tools_json = {chat.tools_json().begin(), chat.tools_json().end()},
      .documents_json = {chat.documents_json().begin(), chat.documents_json().end()},
      .template_variables_json = chat.template_variables_json()};
  conversation.messages.reserve(chat.messages_size());
  for (const v1::ChatMessage& message : chat.messages()) {
    conversation.messages.push_back(FromProto(message));
  }
  return conversation;
}

std::vector<AdapterSelectionTerm> FromProto(
    const google::protobuf::RepeatedPtrField<v1::WeightedAdapter>& adapters) {
  std::vector<AdapterSelectionTerm> terms;
  terms.reserve(adapters.size());
  for (const v1::WeightedAdapter& adapter : adapters) {
    terms.push_back({adapter.name(), adapter.has_weight() ? adapter.weight() : 1.0});
  }
  return terms;
}

}  // namespace shira
