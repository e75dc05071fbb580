#include "server/http/text_routes.h"

#include <optional>
#include <vector>

#include "base/status_macros.h"
#include "server/generation/text_requests.h"
#include "server/http/generation_request.h"
#include "server/http/json_body.h"
#include "server/http/json_fields.h"

namespace shira {
namespace {

// The texts of tokens, one by one.
Json TokenTexts(const Backend& backend, const std::vector<int32_t>& ids) {
  Json texts = Json::array();
  for (const int32_t id : ids) {
    texts.push_back(backend.tokenizer.TokenBytes(id, /*skip_special_tokens=*/false).value_or(""));
  }
  return texts;
}

}  // namespace

absl::StatusOr<HttpResponse> TokenizeRoute(const Backend& backend, const std::string& body) {
  SHIRA_ASSIGN_OR_RETURN(const Json json, ParseJsonBody(body));
  FieldProblems problems;
  JsonFields fields(json, "", problems);
  TokenizeInput input;
  if (std::optional<std::string> prompt = fields.Text("prompt"); prompt.has_value()) {
    input.input = *std::move(prompt);
    input.options.add_special_tokens = fields.Boolean("add_special_tokens").value_or(true);
  } else {
    input.input = ReadConversation(fields, problems);
    fields.Only("add_special_tokens", false, "the chat template writes them");
  }
  const bool with_texts = fields.Boolean("return_token_strs").value_or(false);
  fields.Ignore({"model"});  // all adapters have one tokenizer
  fields.RefuseOthers();
  SHIRA_RETURN_IF_ERROR(problems.ToStatus());
  SHIRA_ASSIGN_OR_RETURN(const PromptBuilder::Prompt prompt, Tokenize(backend, input));
  return HttpResponse{
      .body = JsonText({{"count", prompt.ids.size()},
                        {"max_model_len", backend.model.context_length},
                        {"tokens", prompt.ids},
                        {"token_strs", with_texts ? TokenTexts(backend, prompt.ids) : Json()}})};
}

absl::StatusOr<HttpResponse> DetokenizeRoute(const Backend& backend, const std::string& body) {
  SHIRA_ASSIGN_OR_RETURN(const Json json, ParseJsonBody(body));
  FieldProblems problems;
  JsonFields fields(json, "", problems);
  std::vector<int32_t> ids;
  if (const Json* tokens = fields.List("tokens")) {
    ids = Int32List(*tokens, "tokens", problems).value_or(ids);
  } else {
    fields.Problem("tokens", "is missing");
  }
  const bool skips = fields.Boolean("skip_special_tokens").value_or(false);
  fields.Ignore({"model"});
  fields.RefuseOthers();
  SHIRA_RETURN_IF_ERROR(problems.ToStatus());
  SHIRA_ASSIGN_OR_RETURN(const std::string text, Detokenize(backend, ids, skips));
  return HttpResponse{.body = JsonText({{"prompt", text}})};
}

}  // namespace shira
