#include "server/http/adapter_routes.h"

#include <optional>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "base/strings.h"
#include "server/catalog/adapter_name.h"
#include "server/generation/adapter_requests.h"
#include "server/generation/error_details.h"
#include "server/http/json_body.h"
#include "server/http/json_fields.h"

namespace shira {
namespace {

Json Card(const Backend& backend, std::string id, absl::Time created, Json root, Json parent) {
  return {{"id", std::move(id)},
          {"object", "model"},
          {"created", absl::ToUnixSeconds(created)},
          {"owned_by", "shira"},
          {"root", std::move(root)},
          {"parent", std::move(parent)},
          {"max_model_len", backend.model.context_length}};
}

// In the order of names, then versions: the newest that can be used has the name alone.
void AddAdapters(const Backend& backend, Json& cards) {
  const std::vector<AdapterInfo> adapters = backend.lifecycle.List();
  for (size_t i = 0; i < adapters.size(); ++i) {
    const AdapterInfo& info = adapters[i];
    if (info.state != AdapterState::kReady) continue;
    bool is_newest = true;
    for (size_t j = i + 1; j < adapters.size() && adapters[j].name == info.name; ++j) {
      is_newest = is_newest && adapters[j].state != AdapterState::kReady;
    }
    const std::string id =
        is_newest ? info.name : AdapterVersion{info.name, info.version}.ToString();
    cards.push_back(Card(backend, id, info.load_time, info.path, backend.model.name));
  }
  for (const AliasInfo& alias : backend.lifecycle.Aliases()) {
    const std::string target = alias.target.ToString();
    const std::optional<AdapterInfo> info = backend.lifecycle.Get(target);
    if (!info.has_value() || info->state != AdapterState::kReady) continue;
    cards.push_back(Card(backend, alias.name, info->load_time, target, backend.model.name));
  }
}

Json Cards(const Backend& backend, absl::Time start, bool with_adapters) {
  Json cards = Json::array();
  cards.push_back(Card(backend, backend.model.name, start, backend.model.name, nullptr));
  if (with_adapters) AddAdapters(backend, cards);
  return cards;
}

// vLLM's words.
HttpResponse Success(std::string_view name, std::string_view what) {
  return {.content_type = "text/plain; charset=utf-8",
          .body = StrCat("Success: LoRA adapter '", name, "' ", what, " successfully.")};
}

}  // namespace

HttpResponse ModelsRoute(const Backend& backend, absl::Time start, bool with_adapters) {
  return {.body = JsonText({{"object", "list"}, {"data", Cards(backend, start, with_adapters)}})};
}

absl::StatusOr<HttpResponse> ModelRoute(const Backend& backend, absl::Time start,
                                        bool with_adapters, std::string_view id) {
  for (const Json& card : Cards(backend, start, with_adapters)) {
    if (card["id"].get_ref<const std::string&>() == id) {
      return HttpResponse{.body = JsonText(card)};
    }
  }
  return WithReason(absl::NotFoundError(StrCat("no model is called '", id, "'")),
                    Operation::kUseAdapter, {{"name", std::string(id)}});
}

absl::StatusOr<HttpResponse> LoadRoute(const Backend& backend, const std::string& body) {
  SHIRA_ASSIGN_OR_RETURN(const Json json, ParseJsonBody(body));
  FieldProblems problems;
  JsonFields fields(json, "", problems);
  const std::optional<std::string> name = fields.Text("lora_name");
  if (!name.has_value()) fields.Problem("lora_name", "is missing");
  const std::optional<std::string> path = fields.Text("lora_path");
  if (!path.has_value()) fields.Problem("lora_path", "is missing");
  const bool replace = fields.Boolean("load_inplace").value_or(false);
  const std::string sha256 = fields.Text("expected_sha256").value_or("");
  fields.RefuseOthers();
  SHIRA_RETURN_IF_ERROR(problems.ToStatus());
  SHIRA_RETURN_IF_ERROR(
      LoadAdapter(backend.lifecycle, *name, *path, sha256, {.replace = replace}).status());
  return Success(*name, "added");
}

absl::StatusOr<HttpResponse> UnloadRoute(const Backend& backend, const std::string& body,
                                         std::function<bool()> is_gone) {
  SHIRA_ASSIGN_OR_RETURN(const Json json, ParseJsonBody(body));
  FieldProblems problems;
  JsonFields fields(json, "", problems);
  const std::optional<std::string> name = fields.Text("lora_name");
  if (!name.has_value()) fields.Problem("lora_name", "is missing");
  fields.Ignore({"lora_int_id"});  // vLLM's number of an adapter, which has none here
  fields.RefuseOthers();
  SHIRA_RETURN_IF_ERROR(problems.ToStatus());
  SHIRA_RETURN_IF_ERROR(
      UnloadAdapter(backend.lifecycle, *name, {.is_cancelled = std::move(is_gone)}));
  return Success(*name, "removed");
}

}  // namespace shira
