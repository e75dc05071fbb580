#include "server/generation/generate_request.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <set>

#include "base/strings.h"
#include "server/catalog/adapter_name.h"
#include "server/logging/call_records.h"

namespace shira {
namespace {

// What is wrong with one kind of input.
struct InputCheck {
  const RequestLimits& limits;
  FieldProblems& problems;

  void operator()(std::monostate) {
    problems.Add("input", "is missing: give one of prompt, chat and token_ids");
  }
  void operator()(const std::string&) {
  }  // may be empty: some tokenizers begin every text with a token
  void operator()(const Conversation& chat) {
    CheckConversation(limits.conversation, chat, problems);
  }
  void operator()(const std::vector<int32_t>& ids) {
    if (ids.empty()) problems.Add("token_ids.ids", "is empty");
    for (size_t i = 0; i < ids.size(); ++i) {
      if (ids[i] >= 0 && ids[i] < limits.vocab_size) continue;
      problems.Add("token_ids.ids", StrCat("id ", ids[i], " at position ", i, " is not within [0, ",
                                           limits.vocab_size, ")"));
      break;  // one is enough: a wrong tokenizer has thousands
    }
  }
};

void CheckSampling(const RequestLimits& limits, SamplingParams& params, FieldProblems& problems) {
  if (static_cast<int>(params.logit_bias.size()) > limits.max_logit_biases) {
    problems.Add("sampling.logit_bias", StrCat("has ", params.logit_bias.size(),
                                               " entries, more than ", limits.max_logit_biases));
    params.logit_bias.clear();
  }
  std::sort(params.logit_bias.begin(), params.logit_bias.end());  // one order of problems
  if (const absl::Status status = params.Validate(limits.vocab_size); !status.ok()) {
    problems.Add("sampling", ToStd(status.message()));
  }
}

void CheckStopStrings(const RequestLimits& limits, const std::vector<std::string>& texts,
                      FieldProblems& problems) {
  constexpr std::string_view kField = "stop.stop_strings";
  if (static_cast<int>(texts.size()) > limits.max_stop_strings) {
    problems.Add(kField,
                 StrCat("has ", texts.size(), " entries, more than ", limits.max_stop_strings));
    return;
  }
  for (size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].empty()) {
      problems.Add(kField, StrCat("entry ", i, " is empty"));
    } else if (texts[i].size() > limits.max_stop_string_bytes) {
      problems.Add(kField, StrCat("entry ", i, " has ", texts[i].size(), " bytes, more than ",
                                  limits.max_stop_string_bytes));
    }
  }
}

void CheckStopTokens(const RequestLimits& limits, const std::vector<int32_t>& tokens,
                     FieldProblems& problems) {
  constexpr std::string_view kField = "stop.stop_token_ids";
  if (static_cast<int>(tokens.size()) > limits.max_stop_tokens) {
    problems.Add(kField,
                 StrCat("has ", tokens.size(), " entries, more than ", limits.max_stop_tokens));
    return;
  }
  for (const int32_t id : tokens) {
    if (id >= 0 && id < limits.vocab_size) continue;
    problems.Add(kField, StrCat("id ", id, " is not within [0, ", limits.vocab_size, ")"));
  }
}

// Ids go into log lines, so they must not look like anything else there.
void CheckRequestId(const std::string& id, FieldProblems& problems) {
  if (id.empty() || IsRequestId(id)) return;
  problems.Add("request_id",
               id.size() > kMaxRequestIdBytes
                   ? StrCat("has ", id.size(), " bytes, more than ", kMaxRequestIdBytes)
                   : "may only have printable ASCII characters without spaces");
}

// Adds to `problems` unless `value` is within [least, most].
void CheckRange(std::string_view field, int64_t value, int64_t least, int64_t most,
                std::string_view whose, FieldProblems& problems) {
  if (value >= least && value <= most) return;
  problems.Add(field, StrCat("is ", value, ", must be within [", least, ", ", most, "]", whose));
}

}  // namespace

absl::Status CheckAndComplete(const RequestLimits& limits, GenerateRequest& request) {
  FieldProblems problems;
  std::visit(InputCheck{limits, problems}, request.input);
  CheckRequestId(request.request_id, problems);
  if (request.adapters.has_value()) {
    CheckSelection(limits, "adapter.adapters", *request.adapters, problems);
  }
  CheckSampling(limits, request.sampling, problems);
  if (!request.max_tokens.has_value()) request.max_tokens = limits.max_tokens;
  CheckRange("stop.max_tokens", *request.max_tokens, 1, limits.max_tokens, ", the server's limit",
             problems);
  CheckStopStrings(limits, request.text.stop_strings, problems);
  CheckStopTokens(limits, request.stop_tokens, problems);
  if (request.top_logprobs.has_value()) {
    CheckRange("logprobs", *request.top_logprobs, 0, limits.max_logprobs, "", problems);
  }
  CheckRange("n", request.choices, 1, limits.max_choices, ", the server's limit", problems);
  CheckRange("priority", request.priority, -limits.max_priority, limits.max_priority, "", problems);
  return problems.ToStatus();
}

void CheckSelection(const RequestLimits& limits, std::string_view field,
                    std::vector<AdapterSelectionTerm>& terms, FieldProblems& problems) {
  if (static_cast<int>(terms.size()) > limits.max_adapters) {
    problems.Add(field, StrCat("has ", terms.size(), " entries, more than ", limits.max_adapters));
    return;
  }
  std::set<std::string_view> names;
  for (const AdapterSelectionTerm& term : terms) {
    if (term.name.empty()) problems.Add(field, "an entry has no name");
    if (!std::isfinite(term.weight)) {
      problems.Add(field, StrCat("the weight of '", term.name, "' is not finite"));
    }
    if (!names.insert(term.name).second) {
      problems.Add(field, StrCat("'", term.name, "' occurs twice"));
    }
  }
  if (!names.contains(kBaseName)) return;
  if (terms.size() > 1) {
    problems.Add(field, "'base' is the model without adapters and can't be mixed with any");
  } else if (terms.front().weight != 1.0) {
    problems.Add(field, "'base' has no weight");
  }
  terms.clear();
}

}  // namespace shira
