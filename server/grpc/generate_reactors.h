// File: server/grpc/generate_reactors.h
//
// The two kinds of call that carry an answer: all at once, or as it comes. Each object is one call
// and deletes itself when gRPC is done with it.
//
// Threads: Start() runs in the handler, events of AnswerSink come on the engine's thread, or on the
// one that tokenises when that fails, reactions (OnCancel, OnWriteDone, OnDone) on gRPC's. gRPC holds
// reactions back until the handler has returned, so none of them overtakes Start(). Every started generation ends with exactly one OnSummary
// or OnError, and only these two finish the call; so OnDone comes after the sink's last event.

#ifndef SHIRA_SERVER_GRPC_GENERATE_REACTORS_H_
#define SHIRA_SERVER_GRPC_GENERATE_REACTORS_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/generation/answer.h"
#include "server/generation/generation_call.h"
#include "server/generation/service_context.h"
#include "shira/v1/inference.pb.h"

namespace shira {

// Generate: collects the answer in `response`.
class UnaryGenerateReactor final : public grpc::ServerUnaryReactor, private AnswerSink {
 public:
  // `response` is gRPC's, and lives until the call is done.
  explicit UnaryGenerateReactor(v1::GenerateResponse& response) : response_(response) {}

  void Start(const ServiceContext& service, const grpc::CallbackServerContext& context,
             const v1::GenerateRequest& request);

  void OnCancel() override { call_.Cancel(); }
  void OnDone() override { delete this; }

 private:
  void OnChunk(AnswerChunk chunk) override;
  void OnSummary(AnswerSummary summary) override;
  void OnError(absl::Status status) override;

  GenerationCall call_;
  v1::GenerateResponse& response_;
  std::vector<AnswerChunk> answers_;  // so far, by number
};

// StreamGenerate: one write at a time. What the engine makes during a write is merged into one
// chunk per answer, so a client that reads slowly gets fewer, longer chunks. One that leaves too
// much unread has its generation ended.
class StreamGenerateReactor final : public grpc::ServerWriteReactor<v1::StreamGenerateResponse>,
                                    private AnswerSink {
 public:
  void Start(const ServiceContext& service, const grpc::CallbackServerContext& context,
             const v1::GenerateRequest& request);

  void OnCancel() override { call_.Cancel(); }
  void OnWriteDone(bool ok) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnDone() override { delete this; }

 private:
  // What a thread does after it has changed the state below. Only one thread gets kWrite or kFinish
  // for a given state; after kFinish, and after releasing the lock with kNothing, the call may be
  // done and this object gone.
  enum class Step { kNothing, kWrite, kFinish };

  struct Pending {
    AnswerChunk chunk;
    int64_t bytes = 0;  // that it takes in memory
  };

  void OnChunk(AnswerChunk chunk) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnSummary(AnswerSummary summary) override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnError(absl::Status status) override ABSL_LOCKS_EXCLUDED(mutex_);

  // Ends the generation, and forgets what is not written.
  void Break(absl::Status why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Decides, and for kWrite fills outgoing_.
  Step NextStep() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Take(Step step) ABSL_LOCKS_EXCLUDED(mutex_);

  GenerationCall call_;
  // Filled by NextStep(), then gRPC's until the write is done.
  v1::StreamGenerateResponse outgoing_;
  // Constant once NextStep() has said kFinish.
  absl::Status end_status_;

  absl::Mutex mutex_;
  std::deque<Pending> pending_ ABSL_GUARDED_BY(mutex_);           // at most one per answer
  std::optional<AnswerSummary> summary_ ABSL_GUARDED_BY(mutex_);  // still to be written
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;                    // the sink had its last event
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  // The client is gone, or does not read: writes are pointless.
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t written_bytes_ ABSL_GUARDED_BY(mutex_) = 0;  // of outgoing_, while writing_
};

}  // namespace shira

#endif  // SHIRA_SERVER_GRPC_GENERATE_REACTORS_H_
