// The engine over a real model, small and random: whatever runs beside a stream, however its
// prompt was cut or found in memory, and whether its weights are resident or patched, its tokens
// are those of the same request alone.

#include <map>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "server/engine/engine.h"
#include "server/engine/step_cost_measurement.h"
#include "server/model/cpu_executor.h"
#include "server/model/families/llama.h"
#include "tests/testutil/adapter_builder.h"
#include "tests/testutil/plain_weights.h"
#include "tests/testutil/recording_observer.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::RecordingObserver;
using ::shira::testing::StatusIs;

using Tokens = std::vector<int32_t>;

constexpr int kAdapters = 4;
constexpr int64_t kBudgetBytes = 4 << 20;
constexpr int64_t kChunkTokens = 24;

struct Model {
  DType dtype = DType::kF32;
  int64_t window = 0;          // of the first of two layers
  int64_t longest_prompt = 0;  // of random requests
};

class EngineModelTest : public ::testing::TestWithParam<Model> {
 protected:
  void SetUp() override {
    ModelConfig config;
    config.architecture = "llama";
    config.family = &kLlamaFamily;
    config.hidden_size = 32;
    config.num_layers = 2;
    config.layers = {{.window = GetParam().window}, {}};
    config.num_heads = 4;
    config.num_kv_heads = 2;
    config.head_dim = 8;
    config.intermediate_size = 48;
    config.vocab_size = 300;
    config.max_position = 256;
    ASSERT_OK_AND_ASSIGN(weights_, ResidentWeights::Allocate(config, GetParam().dtype));
    ASSERT_OK_AND_ASSIGN(memory_,
                         HostWeightMemory::Create(weights_->dtype(), weights_->parameters()));
    const ParameterMap& map = memory_->parameters();
    std::mt19937 random(1);
    std::normal_distribution<float> normal(0.0f, 0.3f);
    for (const ResidentParameter& parameter : weights_->parameters()) {
      for (int64_t i = 0; i < parameter.elements(); ++i) {
        testing::StoreElement(map.dtype(), normal(random), i, parameter.data);
      }
    }
    ASSERT_OK_AND_ASSIGN(executor_, CreateCpuExecutor(*weights_, {.kv_budget_bytes = kBudgetBytes,
                                                                  .chunk_tokens = kChunkTokens}));
    switch_engine_ = std::make_unique<SwitchEngine>(*memory_, SwitchEngine::Options());
    states_.push_back(switch_engine_->base());
    for (int i = 1; i <= kAdapters; ++i) {
      ASSERT_OK_AND_ASSIGN(states_.emplace_back(),
                           switch_engine_->Compile({{Adapter(map, i), 1.0}}));
    }
  }

  static std::shared_ptr<const SparseAdapter> Adapter(const ParameterMap& map, int number) {
    std::mt19937 random(number);
    std::map<std::string, ParameterDelta> deltas;  // ascending by name
    for (const ParameterShape& p : map.parameters()) {
      if (p.rows == 1 || p.rows == 300) continue;
      const auto positions =
          testing::RandomPositions(p.rows, p.cols, 2 * (p.rows + p.cols), random);
      deltas[p.name] = testing::MakeDelta(p.name, p.rows, p.cols, positions, random);
    }
    std::vector<ParameterDelta> list;
    for (auto& [name, delta] : deltas) list.push_back(std::move(delta));
    return testing::MakeAdapter(std::to_string(number), std::move(list));
  }

  void Start(Engine::Options options) {
    engine_.reset();
    engine_ = std::make_unique<Engine>(options, *executor_, *switch_engine_);
  }

  struct Job {
    int state = 0;
    Tokens prompt;
    int64_t max_tokens = 8;
    int32_t choices = 1;
    SamplingParams sampling;
    std::optional<bool> speculate;
    std::shared_ptr<RecordingObserver> observer = std::make_shared<RecordingObserver>();
    std::shared_ptr<CancellationToken> token;
  };
  void Submit(Job& job) {
    GenerationRequest request;
    request.prompt = job.prompt;
    request.max_tokens = job.max_tokens;
    request.choices = job.choices;
    request.sampling = job.sampling;
    request.speculate = job.speculate;
    request.state = StateHandle(states_[job.state], {}, [] {});
    request.observer = job.observer;
    auto token = engine_->Submit(std::move(request));
    ASSERT_THAT(token, IsOk());
    job.token = *token;
  }

  // Answer `choice` of a job alone: one token a step, its state in the weights. REQUIRES: no engine
  // runs.
  Tokens Alone(const Job& job, int32_t choice) {
    EXPECT_EQ(engine_, nullptr);
    switch_engine_->Apply(states_[job.state]);
    const CompiledState& state = *states_[job.state];
    const auto cache = *executor_->NewSequence(
        {.tokens = static_cast<int64_t>(job.prompt.size()) + job.max_tokens});
    SamplingParams sampling = job.sampling;
    sampling.seed += choice;
    Sampler sampler(sampling, executor_->vocab_size(), job.prompt);
    Tokens tokens = job.prompt;
    while (static_cast<int64_t>(tokens.size() - job.prompt.size()) < job.max_tokens) {
      absl::Span<const float> logits;
      while (cache->length() < static_cast<int64_t>(tokens.size())) {
        const auto next = absl::MakeConstSpan(tokens).subspan(cache->length(), 1);
        const auto result = executor_->Forward(state, {{cache.get(), next, true, &state}});
        EXPECT_THAT(result, IsOk());
        logits = *result;
      }
      tokens.push_back(*sampler.Sample(logits));
    }
    tokens.erase(tokens.begin(), tokens.begin() + job.prompt.size());
    return tokens;
  }

  // Compares what a job got with the same job alone. Stops the engine.
  void ExpectAsAlone(const std::vector<Job>& jobs) {
    for (const Job& job : jobs) job.observer->Wait();
    stats_ = engine_->stats();
    engine_.reset();
    for (size_t i = 0; i < jobs.size(); ++i) {
      const Job& job = jobs[i];
      const bool ended = job.observer->status().ok();
      EXPECT_TRUE(ended || absl::IsCancelled(job.observer->status())) << job.observer->status();
      for (int32_t choice = 0; choice < job.choices; ++choice) {
        const Tokens found = job.observer->tokens(choice);
        Tokens expected = Alone(job, choice);
        EXPECT_TRUE(!ended || found.size() == expected.size());
        expected.resize(std::min(found.size(), expected.size()));
        EXPECT_EQ(found, expected) << "job " << i << ", choice " << choice;
      }
    }
    EXPECT_EQ(executor_->kv_used_bytes(), 0);
  }

  Tokens Prompt(int64_t length, uint32_t seed) const {
    std::mt19937 random(seed);
    Tokens prompt(length);
    for (int32_t& token : prompt) token = static_cast<int32_t>(random() % 300);
    return prompt;
  }

  std::vector<Sha256Digest> Hashes() const {
    std::vector<Sha256Digest> hashes;
    for (const ParameterHashes& parameter : switch_engine_->Verify().parameters) {
      hashes.push_back(parameter.resident);
    }
    return hashes;
  }

  // Random requests, in which every kind of thing occurs.
  std::vector<Job> RandomJobs(int count, uint32_t seed, int64_t longest_prompt) const {
    std::mt19937 random(seed);
    std::vector<Job> jobs(count);
    for (Job& job : jobs) {
      job.state = static_cast<int>(random() % (kAdapters + 1));
      job.prompt = Prompt(1 + random() % longest_prompt, random() % 3);  // some begin alike
      job.max_tokens = 1 + random() % 24;
      if (random() % 4 == 0) job.choices = 2 + random() % 3;
      if (random() % 2 == 0) {
        job.sampling = {.temperature = 1.0f, .top_p = 0.95f, .seed = random()};
        job.sampling.presence_penalty = random() % 2 == 0 ? 0.5f : 0.0f;
      }
    }
    return jobs;
  }

  std::unique_ptr<ResidentWeights> weights_;
  std::unique_ptr<HostWeightMemory> memory_;  // of the weights, whatever executor there is
  std::unique_ptr<ModelExecutor> executor_;
  std::unique_ptr<SwitchEngine> switch_engine_;
  std::vector<std::shared_ptr<const CompiledState>> states_;  // the base, then one per adapter
  std::unique_ptr<Engine> engine_;
  EngineStats stats_;
};

Engine::Options Options(RowPatching patching, int64_t max_prefixes) {
  Engine::Options options;
  options.max_running = 12;
  options.step = {
      .step_tokens = 24, .max_state_wait = absl::Microseconds(500), .row_patching = patching};
  options.max_prefixes = max_prefixes;
  return options;
}

// Patching at no cost, so that every step of several states does it.
StepCosts FreePatches() {
  StepCosts::Coefficients c;
  c.patched_state = c.patched_entry = c.patched_token = 0.0;
  return StepCosts(c);
}

TEST_P(EngineModelTest, UnderLoadEveryStreamEqualsItsSingleRun) {
  for (const RowPatching patching : {RowPatching::kOff, RowPatching::kAuto}) {
    Engine::Options options = Options(patching, 64);
    options.costs = FreePatches();
    options.learn_costs = false;
    Start(options);
    std::vector<Job> jobs = RandomJobs(40, 7, GetParam().longest_prompt);
    std::vector<std::thread> clients;
    for (int t = 0; t < 4; ++t) {
      clients.emplace_back([&, t] {
        for (size_t i = t; i < jobs.size(); i += 4) {
          Submit(jobs[i]);
          if (i % 7 == 0) jobs[i].token->Cancel();
        }
      });
    }
    for (std::thread& client : clients) client.join();
    ExpectAsAlone(jobs);
    if (patching == RowPatching::kOff) {
      EXPECT_EQ(stats_.patched_rows, 0);
      EXPECT_GT(stats_.switches, 0);
    } else {
      EXPECT_GT(stats_.patched_rows, 0);
    }
    EXPECT_GT(stats_.fused_steps, 0);
    EXPECT_GT(stats_.cached_prompt_tokens, 0);
  }
}

TEST_P(EngineModelTest, MemoryThatIsShortDelaysButChangesNothing) {
  ASSERT_OK_AND_ASSIGN(executor_,
                       CreateCpuExecutor(*weights_, {.kv_budget_bytes = kBudgetBytes / 40}));
  Start(Options(RowPatching::kAuto, 64));
  std::vector<Job> jobs = RandomJobs(30, 9, 70);
  for (Job& job : jobs) {
    job.choices = 1;
    Submit(job);
  }
  ExpectAsAlone(jobs);
}

TEST_P(EngineModelTest, AnsweringTwiceReusesThePromptAndSaysTheSame) {
  Start(Options(RowPatching::kAuto, 64));
  std::vector<Job> jobs(3);
  for (Job& job : jobs) {
    job.state = 1;
    job.prompt = Prompt(60, 5);
  }
  jobs[2].prompt.push_back(7);
  for (Job& job : jobs) {
    Submit(job);
    job.observer->Wait();
  }
  const int64_t page = executor_->kv_geometry().page_tokens;
  EXPECT_EQ(jobs[0].observer->result()->cached_prompt_tokens, 0);
  EXPECT_EQ(jobs[1].observer->result()->cached_prompt_tokens, 59 / page * page);
  EXPECT_EQ(jobs[2].observer->result()->cached_prompt_tokens, 60 / page * page);
  EXPECT_GT(59 / page, 0);
  EXPECT_EQ(engine_->stats().prefix_hits, 2);
  ExpectAsAlone(jobs);
}

TEST_P(EngineModelTest, AConversationGoesOnFromItsAnswer) {
  Start(Options(RowPatching::kAuto, 64));
  std::vector<Job> jobs(2);
  jobs[0].prompt = Prompt(30, 5);
  jobs[0].max_tokens = 40;
  Submit(jobs[0]);
  jobs[0].observer->Wait();
  jobs[1].prompt = jobs[0].prompt;
  for (const int32_t token : jobs[0].observer->tokens()) jobs[1].prompt.push_back(token);
  Submit(jobs[1]);
  // The last token of the answer was never run.
  const int64_t page = executor_->kv_geometry().page_tokens;
  EXPECT_EQ(jobs[1].observer->result()->cached_prompt_tokens, 69 / page * page);
  ExpectAsAlone(jobs);
}

TEST_P(EngineModelTest, NoAdaptersKeysAndValuesServeAnother) {
  Start(Options(RowPatching::kAuto, 64));
  std::vector<Job> jobs(2 * (kAdapters + 1));
  for (size_t i = 0; i < jobs.size(); ++i) {
    jobs[i].state = static_cast<int>(i % (kAdapters + 1));
    jobs[i].prompt = Prompt(60, 5);
    Submit(jobs[i]);
    jobs[i].observer->Wait();
    // Its own state's, from the second round on.
    const int64_t cached = jobs[i].observer->result()->cached_prompt_tokens;
    EXPECT_EQ(cached > 0, i > kAdapters) << i;
  }
  std::set<Tokens> answers;
  for (const Job& job : jobs) answers.insert(job.observer->tokens());
  EXPECT_EQ(answers.size(), kAdapters + 1u) << "the adapters do not differ, so nothing was tested";
  ExpectAsAlone(jobs);
}

TEST_P(EngineModelTest, AnAdaptersPrefixesAreForgottenWithIt) {
  Start(Options(RowPatching::kAuto, 64));
  std::vector<Job> jobs(3);
  for (size_t i = 0; i < jobs.size(); ++i) {
    jobs[i].state = i == 1 ? 2 : 1;
    jobs[i].prompt = Prompt(60, 5);
  }
  for (const int i : {0, 1}) {
    Submit(jobs[i]);
    jobs[i].observer->Wait();
  }
  const int64_t before = executor_->kv_used_bytes();
  engine_->Leave(Sha256::Of("1"));
  Submit(jobs[2]);
  EXPECT_EQ(jobs[2].observer->result()->cached_prompt_tokens, 0);
  EXPECT_EQ(executor_->kv_used_bytes(), before);  // it is kept again, instead of the first
  ExpectAsAlone(jobs);
}

TEST_P(EngineModelTest, SeveralAnswersAreThoseOfTheFollowingSeeds) {
  Start(Options(RowPatching::kAuto, 0));
  std::vector<Job> jobs(1);
  jobs[0].prompt = Prompt(45, 5);
  jobs[0].max_tokens = 20;
  jobs[0].choices = 5;
  jobs[0].sampling = {.temperature = 1.5f, .seed = ~uint64_t{0} - 1};  // wraps around
  Submit(jobs[0]);
  ASSERT_TRUE(jobs[0].observer->result().has_value());
  EXPECT_EQ(engine_->stats().prompt_tokens, 45);
  std::set<Tokens> answers;
  for (int32_t i = 0; i < 5; ++i) answers.insert(jobs[0].observer->tokens(i));
  EXPECT_EQ(answers.size(), 5u);
  ExpectAsAlone(jobs);
}

// Steps take the same time however many rows they have: whatever can be drafted is.
StepCosts FreeRows() {
  StepCosts::Coefficients c = FreePatches().coefficients();
  c.context_token = c.prefill_token = 0.0;
  c.step.fill(1e-3);
  return StepCosts(c);
}

TEST_P(EngineModelTest, DraftsChangeNoToken) {
  for (const int64_t budget : {kBudgetBytes, kBudgetBytes / 20}) {
    ASSERT_OK_AND_ASSIGN(executor_, CreateCpuExecutor(*weights_, {.kv_budget_bytes = budget}));
    Engine::Options options = Options(RowPatching::kAuto, 64);
    options.costs = FreeRows();
    options.learn_costs = false;
    options.speculate = true;
    Start(options);
    std::vector<Job> jobs = RandomJobs(40, 13, 70);
    std::mt19937 random(2);
    for (size_t i = 0; i < jobs.size(); ++i) {
      Job& job = jobs[i];
      // Prompts and answers that repeat themselves, as far as the model does.
      const Tokens part(job.prompt.begin(),
                        job.prompt.begin() + std::min<size_t>(job.prompt.size(), 9));
      for (size_t times = random() % 4; times > 0; --times) {
        job.prompt.insert(job.prompt.end(), part.begin(), part.end());
      }
      job.max_tokens = 20 + static_cast<int64_t>(random() % 60);
      if (budget < kBudgetBytes) job.choices = 1;
      if (job.sampling.temperature > 0.0f) job.sampling.temperature = 0.2f;
      if (random() % 8 == 0) job.speculate = false;
      Submit(job);
      if (i % 9 == 0) job.token->Cancel();
    }
    ExpectAsAlone(jobs);
    EXPECT_GT(stats_.accepted_tokens, 100);
    EXPECT_GT(stats_.drafted_tokens - stats_.accepted_tokens, 100);
    EXPECT_GT(stats_.patched_rows, 0);
  }
}

TEST_P(EngineModelTest, ABeginningThatPromptsShareServesFromTheThirdOnWhereWindowsHavePassedIt) {
  Start(Options(RowPatching::kAuto, 64));
  std::vector<Job> jobs(4);
  for (size_t i = 0; i < jobs.size(); ++i) {
    jobs[i].prompt = Prompt(70, 5);
    const Tokens own = Prompt(130, static_cast<uint32_t>(100 + i));
    jobs[i].prompt.insert(jobs[i].prompt.end(), own.begin(), own.end());
    Submit(jobs[i]);
    jobs[i].observer->Wait();
  }
  const int64_t page = executor_->kv_geometry().page_tokens;
  const bool windowed = GetParam().window > 0;
  for (size_t i = 0; i < jobs.size(); ++i) {
    const bool served = windowed ? i > 1 : i > 0;
    EXPECT_EQ(jobs[i].observer->result()->cached_prompt_tokens, served ? 70 / page * page : 0) << i;
  }
  ExpectAsAlone(jobs);
}

TEST_P(EngineModelTest, MeasuringChangesNothingAndGivesCosts) {
  const std::vector<Sha256Digest> before = Hashes();
  ASSERT_OK_AND_ASSIGN(const StepCosts costs,
                       MeasureStepCosts(*executor_, *switch_engine_, absl::Milliseconds(50)));
  EXPECT_EQ(Hashes(), before);
  EXPECT_EQ(switch_engine_->resident()->key, StateKey());
  EXPECT_EQ(executor_->kv_used_bytes(), 0);
  EXPECT_GT(costs.StepSeconds(1), 1e-7);
  EXPECT_GE(costs.StepSeconds(32), costs.StepSeconds(1));
  EXPECT_GT(costs.PatchSeconds(1, 1000, 1), 0.0);
  EXPECT_GT(costs.SwitchSeconds(1000, 1000), 0.0);
  EXPECT_GT(costs.coefficients().prefill_token, 0.0);
}

INSTANTIATE_TEST_SUITE_P(DTypes, EngineModelTest,
                         ::testing::Values(Model{DType::kF32, 0, 70}, Model{DType::kBF16, 0, 70},
                                           Model{DType::kF16, 0, 70}, Model{DType::kF32, 20, 200},
                                           Model{DType::kBF16, 20, 200}),
                         [](const auto& test) {
                           return std::string(DTypeName(test.param.dtype)) +
                                  (test.param.window == 0 ? "" : "Windowed");
                         });

}  // namespace
}  // namespace shira
