#include "client/cli/server_status.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "base/terminal/text_table.h"
#include "client/cli/format.h"

namespace shira::cli {
namespace {

constexpr int kMostAdapters = 15;  // on one screen

absl::Time ToTime(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

absl::Duration UpTime(const v1::GetServerStatusResponse& status) {
  return ToTime(status.time()) - ToTime(status.start_time());
}

std::string Share(int64_t used, int64_t budget) {
  return absl::StrCat(FormatBytes(used), " of ", FormatBytes(budget));
}

std::string AdapterCounts(const v1::GetServerStatusResponse::Adapters& adapters) {
  std::string text =
      absl::StrCat(adapters.ready(), " ready, ", adapters.in_memory(), " of them in memory");
  if (adapters.loading() > 0) absl::StrAppend(&text, "; ", adapters.loading(), " loading");
  if (adapters.unloading() > 0) absl::StrAppend(&text, "; ", adapters.unloading(), " unloading");
  if (adapters.failed() > 0) absl::StrAppend(&text, "; ", adapters.failed(), " failed");
  return text;
}

std::string Rate(double rate) { return absl::StrFormat("%.1f/s", rate); }

}  // namespace

std::optional<ServerRates> RatesBetween(const v1::GetServerStatusResponse& before,
                                        const v1::GetServerStatusResponse& after) {
  const double seconds = absl::ToDoubleSeconds(ToTime(after.time()) - ToTime(before.time()));
  const bool same_run = ToTime(before.start_time()) == ToTime(after.start_time());
  if (!same_run || seconds <= 0 || !before.has_generations() || !after.has_generations())
    return std::nullopt;
  const auto rate = [&](int64_t from, int64_t to) {
    return static_cast<double>(to - from) / seconds;
  };
  const v1::GetServerStatusResponse::Generations& a = before.generations();
  const v1::GetServerStatusResponse::Generations& b = after.generations();
  const absl::Duration switching =
      ToDuration(after.switch_time()) - ToDuration(before.switch_time());
  return ServerRates{
      .requests = rate(a.finished() + a.failed(), b.finished() + b.failed()),
      .prompt_tokens = rate(a.prompt_tokens(), b.prompt_tokens()),
      .generated_tokens = rate(a.generated_tokens(), b.generated_tokens()),
      .switches = rate(before.switches(), after.switches()),
      .drafted_tokens = rate(a.drafted_tokens(), b.drafted_tokens()),
      .accepted_tokens = rate(a.accepted_tokens(), b.accepted_tokens()),
      .switch_share = absl::ToDoubleSeconds(switching) / seconds,
  };
}

std::string ServerStateName(v1::ServerState state) {
  const std::string name = v1::ServerState_Name(state);
  return name.empty() ? absl::StrCat(static_cast<int>(state))
                      : std::string(absl::StripPrefix(name, "SERVER_STATE_"));
}

Json ToJson(const v1::GetServerStatusResponse& status) {
  Json json = {{"state", ServerStateName(status.state())},
               {"server_version", status.server_version()},
               {"uptime_ms", absl::ToDoubleMilliseconds(UpTime(status))}};
  if (!status.has_generations()) return json;
  const auto& generations = status.generations();
  const auto& memory = status.memory();
  const auto& adapters = status.adapters();
  json["model"] = status.model();
  json["generations"] = {{"queued", generations.queued()},
                         {"running", generations.running()},
                         {"finished", generations.finished()},
                         {"failed", generations.failed()},
                         {"prompt_tokens", generations.prompt_tokens()},
                         {"generated_tokens", generations.generated_tokens()},
                         {"drafted_tokens", generations.drafted_tokens()},
                         {"accepted_tokens", generations.accepted_tokens()}};
  json["adapter_loads"] = Json::array();
  for (const auto& load : status.adapter_loads()) {
    json["adapter_loads"].push_back(
        {{"adapter", load.adapter()}, {"waiting", load.waiting()}, {"running", load.running()}});
  }
  json["memory"] = {{"process_bytes", memory.process_bytes()},
                    {"weight_bytes", memory.weight_bytes()},
                    {"adapter_bytes", memory.adapter_bytes()},
                    {"adapter_budget_bytes", memory.adapter_budget_bytes()},
                    {"kv_bytes", memory.kv_bytes()},
                    {"kv_budget_bytes", memory.kv_budget_bytes()}};
  json["adapters"] = {{"loading", adapters.loading()},
                      {"ready", adapters.ready()},
                      {"unloading", adapters.unloading()},
                      {"failed", adapters.failed()},
                      {"in_memory", adapters.in_memory()}};
  json["resident"] = ToJson(status.resident());
  json["default"] = ToJson(status.default_state());
  json["switches"] = status.switches();
  json["switch_ms"] = absl::ToDoubleMilliseconds(ToDuration(status.switch_time()));
  json["damaged_parameters"] = Json(std::vector<std::string>(status.damaged_parameters().begin(),
                                                             status.damaged_parameters().end()));
  if (status.has_last_verified()) json["last_verified"] = Rfc3339(status.last_verified());
  return json;
}

Json ToJson(const ServerRates& rates) {
  return {{"requests_per_s", rates.requests},
          {"prompt_tokens_per_s", rates.prompt_tokens},
          {"generated_tokens_per_s", rates.generated_tokens},
          {"switches_per_s", rates.switches},
          {"switch_share", rates.switch_share},
          {"drafted_tokens_per_s", rates.drafted_tokens},
          {"accepted_tokens_per_s", rates.accepted_tokens}};
}

std::vector<std::pair<std::string, std::string>> StatusFields(
    const v1::GetServerStatusResponse& status) {
  std::vector<std::pair<std::string, std::string>> fields = {
      {"State", ServerStateName(status.state())},
      {"Version", status.server_version()},
      {"Up for", FormatTimeSpan(UpTime(status))}};
  if (!status.has_generations()) return fields;
  const auto& generations = status.generations();
  const auto& memory = status.memory();
  fields.insert(
      fields.end(),
      {{"Model", status.model()},
       {"Resident", FormatAdapters(status.resident().adapters())},
       {"Default", FormatAdapters(status.default_state().adapters())},
       {"Switches", absl::StrCat(FormatCount(status.switches()), " in ",
                                 FormatTimeSpan(ToDuration(status.switch_time())))},
       {"Adapters", AdapterCounts(status.adapters())},
       {"Requests", absl::StrCat(generations.running(), " running, ", generations.queued(),
                                 " queued; ", FormatCount(generations.finished()), " finished, ",
                                 FormatCount(generations.failed()), " failed")},
       {"Tokens", absl::StrCat(FormatCount(generations.prompt_tokens()), " read, ",
                               FormatCount(generations.generated_tokens()), " generated")},
       {"Memory", absl::StrCat(FormatBytes(memory.process_bytes()), ", of that weights ",
                               FormatBytes(memory.weight_bytes()))},
       {"Adapter memory", Share(memory.adapter_bytes(), memory.adapter_budget_bytes())},
       {"KV memory", Share(memory.kv_bytes(), memory.kv_budget_bytes())}});
  if (const int64_t drafted = generations.drafted_tokens(); drafted > 0) {
    fields.emplace_back(
        "Drafts", absl::StrFormat("%s of %s tokens accepted (%.1f %%)",
                                  FormatCount(generations.accepted_tokens()), FormatCount(drafted),
                                  100.0 * static_cast<double>(generations.accepted_tokens()) /
                                      static_cast<double>(drafted)));
  }
  if (!status.damaged_parameters().empty())
    fields.emplace_back("Damaged", absl::StrJoin(status.damaged_parameters(), ", "));
  if (status.has_last_verified()) fields.emplace_back("Verified", Rfc3339(status.last_verified()));
  return fields;
}

std::string FormatTop(const v1::GetServerStatusResponse& status,
                      const std::optional<ServerRates>& rates) {
  std::vector<std::pair<std::string, std::string>> fields = StatusFields(status);
  if (rates.has_value()) {
    fields.emplace_back(
        "Now",
        absl::StrCat(Rate(rates->generated_tokens), " tokens generated, ",
                     Rate(rates->prompt_tokens), " read, ", Rate(rates->requests), " requests, ",
                     Rate(rates->switches), " switches (",
                     absl::StrFormat("%.1f %%", 100 * rates->switch_share), " of the time)"));
  }
  std::string screen = FormatFields(fields);
  if (status.adapter_loads().empty()) return screen;
  std::vector<std::vector<std::string>> rows;
  const int shown = std::min(kMostAdapters, status.adapter_loads_size());
  for (int i = 0; i < shown; ++i) {
    const auto& load = status.adapter_loads(i);
    rows.push_back({load.adapter(), absl::StrCat(load.running()), absl::StrCat(load.waiting())});
  }
  absl::StrAppend(
      &screen, "\n",
      FormatTable({{"ADAPTER"}, {"RUNNING", Align::kRight}, {"WAITING", Align::kRight}}, rows));
  if (shown < status.adapter_loads_size())
    absl::StrAppend(&screen, "and ", status.adapter_loads_size() - shown, " more\n");
  return screen;
}

}  // namespace shira::cli
