// File: server/loaded_model.h
//
// Everything that serves one model, from its weights to the engine, put together.

#ifndef SHIRA_SERVER_LOADED_MODEL_H_
#define SHIRA_SERVER_LOADED_MODEL_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/synchronization/notification.h"
#include "base/work_queue.h"
#include "server/generation/backend.h"
#include "server/model/weight_loader.h"
#include "server/server_options.h"
#include "server/text_tools.h"

namespace shira {

// What there is of a model before its weights are read: cheap to make, and where mistakes in paths
// and files come up.
struct ModelOnDisk {
  std::unique_ptr<WeightSource> weights;
  TextTools text;
  std::vector<std::string> names;  // that adapters may call it by

  static absl::StatusOr<ModelOnDisk> Open(const ServerOptions& options);
};

// Owns the graph; the engine's thread runs from Load() on.
class LoadedModel {
 public:
  // Reads the weights, with progress in the log, and starts the engine, which reads and compiles
  // adapters in `disk_work` until it is drained. CANCELLED when `stop` was notified meanwhile.
  static absl::StatusOr<std::unique_ptr<LoadedModel>> Load(ModelOnDisk model,
                                                           const ServerOptions& options,
                                                           WorkQueue& disk_work,
                                                           const absl::Notification& stop);
  ~LoadedModel();

  // As Engine::Drain.
  void Drain(absl::Duration timeout);

  // Lives as long as this object.
  const Backend& backend() const { return *backend_; }

 private:
  struct Parts;
  explicit LoadedModel(std::unique_ptr<Parts> parts);

  const std::unique_ptr<Parts> parts_;
  std::unique_ptr<const Backend> backend_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_LOADED_MODEL_H_
