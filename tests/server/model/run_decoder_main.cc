// run_decoder logits MODEL DTYPE PROMPTS PREFILL OUT CONTEXT
//     Feeds the first PREFILL tokens of each prompt at once, the others one by one, and writes the
//     logits from token PREFILL on as floats, prompt by prompt: [tokens - PREFILL + 1, vocab_size].
//     CONTEXT is the longest sequence that the model is opened for; 0: its own.
// run_decoder greedy MODEL DTYPE PROMPTS TOKENS
//     Prints TOKENS greedy tokens of each prompt on a line of its own; timings on stderr.
//
// --device DEVICE before that: by LibTorch on that device. PROMPTS is a file of token ids, one prompt per line. Prompts run together in one batch.

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "base/status_macros.h"
#include "base/thread_team.h"
#include "server/executor/torch/torch_executor.h"
#include "server/model/cpu_executor.h"
#include "server/model/resident_weights.h"
#include "server/model/weight_loader.h"
#include "server/sampling/candidates.h"

namespace {

using Clock = std::chrono::steady_clock;

struct Prompt {
  std::vector<int32_t> tokens;
  int64_t fed = 0;  // tokens that the cache holds
  std::unique_ptr<shira::SequenceCache> cache;
  std::vector<float> logits;  // all that were asked for
};

std::vector<Prompt> ReadPrompts(const char* path) {
  std::vector<Prompt> prompts;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    Prompt& prompt = prompts.emplace_back();
    for (int32_t token; words >> token;) prompt.tokens.push_back(token);
  }
  return prompts;
}

// One pass that feeds each prompt the next tokens it has, at most `most`; appends the logits.
absl::Status Step(shira::ModelExecutor& executor, std::vector<Prompt>& prompts, int64_t most) {
  const shira::CompiledState base;
  std::vector<shira::BatchRow> rows;
  std::vector<Prompt*> owners;
  for (Prompt& prompt : prompts) {
    const absl::Span<const int32_t> next =
        absl::MakeConstSpan(prompt.tokens).subspan(prompt.fed, most);
    if (next.empty()) continue;
    rows.push_back(
        {.cache = prompt.cache.get(), .tokens = next, .wants_logits = true, .state = &base});
    owners.push_back(&prompt);
  }
  SHIRA_ASSIGN_OR_RETURN(absl::Span<const float> logits, executor.Forward(base, rows));
  for (size_t i = 0; i < owners.size(); ++i) {
    const auto row = logits.subspan(i * executor.vocab_size(), executor.vocab_size());
    owners[i]->logits.insert(owners[i]->logits.end(), row.begin(), row.end());
    owners[i]->fed += static_cast<int64_t>(rows[i].tokens.size());
  }
  return absl::OkStatus();
}

absl::Status WriteLogits(shira::ModelExecutor& executor, std::vector<Prompt>& prompts,
                         int64_t prefill, const char* path) {
  SHIRA_RETURN_IF_ERROR(Step(executor, prompts, prefill));
  const auto unfinished = [](const Prompt& prompt) {
    return prompt.fed < static_cast<int64_t>(prompt.tokens.size());
  };
  while (std::any_of(prompts.begin(), prompts.end(), unfinished)) {
    SHIRA_RETURN_IF_ERROR(Step(executor, prompts, 1));
  }
  std::ofstream file(path, std::ios::binary);
  for (const Prompt& prompt : prompts) {
    file.write(reinterpret_cast<const char*>(prompt.logits.data()),
               static_cast<std::streamsize>(prompt.logits.size() * sizeof(float)));
  }
  return file.good() ? absl::OkStatus() : absl::DataLossError(path);
}

absl::Status PrintGreedy(shira::ModelExecutor& executor, std::vector<Prompt>& prompts,
                         int64_t tokens) {
  std::vector<double> milliseconds;
  for (int64_t i = 0; i < tokens; ++i) {
    const Clock::time_point start = Clock::now();
    SHIRA_RETURN_IF_ERROR(Step(executor, prompts, executor.context_length()));
    milliseconds.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
    for (Prompt& prompt : prompts) {
      prompt.tokens.push_back(shira::BestToken(prompt.logits));
      prompt.logits.clear();
    }
  }
  for (const Prompt& prompt : prompts) {
    for (int64_t i = tokens; i > 0; --i) std::cout << prompt.tokens.end()[-i] << " ";
    std::cout << "\n";
  }
  std::cerr << "prefill " << milliseconds.front() << " ms";
  if (tokens > 1) {
    std::sort(milliseconds.begin() + 1, milliseconds.end());
    std::cerr << "; decode step, best " << milliseconds[1] << " ms, median "
              << milliseconds[1 + (tokens - 1) / 2] << " ms";
  }
  std::cerr << "\n";
  return absl::OkStatus();
}

constexpr int64_t kKvBytes = int64_t{1} << 30;

// Takes the weights where they are to be copied to a device.
absl::StatusOr<std::unique_ptr<shira::ModelExecutor>> CreateExecutor(
    const std::string& device, std::unique_ptr<shira::ResidentWeights>& weights,
    shira::ThreadTeam& team) {
  if (device.empty()) {
    return shira::CreateCpuExecutor(
        *weights, {.kv_budget_bytes = kKvBytes, .parallel_for = team.parallel_for()});
  }
  return shira::CreateTorchExecutor(
      std::move(weights),
      {.device = device, .kv_budget_bytes = kKvBytes, .threads = team.threads()});
}

absl::Status Run(int argc, char** argv) {
  std::string device;
  if (argc > 7 && std::string_view(argv[1]) == "--device") {
    device = argv[2];
    argc -= 2;
    argv += 2;
  }
  const std::string_view mode = argv[1];
  const std::optional<shira::DType> dtype = shira::ParseDType(argv[3]);
  const int64_t count = std::atoll(argv[5]);
  if (!dtype || count <= 0 || argc != (mode == "logits" ? 8 : 6)) {
    return absl::InvalidArgumentError("see the head of run_decoder_main.cc");
  }
  shira::ThreadTeam team(shira::ThreadTeam::DefaultThreads());
  const int64_t context = mode == "logits" ? std::atoll(argv[7]) : 0;
  SHIRA_ASSIGN_OR_RETURN(const auto source, shira::WeightSource::Open(argv[2], context));
  SHIRA_ASSIGN_OR_RETURN(auto weights,
                         shira::ResidentWeights::Load(*source, *dtype, team.parallel_for(), {}));
  SHIRA_ASSIGN_OR_RETURN(const auto executor, CreateExecutor(device, weights, team));
  std::vector<Prompt> prompts = ReadPrompts(argv[4]);
  for (Prompt& prompt : prompts) {
    SHIRA_ASSIGN_OR_RETURN(
        prompt.cache,
        executor->NewSequence({.tokens = std::min<int64_t>(prompt.tokens.size() + count,
                                                           executor->context_length())}));
  }
  return mode == "logits" ? WriteLogits(*executor, prompts, count, argv[6])
                          : PrintGreedy(*executor, prompts, count);
}

}  // namespace

int main(int argc, char** argv) {
  const absl::Status status =
      argc >= 6 ? Run(argc, argv) : absl::InvalidArgumentError("too few arguments");
  if (status.ok()) return EXIT_SUCCESS;
  std::cerr << status << "\n";
  return EXIT_FAILURE;
}
