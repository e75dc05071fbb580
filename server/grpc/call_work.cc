#include "server/grpc/call_work.h"

#include <utility>

#include "base/out_of_memory.h"
#include "server/generation/error_details.h"
#include "server/grpc/status_conversion.h"

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
  const absl::Status queued = lane.Add(
      records.Of(&context)->client(), [&context, reactor, work = std::move(work)] {
        reactor->Finish(context.IsCancelled() ? grpc::Status::CANCELLED
                                              : ToGrpcStatus(CatchOutOfMemory(work)));
      });
  if (!queued.ok()) reactor->Finish(ToGrpcStatus(WithReason(queued, "SERVER_BUSY")));
  return reactor;
}

}  // namespace shira
