#include "server/service/generate_request.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <set>

#include "absl/strings/ascii.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/catalog/adapter_name.h"

namespace shira {
namespace {

void CheckInput(const v1::GenerateRequest& request, const RequestLimits& limits,
                FieldProblems& problems) {
  switch (request.input_case()) {
    case v1::GenerateRequest::kPrompt:
      break;  // may be empty: some tokenizers begin every text with a token
    case v1::GenerateRequest::kChat:
      if (request.chat().messages().empty()) problems.Add("chat.messages", "is empty");
      break;
    case v1::GenerateRequest::kTokenIds:
      if (request.token_ids().ids().empty()) problems.Add("token_ids.ids", "is empty");
      for (int i = 0; i < request.token_ids().ids_size(); ++i) {
        const int32_t id = request.token_ids().ids(i);
        if (id >= 0 && id < limits.vocab_size) continue;
        problems.Add("token_ids.ids", StrCat("id ", id, " at position ", i, " is not within [0, ",
                                             limits.vocab_size, ")"));
        break;  // one is enough: a wrong tokenizer has thousands
      }
      break;
    case v1::GenerateRequest::INPUT_NOT_SET:
      problems.Add("input", "is missing: give one of prompt, chat and token_ids");
      break;
  }
}

SamplingParams ParseSampling(const v1::SamplingParams& proto, const RequestLimits& limits,
                             FieldProblems& problems) {
  SamplingParams params;
  params.temperature = proto.temperature();
  params.top_k = proto.top_k();
  if (proto.has_top_p()) params.top_p = proto.top_p();
  params.min_p = proto.min_p();
  if (proto.has_repetition_penalty()) params.repetition_penalty = proto.repetition_penalty();
  params.presence_penalty = proto.presence_penalty();
  params.frequency_penalty = proto.frequency_penalty();
  if (static_cast<int>(proto.logit_bias().size()) > limits.max_logit_biases) {
    problems.Add("sampling.logit_bias", StrCat("has ", proto.logit_bias().size(),
                                               " entries, more than ", limits.max_logit_biases));
  } else {
    params.logit_bias.assign(proto.logit_bias().begin(), proto.logit_bias().end());
    std::sort(params.logit_bias.begin(), params.logit_bias.end());  // one order of problems
  }
  params.seed = proto.seed();
  if (const absl::Status status = params.Validate(limits.vocab_size); !status.ok()) {
    problems.Add("sampling", ToStd(status.message()));
  }
  return params;
}

void ParseStop(const v1::StopConditions& proto, const RequestLimits& limits,
               GenerateOptions& options, FieldProblems& problems) {
  options.max_tokens = proto.has_max_tokens() ? proto.max_tokens() : limits.max_tokens;
  if (options.max_tokens < 1 || options.max_tokens > limits.max_tokens) {
    problems.Add("stop.max_tokens", StrCat("is ", options.max_tokens, ", must be within [1, ",
                                           limits.max_tokens, "], the server's limit"));
  }

  if (proto.stop_strings_size() > limits.max_stop_strings) {
    problems.Add("stop.stop_strings", StrCat("has ", proto.stop_strings_size(),
                                             " entries, more than ", limits.max_stop_strings));
  } else {
    for (int i = 0; i < proto.stop_strings_size(); ++i) {
      const std::string& text = proto.stop_strings(i);
      if (text.empty()) {
        problems.Add("stop.stop_strings", StrCat("entry ", i, " is empty"));
      } else if (text.size() > limits.max_stop_string_bytes) {
        problems.Add("stop.stop_strings",
                     StrCat("entry ", i, " has ", text.size(), " bytes, more than ",
                            limits.max_stop_string_bytes));
      }
    }
    options.text.stop_strings.assign(proto.stop_strings().begin(), proto.stop_strings().end());
  }
  options.text.include_stop_string = proto.include_stop_string();

  if (proto.stop_token_ids_size() > limits.max_stop_tokens) {
    problems.Add("stop.stop_token_ids", StrCat("has ", proto.stop_token_ids_size(),
                                               " entries, more than ", limits.max_stop_tokens));
  } else {
    for (const int32_t id : proto.stop_token_ids()) {
      if (id < 0 || id >= limits.vocab_size) {
        problems.Add("stop.stop_token_ids",
                     StrCat("id ", id, " is not within [0, ", limits.vocab_size, ")"));
      }
    }
    options.stop_tokens.assign(proto.stop_token_ids().begin(), proto.stop_token_ids().end());
  }
  options.ignore_eos = proto.ignore_eos();
}

// Ids go into log lines, so they must not look like anything else there.
void CheckRequestId(const std::string& id, const RequestLimits& limits, FieldProblems& problems) {
  if (id.size() > limits.max_request_id_bytes) {
    problems.Add("request_id",
                 StrCat("has ", id.size(), " bytes, more than ", limits.max_request_id_bytes));
    return;
  }
  for (const char c : id) {
    if (!absl::ascii_isgraph(static_cast<unsigned char>(c))) {
      problems.Add("request_id", "may only have printable ASCII characters without spaces");
      return;
    }
  }
}

}  // namespace

absl::StatusOr<GenerateOptions> ParseGenerateRequest(const v1::GenerateRequest& request,
                                                     const RequestLimits& limits) {
  FieldProblems problems;
  GenerateOptions options;
  CheckInput(request, limits, problems);
  CheckRequestId(request.request_id(), limits, problems);
  options.request_id = request.request_id();
  if (request.has_adapter()) {
    options.adapters =
        ParseSelection(request.adapter().adapters(), limits, "adapter.adapters", problems);
  }
  options.sampling = ParseSampling(request.sampling(), limits, problems);
  options.has_seed = request.sampling().has_seed();
  ParseStop(request.stop(), limits, options, problems);
  if (request.has_logprobs()) {
    options.top_logprobs = request.logprobs();
    if (request.logprobs() < 0 || request.logprobs() > limits.max_logprobs) {
      problems.Add("logprobs", StrCat("is ", request.logprobs(), ", must be within [0, ",
                                      limits.max_logprobs, "]"));
    }
  }
  if (request.has_n()) options.choices = request.n();
  if (options.choices < 1 || options.choices > limits.max_choices) {
    problems.Add("n", StrCat("is ", options.choices, ", must be within [1, ", limits.max_choices,
                             "], the server's limit"));
  }
  options.priority = request.priority();
  if (std::abs(int64_t{options.priority}) > limits.max_priority) {
    problems.Add("priority", StrCat("is ", options.priority, ", must be within [",
                                    -limits.max_priority, ", ", limits.max_priority, "]"));
  }
  SHIRA_RETURN_IF_ERROR(problems.ToStatus());
  return options;
}

std::vector<AdapterSelectionTerm> ParseSelection(
    const google::protobuf::RepeatedPtrField<v1::WeightedAdapter>& adapters,
    const RequestLimits& limits, std::string_view field, FieldProblems& problems) {
  std::vector<AdapterSelectionTerm> terms;
  if (adapters.size() > limits.max_adapters) {
    problems.Add(field,
                 StrCat("has ", adapters.size(), " entries, more than ", limits.max_adapters));
    return terms;
  }
  std::set<std::string_view> names;
  for (const v1::WeightedAdapter& adapter : adapters) {
    const double weight = adapter.has_weight() ? adapter.weight() : 1.0;
    if (adapter.name().empty()) problems.Add(field, "an entry has no name");
    if (!std::isfinite(weight)) {
      problems.Add(field, StrCat("the weight of '", adapter.name(), "' is not finite"));
    }
    if (!names.insert(adapter.name()).second) {
      problems.Add(field, StrCat("'", adapter.name(), "' occurs twice"));
    }
    terms.push_back({adapter.name(), weight});
  }
  if (names.contains(kBaseName)) {
    if (terms.size() > 1) {
      problems.Add(field, "'base' is the model without adapters and can't be mixed with any");
    } else if (terms.front().weight != 1.0) {
      problems.Add(field, "'base' has no weight");
    }
    terms.clear();
  }
  return terms;
}

}  // namespace shira
