#include "server/grpc/call_work.h"

#include <memory>
#include <utility>

#include "base/out_of_memory.h"
#include "server/generation/error_details.h"
#include "server/grpc/status_conversion.h"
#include "server/logging/request_scope.h"

namespace shira {

grpc::ServerUnaryReactor* FinishWith(grpc::CallbackServerContext& context,
                                     const absl::Status& status) {
  grpc::ServerUnaryReactor* reactor = context.DefaultReactor();
  reactor->Finish(ToGrpcStatus(status));
  return reactor;
}

grpc::ServerUnaryReactor* FinishOn(WorkQueue& lane, const CallRecords& records,
                                   grpc::CallbackServerContext& context,
                                   std::function<absl::Status()> work) {
  grpc::ServerUnaryReactor* reactor = context.DefaultReactor();
  const std::shared_ptr<CallRecord> record = records.Of(&context);
  auto run = [&context, reactor, record, work = std::move(work)] {
    grpc::Status status = grpc::Status::CANCELLED;
    if (!context.IsCancelled()) {
      const RequestScope scope(record->request_id);
      status = ToGrpcStatus(CatchOutOfMemory(work));
    }
    reactor->Finish(std::move(status));
  };
  const absl::Status queued = lane.Add(record->client(), std::move(run));
  if (!queued.ok()) reactor->Finish(ToGrpcStatus(WithReason(queued, "SERVER_BUSY")));
  return reactor;
}

}  // namespace shira
