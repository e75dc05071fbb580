// File: server/generation/backend.h
//
// What the services work on, and the gate that keeps calls out while it is not there: the port is
// open before the model is loaded and while the server drains.

#ifndef SHIRA_SERVER_GENERATION_BACKEND_H_
#define SHIRA_SERVER_GENERATION_BACKEND_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "adapters/switch/switch_engine.h"
#include "adapters/switch/weight_guard.h"
#include "server/engine/engine.h"
#include "server/generation/generate_request.h"
#include "server/jinja/chat_template.h"
#include "server/lifecycle/adapter_lifecycle.h"
#include "server/tokenizer/tokenizer.h"

namespace shira {

struct ModelInfo {
  std::string name;
  std::string architecture;
  int64_t parameter_count = 0;  // elements, tied ones once
  std::string dtype;            // "bfloat16" and so on
  int64_t weight_bytes = 0;
  int32_t vocab_size = 0;
  int32_t context_length = 0;  // tokens of prompt and answer together
  int32_t num_layers = 0;
  int32_t hidden_size = 0;
  std::vector<int32_t> end_of_generation_ids;
  bool has_chat_template = false;
  std::string base_sha256;
  std::string server_version;
};

// Everything is thread-safe, owned by the composition root, and outlives every call.
struct Backend {
  ModelInfo model;
  RequestLimits limits;
  const Tokenizer& tokenizer;
  const ChatTemplate* chat_template = nullptr;  // nullptr: the model has none that can be used
  std::string_view chat_template_problem = {};  // why not, where it has one
  AdapterLifecycle& lifecycle;
  SwitchEngine& switch_engine;
  WeightGuard& weight_guard;
  Engine& engine;
  int64_t adapter_memory_budget_bytes = 0;
};

// kLoading --Open--> kOpen --Close--> kClosed; kLoading --Close--> kClosed. Thread-safe.
class BackendGate {
 public:
  enum class State { kLoading, kOpen, kClosed };

  // REQUIRES: called once; `backend` outlives every call that Enter() let in.
  void Open(const Backend& backend) {
    backend_.store(&backend);
    State loading = State::kLoading;
    state_.compare_exchange_strong(loading, State::kOpen);
  }
  void Close() { state_.store(State::kClosed); }

  // UNAVAILABLE, reason MODEL_LOADING or SERVER_DRAINING, when the gate is not open.
  absl::StatusOr<const Backend*> Enter() const;

  // For reading only, without checking the gate; nullptr before Open().
  const Backend* Peek() const { return backend_.load(); }
  State state() const { return state_.load(); }

 private:
  std::atomic<const Backend*> backend_{nullptr};
  std::atomic<State> state_{State::kLoading};
};

}  // namespace shira

#endif  // SHIRA_SERVER_GENERATION_BACKEND_H_
