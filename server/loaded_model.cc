#include "server/loaded_model.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "adapters/format/adapter_reader.h"
#include "adapters/switch/switch_engine.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "base/strings.h"
#include "base/thread_team.h"
#include "server/engine/engine.h"
#include "server/engine/step_cost_measurement.h"
#include "server/executor/torch/torch_executor.h"
#include "server/lifecycle/adapter_lifecycle.h"
#include "server/model/cpu_executor.h"
#include "server/model/kernels/bf16_products.h"
#include "server/model/model_names.h"
#include "server/model/resident_weights.h"
#include "server/version.h"

namespace shira {
namespace {

constexpr absl::Duration kProgressInterval = absl::Seconds(2);

absl::StatusOr<std::unique_ptr<ResidentWeights>> LoadWeights(const WeightSource& source,
                                                             const ServerOptions& options,
                                                             const ParallelFor& parallel_for,
                                                             const absl::Notification& stop) {
  const SteadyTime start = SteadyNow();
  SteadyTime last = start;
  const auto log_progress = [&](int64_t done, int64_t total) {
    if (SteadyNow() - last < kProgressInterval || done == total) return;
    last = SteadyNow();
    spdlog::info("model: {} of {} MiB loaded", done >> 20, total >> 20);
  };
  SHIRA_ASSIGN_OR_RETURN(std::unique_ptr<ResidentWeights> weights,
                         ResidentWeights::Load(source, options.dtype, parallel_for, log_progress));
  if (stop.HasBeenNotified()) return absl::CancelledError("stopped while the model was loading");
  spdlog::info("model: {} MiB loaded as {} in {:.0f} ms", weights->bytes() >> 20,
               std::string(ResidentDTypeName(options.dtype)),
               absl::ToDoubleMilliseconds(SteadyNow() - start));
  return weights;
}

// Takes the weights where they are to be copied to a device.
absl::StatusOr<std::unique_ptr<ModelExecutor>> CreateExecutor(
    std::unique_ptr<ResidentWeights>& weights, const ServerOptions& options, ThreadTeam& team) {
  if (options.device.empty()) {
    if (options.dtype == DType::kBF16) {
      spdlog::info("model: products of bfloat16 by {}",
                   std::string(Bf16ProductsName(ChosenBf16Products())));
    }
    return CreateCpuExecutor(*weights, {.kv_budget_bytes = options.kv_cache_bytes,
                                        .chunk_tokens = options.step_tokens,
                                        .parallel_for = team.parallel_for()});
  }
  spdlog::info("model: computed by LibTorch on {}; adapters take turns", options.device);
  return CreateTorchExecutor(std::move(weights), {.device = options.device,
                                                  .kv_budget_bytes = options.kv_cache_bytes,
                                                  .chunk_tokens = options.step_tokens,
                                                  .threads = team.threads()});
}

BaseModelIdentity IdentityOf(const SwitchEngine& engine, const ModelConfig& config,
                             std::vector<std::string> names) {
  const ParameterMap& map = engine.parameters();
  BaseModelIdentity identity;
  identity.names = std::move(names);
  for (size_t i = 0; i < map.parameters().size(); ++i) {
    const ParameterShape& parameter = map.parameters()[i];
    identity.parameters[parameter.name] = {parameter.rows, parameter.cols};
    identity.hashes[parameter.name] = engine.base_hash(static_cast<int64_t>(i));
  }
  OtherNames others = OtherNamesOf(config.Tensors());
  identity.tied = std::move(others.tied);
  identity.renamed = std::move(others.renamed);
  identity.fused = std::move(others.fused);
  identity.dtype = map.dtype();
  identity.digest = engine.base_digest();
  return identity;
}

AdapterLifecycle::Options LifecycleOptionsOf(const ServerOptions& options, Engine& engine) {
  AdapterLifecycle::Options lifecycle;
  lifecycle.roots = options.adapter_roots;
  for (const NamedAdapter& adapter : options.adapters) {
    lifecycle.operator_paths.push_back(adapter.path);
  }
  const LifecycleOptions& flags = options.lifecycle;
  lifecycle.roots.insert(lifecycle.roots.end(), flags.adapter_dirs.begin(),
                         flags.adapter_dirs.end());
  lifecycle.max_adapters = options.max_adapters;
  lifecycle.memory_budget_bytes = options.adapter_memory_bytes;
  lifecycle.keep_versions = flags.keep_versions;
  lifecycle.max_concurrent_loads = flags.max_concurrent_loads;
  lifecycle.state_file = flags.state_file;
  lifecycle.on_state_file_error = [](const absl::Status& status) {
    spdlog::error("the state file could not be written, and is written at the next change: {}",
                  std::string(status.message()));
  };
  lifecycle.on_gone = [&engine](const Sha256Digest& adapter) { engine.Leave(adapter); };
  lifecycle.cancel_users = [&engine](const Sha256Digest& adapter) {
    engine.CancelUsersOf(adapter);
  };
  lifecycle.apply = [&engine](const StateHandle& state, SteadyTime deadline) {
    return engine.Apply(state, deadline);
  };
  if (!flags.upload_dir.empty()) {
    lifecycle.uploads =
        UploadStore::Options{flags.upload_dir, flags.max_upload_bytes, flags.upload_quota_bytes};
  }
  return lifecycle;
}

// Part of the time to load a model, so it may not be long.
constexpr absl::Duration kMeasurementBudget = absl::Seconds(1);

absl::StatusOr<Engine::Options> EngineOptions(const ServerOptions& options, ModelExecutor& executor,
                                              SwitchEngine& switch_engine) {
  Engine::Options engine;
  engine.max_queued = options.max_queued;
  engine.max_running = options.max_running;
  engine.max_choices = options.max_choices;
  engine.step.step_tokens = options.step_tokens;
  engine.step.row_patching =
      options.row_patching && executor.mixes_states() ? RowPatching::kAuto : RowPatching::kOff;
  engine.max_prefixes = options.max_prefixes;
  engine.speculate = options.speculate;
  SHIRA_ASSIGN_OR_RETURN(engine.costs,
                         MeasureStepCosts(executor, switch_engine, kMeasurementBudget));
  const auto ms = [](double seconds) { return 1000.0 * seconds; };
  const double entries = 1e6;
  spdlog::info(
      "measured: a forward pass takes {:.1f} ms for 1 row and {:.1f} ms for 16, {:.2f} ms more per "
      "prompt token and {:.1f} ms more per million patched entries; a switch takes {:.1f} ms per "
      "million entries",
      ms(engine.costs.StepSeconds(1)), ms(engine.costs.StepSeconds(16)),
      ms(engine.costs.coefficients().prefill_token),
      ms(engine.costs.coefficients().patched_entry * entries),
      ms(engine.costs.coefficients().switch_entry * entries));
  return engine;
}

// What ends an answer by the account of the model's config and of its tokenizer.
std::vector<int32_t> EndOfGenerationIds(const ModelConfig& config, const Tokenizer& tokenizer) {
  std::vector<int32_t> ids = config.eos_token_ids;
  for (const int32_t id : tokenizer.end_of_generation_ids()) {
    if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
  }
  return ids;
}

}  // namespace

absl::StatusOr<ModelOnDisk> ModelOnDisk::Open(const ServerOptions& options) {
  ModelOnDisk model;
  SHIRA_ASSIGN_OR_RETURN(model.weights, WeightSource::Open(options.model, options.context_length));
  SHIRA_ASSIGN_OR_RETURN(model.text,
                         LoadTextTools(options.model, *model.weights, options.chat_template));
  if (!model.text.chat_template_problem.empty()) {
    spdlog::warn("conversations are refused, the chat template cannot be used: {}",
                 model.text.chat_template_problem);
  }
  model.names = options.base_model_names.empty() ? NamesOfModel(options.model, *model.weights)
                                                 : options.base_model_names;
  return model;
}

// In the order of construction: each part uses those above it.
struct LoadedModel::Parts {
  std::unique_ptr<ThreadTeam> team;  // the process's one
  TextTools text;
  std::unique_ptr<ResidentWeights> weights;  // nullptr: the executor has them
  std::unique_ptr<ModelExecutor> executor;
  std::unique_ptr<SwitchEngine> switch_engine;
  std::unique_ptr<WeightGuard> weight_guard;
  std::unique_ptr<AdapterReader> reader;
  std::unique_ptr<Engine> engine;
  std::unique_ptr<AdapterLifecycle> lifecycle;
};

LoadedModel::LoadedModel(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
LoadedModel::~LoadedModel() = default;

void LoadedModel::Drain(absl::Duration timeout) { parts_->engine->Drain(timeout); }

absl::StatusOr<std::unique_ptr<LoadedModel>> LoadedModel::Load(ModelOnDisk model,
                                                               const ServerOptions& options,
                                                               WorkQueue& disk_work,
                                                               const absl::Notification& stop) {
  auto parts = std::make_unique<Parts>();
  parts->team = std::make_unique<ThreadTeam>(options.threads > 0 ? options.threads
                                                                 : ThreadTeam::DefaultThreads());
  const ParallelFor parallel_for = parts->team->parallel_for();
  parts->text = std::move(model.text);
  SHIRA_ASSIGN_OR_RETURN(parts->weights, LoadWeights(*model.weights, options, parallel_for, stop));
  const ModelConfig config = parts->weights->config();
  const int64_t weight_bytes = parts->weights->bytes();
  SHIRA_ASSIGN_OR_RETURN(parts->executor, CreateExecutor(parts->weights, options, *parts->team));
  WeightMemory& memory = parts->executor->weights();
  int64_t elements = 0;
  for (const ParameterShape& parameter : memory.parameters().parameters()) {
    elements += parameter.elements();
  }
  parts->switch_engine =
      std::make_unique<SwitchEngine>(memory, SwitchEngine::Options{.parallel_for = parallel_for});
  parts->weight_guard = std::make_unique<WeightGuard>(*parts->switch_engine);
  parts->reader = std::make_unique<AdapterReader>(
      IdentityOf(*parts->switch_engine, config, std::move(model.names)),
      AdapterLimits{.max_file_bytes = static_cast<uint64_t>(options.max_adapter_bytes),
                    .max_entries = options.max_adapter_entries});
  SHIRA_ASSIGN_OR_RETURN(Engine::Options engine_options,
                         EngineOptions(options, *parts->executor, *parts->switch_engine));
  engine_options.preparation = {
      .max_ahead = options.lifecycle.max_concurrent_loads,
      .run = [&disk_work](std::string_view client, std::function<void()> work) {
        return disk_work.Add(client, std::move(work));
      }};
  parts->engine = std::make_unique<Engine>(engine_options, *parts->executor, *parts->switch_engine);
  SHIRA_ASSIGN_OR_RETURN(parts->lifecycle,
                         AdapterLifecycle::Create(LifecycleOptionsOf(options, *parts->engine),
                                                  *parts->reader, *parts->switch_engine));

  const std::optional<ChatTemplate>& chat_template = parts->text.chat_template;
  std::unique_ptr<LoadedModel> loaded(new LoadedModel(std::move(parts)));
  Parts& owned = *loaded->parts_;
  loaded->backend_ = std::make_unique<const Backend>(
      Backend{.model = {.name = model.weights->name(),
                        .architecture = config.architecture,
                        .parameter_count = elements,
                        .dtype = std::string(ResidentDTypeName(options.dtype)),
                        .weight_bytes = weight_bytes,
                        .vocab_size = owned.executor->vocab_size(),
                        .context_length = static_cast<int32_t>(owned.engine->context_length()),
                        .num_layers = static_cast<int32_t>(config.num_layers),
                        .hidden_size = static_cast<int32_t>(config.hidden_size),
                        .end_of_generation_ids = EndOfGenerationIds(config, *owned.text.tokenizer),
                        .has_chat_template = chat_template.has_value(),
                        .base_sha256 = owned.switch_engine->base_digest().Hex(),
                        .server_version = std::string(kVersion)},
              .limits = {.vocab_size = owned.executor->vocab_size(),
                         .max_tokens = options.max_tokens,
                         .max_prompt_tokens = options.max_prompt_tokens,
                         .max_choices =
                             static_cast<int>(std::min(options.max_choices, options.max_running))},
              .tokenizer = *owned.text.tokenizer,
              .chat_template = chat_template.has_value() ? &*chat_template : nullptr,
              .chat_template_problem = owned.text.chat_template_problem,
              .lifecycle = *owned.lifecycle,
              .switch_engine = *owned.switch_engine,
              .weight_guard = *owned.weight_guard,
              .engine = *owned.engine,
              .adapter_memory_budget_bytes = options.adapter_memory_bytes});
  return loaded;
}

}  // namespace shira
