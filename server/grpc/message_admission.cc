#include "server/grpc/message_admission.h"

#include <grpcpp/impl/server_builder_option.h>
#include <grpcpp/impl/server_builder_plugin.h>
#include <grpcpp/support/channel_arguments.h>

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/time/time.h"

namespace shira {
namespace {

// As in our gRPC (bounded-messages.patch, src/core/ext/transport/chttp2/transport/internal.h).
struct Admission {
  bool (*admit)(Admission* self, const void* connection, size_t bytes);
  void (*release)(Admission* self, const void* connection, size_t bytes);
  int64_t timeout_ms;
};
constexpr char kAdmissionArgument[] = "grpc.message_admission";

struct SharedAdmission : Admission {
  explicit SharedAdmission(std::shared_ptr<MessageMemory> shared)
      : Admission{.admit =
                      [](Admission* self, const void* connection, size_t bytes) {
                        return Memory(self).Admit(connection, static_cast<int64_t>(bytes));
                      },
                  .release =
                      [](Admission* self, const void* connection, size_t bytes) {
                        Memory(self).Release(connection, static_cast<int64_t>(bytes));
                      },
                  .timeout_ms = absl::ToInt64Milliseconds(shared->options().timeout)},
        memory(std::move(shared)) {}

  static MessageMemory& Memory(Admission* self) {
    return *static_cast<SharedAdmission*>(self)->memory;
  }

  const std::shared_ptr<MessageMemory> memory;
};

SharedAdmission* AsShared(void* admission) {
  return static_cast<SharedAdmission*>(static_cast<Admission*>(admission));
}

// Connections may outlive their server: each holds the memory.
constexpr grpc_arg_pointer_vtable kSharedArgument = {
    .copy = [](void* admission) -> void* {
      return static_cast<Admission*>(new SharedAdmission(AsShared(admission)->memory));
    },
    .destroy = [](void* admission) { delete AsShared(admission); },
    .cmp = [](void* a, void* b) { return a < b   ? -1
                                         : a > b ? 1
                                                 : 0; }};

class AdmissionOption : public grpc::ServerBuilderOption {
 public:
  explicit AdmissionOption(std::shared_ptr<MessageMemory> memory) : admission_(std::move(memory)) {}

  void UpdateArguments(grpc::ChannelArguments* arguments) override {
    arguments->SetPointerWithVtable(kAdmissionArgument, static_cast<Admission*>(&admission_),
                                    &kSharedArgument);
  }
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>*) override {}

 private:
  SharedAdmission admission_;
};

}  // namespace

void AskBeforeReceiving(std::shared_ptr<MessageMemory> memory, grpc::ServerBuilder& builder) {
  builder.SetOption(std::make_unique<AdmissionOption>(std::move(memory)));
}

}  // namespace shira
