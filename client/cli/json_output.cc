#include "client/cli/json_output.h"

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "client/cli/format.h"
#include "client/client.h"
#include "client/error_info.h"

namespace shira::cli {
namespace {

double Milliseconds(const google::protobuf::Duration& duration) {
  return absl::ToDoubleMilliseconds(ToDuration(duration));
}

std::string FinishReasonName(v1::FinishReason reason) {
  switch (reason) {
    case v1::FINISH_REASON_STOP:
      return "stop";
    case v1::FINISH_REASON_LENGTH:
      return "length";
    default:
      return "unknown";
  }
}

}  // namespace

// Not in the anonymous namespace: its ToJson would hide the header's.
static Json ToJson(const v1::AdapterIdentity& adapter) {
  return {{"name", adapter.name()},
          {"version", adapter.version()},
          {"digest", adapter.sha256()},
          {"weight", adapter.weight()}};
}

static Json ToJson(const v1::BlendOverlap& overlap) {
  return {
      {"part_entries", overlap.part_entries()},     {"union_entries", overlap.union_entries()},
      {"shared_entries", overlap.shared_entries()}, {"sign_conflicts", overlap.sign_conflicts()},
      {"blend_entries", overlap.blend_entries()},   {"energy_kept", overlap.energy_kept()}};
}

static Json ToJson(const v1::TokenLogprob& token);
static Json ToJson(const v1::TokenLogprobs& logprobs);
static Json ToJson(const v1::Choice& choice);

template <typename Messages>
static Json ToArray(const Messages& messages) {
  Json array = Json::array();
  for (const auto& message : messages) array.push_back(ToJson(message));
  return array;
}

static Json ToJson(const v1::TokenLogprob& token) {
  Json bytes = Json::array();
  for (const char c : token.token()) bytes.push_back(static_cast<unsigned char>(c));
  return {{"token_id", token.token_id()},
          {"logprob", token.logprob()},
          {"token", token.token()},
          {"bytes", std::move(bytes)}};
}

static Json ToJson(const v1::TokenLogprobs& logprobs) {
  Json json = ToJson(logprobs.chosen());
  json["top"] = ToArray(logprobs.top());
  return json;
}

static Json ToJson(const v1::Choice& choice) {
  const v1::ChoiceEnd& end = choice.end();
  Json json = {{"index", end.index()},
               {"text", choice.text()},
               {"token_ids", choice.token_ids()},
               {"finish_reason", FinishReasonName(end.finish_reason())}};
  if (!end.stop_string().empty()) json["stop_string"] = end.stop_string();
  if (end.has_stop_token_id()) json["stop_token_id"] = end.stop_token_id();
  if (end.has_seed()) json["seed"] = end.seed();
  if (!choice.logprobs().empty()) json["logprobs"] = ToArray(choice.logprobs());
  return json;
}

std::string Rfc3339(const google::protobuf::Timestamp& time) {
  return absl::FormatTime(absl::RFC3339_full,
                          absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos()),
                          absl::UTCTimeZone());
}

Json ToJson(const v1::GenerateResponse& response) {
  const v1::GenerateSummary& summary = response.summary();
  Json json = {
      {"text", response.text()},
      {"token_ids", response.token_ids()},
      {"prompt_token_ids", summary.prompt_token_ids()},
      {"adapter", ToArray(summary.adapter())},
      {"finish_reason", FinishReasonName(summary.finish_reason())},
  };
  if (!summary.stop_string().empty()) json["stop_string"] = summary.stop_string();
  if (summary.has_stop_token_id()) json["stop_token_id"] = summary.stop_token_id();
  if (summary.has_seed()) json["seed"] = summary.seed();
  json["usage"] = {
      {"prompt_tokens", summary.usage().prompt_tokens()},
      {"cached_prompt_tokens", summary.usage().cached_prompt_tokens()},
      {"completion_tokens", summary.usage().completion_tokens()},
      {"drafted_tokens", summary.usage().drafted_tokens()},
      {"accepted_tokens", summary.usage().accepted_tokens()},
      {"total_tokens", summary.usage().prompt_tokens() + summary.usage().completion_tokens()}};
  json["timings_ms"] = {{"queue", Milliseconds(summary.timings().queue())},
                        {"switch", Milliseconds(summary.timings().switch_())},
                        {"prefill", Milliseconds(summary.timings().prefill())},
                        {"decode", Milliseconds(summary.timings().decode())}};
  if (!response.logprobs().empty()) json["logprobs"] = ToArray(response.logprobs());
  if (!response.choices().empty()) json["choices"] = ToArray(response.choices());
  json["request_id"] = summary.request_id();
  return json;
}

Json ToJson(const v1::TokenizeResponse& response) {
  return {{"ids", response.ids()}, {"text", response.text()}};
}

Json ToJson(const v1::DetokenizeResponse& response) { return {{"text", response.text()}}; }

Json ToJson(const v1::GetModelResponse& response) {
  return {{"name", response.name()},
          {"architecture", response.architecture()},
          {"parameter_count", response.parameter_count()},
          {"dtype", response.dtype()},
          {"weight_bytes", response.weight_bytes()},
          {"vocab_size", response.vocab_size()},
          {"context_length", response.context_length()},
          {"num_layers", response.num_layers()},
          {"hidden_size", response.hidden_size()},
          {"eos_token_ids", response.eos_token_ids()},
          {"has_chat_template", response.has_chat_template()},
          {"base_digest", response.base_sha256()},
          {"server_version", response.server_version()}};
}

Json ToJson(const v1::Adapter& adapter) {
  Json json = {{"name", adapter.name()},
               {"version", adapter.version()},
               {"digest", adapter.sha256()},
               {"state", StateName(adapter.state())},
               {"residency", ResidencyName(adapter.residency())},
               {"path", adapter.path()},
               {"format", adapter.format()},
               {"entries", adapter.entries()},
               {"parameter_count", adapter.parameter_count()},
               {"density", adapter.density()},
               {"memory_bytes", adapter.memory_bytes()},
               {"running_requests", adapter.running_requests()},
               {"base_model", adapter.base_model()},
               {"pinned", adapter.pinned()},
               {"aliases",
                Json(std::vector<std::string>(adapter.aliases().begin(), adapter.aliases().end()))},
               {"load_ms", Milliseconds(adapter.load_duration())}};
  if (adapter.has_load_time()) json["load_time"] = Rfc3339(adapter.load_time());
  if (adapter.has_last_use_time()) json["last_use_time"] = Rfc3339(adapter.last_use_time());
  if (!adapter.error().empty()) json["error"] = adapter.error();
  return json;
}

Json ToJson(const v1::LoadAdapterResponse& response) {
  return {{"adapter", ToJson(response.adapter())}, {"already_loaded", response.already_loaded()}};
}

Json ToJson(const v1::UploadAdapterResponse& response) {
  return {{"adapter", ToJson(response.adapter())}, {"already_loaded", response.already_loaded()}};
}

Json ToJson(const v1::Alias& alias) {
  const auto to_json = [](const v1::AliasTarget& target) -> Json {
    return {{"name", target.name()}, {"version", target.version()}};
  };
  Json history = Json::array();
  for (const v1::AliasTarget& target : alias.history()) history.push_back(to_json(target));
  return {
      {"name", alias.name()}, {"target", to_json(alias.target())}, {"history", std::move(history)}};
}

Json ToJson(const v1::CreateBlendResponse& response) {
  Json parameters = Json::array();
  for (const auto& parameter : response.parameters()) {
    Json json = {{"name", parameter.name()}};
    json.update(ToJson(parameter.overlap()));
    parameters.push_back(std::move(json));
  }
  return {{"adapter", ToJson(response.adapter())},
          {"already_created", response.already_created()},
          {"total", ToJson(response.total())},
          {"parameters", std::move(parameters)}};
}

Json ToJson(const v1::GetAdapterResponse& response) {
  Json parameters = Json::array();
  for (const auto& parameter : response.parameters()) {
    parameters.push_back({{"name", parameter.name()},
                          {"rows", parameter.rows()},
                          {"cols", parameter.cols()},
                          {"entries", parameter.entries()},
                          {"norm", parameter.norm()}});
  }
  return {{"adapter", ToJson(response.adapter())}, {"parameters", std::move(parameters)}};
}

Json ToJson(const v1::ResidentState& state) {
  return {{"adapters", ToArray(state.adapters())}, {"digest", state.sha256()}};
}

Json ToJson(const v1::ApplyAdapterResponse& response) {
  return {{"state", ToJson(response.state())},
          {"switch_ms", Milliseconds(response.switch_duration())},
          {"written", response.written()}};
}

Json ToJson(const v1::RevertAdapterResponse& response) {
  return {{"switch_ms", Milliseconds(response.switch_duration())}, {"written", response.written()}};
}

Json ToJson(const v1::VerifyWeightsResponse& response) {
  Json actual = Json::object();
  Json base = Json::object();
  Json expected = Json::object();
  for (const auto& parameter : response.parameters()) {
    actual[parameter.name()] = parameter.sha256();
    base[parameter.name()] = parameter.base_sha256();
    expected[parameter.name()] = parameter.expected_sha256();
  }
  return {{"state", ToJson(response.state())},
          {"parameters", std::move(actual)},
          {"matches_base", response.matches_base()},
          {"matches_expected", response.matches_expected()},
          {"hashes", {{"base", std::move(base)}, {"expected", std::move(expected)}}}};
}

std::string HealthName(HealthStatus health) {
  switch (health) {
    case HealthStatus::kServing:
      return "SERVING";
    case HealthStatus::kNotServing:
      return "NOT_SERVING";
    case HealthStatus::kUnknown:
      break;
  }
  return "UNKNOWN";
}

Json ErrorToJson(const absl::Status& status) {
  const ErrorInfo info = GetErrorInfo(status).value_or(ErrorInfo{});
  Json error = {{"code", absl::StatusCodeToString(status.code())},
                {"reason", info.reason},
                {"message", std::string(status.message())},
                {"metadata", info.metadata}};
  if (info.retry_delay.has_value())
    error["retry_after_ms"] = absl::ToDoubleMilliseconds(*info.retry_delay);
  return {{"error", std::move(error)}};
}

}  // namespace shira::cli
