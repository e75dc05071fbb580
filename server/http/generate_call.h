// File: server/http/generate_call.h
//
// A request that asks for answers, all at once or as they come: one generation for each of its
// prompts.
//
// Threads: Start() runs on one of HTTP's threads or of the lane that tokenises; events of the
// generations come on the engine's thread, which only puts them down and wakes the exchange; what
// is written is made on the exchange's. The object lives until the exchange and every generation
// that was started have had their last event.

#ifndef SHIRA_SERVER_HTTP_GENERATE_CALL_H_
#define SHIRA_SERVER_HTTP_GENERATE_CALL_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "server/generation/answer.h"
#include "server/generation/generation_call.h"
#include "server/generation/service_context.h"
#include "server/http/answer_json.h"
#include "server/http/generation_request.h"
#include "server/http/http_call.h"
#include "server/http/http_server.h"

namespace shira {

class GenerateCall final : public HttpExchangeObserver,
                           public std::enable_shared_from_this<GenerateCall> {
 public:
  ~GenerateCall() override;

  // Made by HttpHandler::Handle(), so that a client that goes away while its request is read ends
  // it, too.
  static std::shared_ptr<GenerateCall> Observe(std::shared_ptr<HttpCall> call,
                                               const ServiceContext& service);

  // Starts the generations. When one of them cannot be started the call ends with that error.
  // REQUIRES: called once.
  void Start(const Backend& backend, HttpGeneration generation, bool is_chat)
      ABSL_LOCKS_EXCLUDED(mutex_);

  // The request is at fault, before Start().
  void Fail(const absl::Status& status) { call_->Finish(status); }

  void OnReady() override ABSL_LOCKS_EXCLUDED(mutex_);
  void OnDone(bool delivered) override ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // One generation.
  class Part;
  struct Pending {
    AnswerChunk chunk;  // its choice counted over all parts
    size_t part = 0;
    int64_t bytes = 0;  // that it takes in memory
  };

  GenerateCall(std::shared_ptr<HttpCall> call, const ServiceContext& service);

  absl::Status StartParts(HttpGeneration generation) ABSL_LOCKS_EXCLUDED(mutex_);
  int32_t ChoiceOf(size_t part, int32_t choice) const;
  AnswerHead Head() const;

  // Of the parts. All but OnChunk() may be the last event.
  void OnChunk(size_t part, AnswerChunk chunk) ABSL_LOCKS_EXCLUDED(mutex_);
  void OnSummary(size_t part, AnswerSummary summary) ABSL_LOCKS_EXCLUDED(mutex_);
  void OnError(size_t part, absl::Status status) ABSL_LOCKS_EXCLUDED(mutex_);

  // Ends all generations with the first error.
  void Break(absl::Status why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void AddPending(size_t part, AnswerChunk chunk, int64_t bytes)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void DropPending() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // After any change: has the exchange take what there is, or lets the object go.
  void Continue() ABSL_LOCKS_EXCLUDED(mutex_);
  bool HasSomethingToWrite() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  void WriteWhole(std::vector<AnswerChunk> answers, const std::vector<AnswerSummary>& summaries);
  void WriteChunks(std::deque<Pending> chunks);
  void WriteError(const absl::Status& status);
  // What became of the call, for its record, and its line. REQUIRES: all generations have ended.
  void Record(const absl::Status& status, const std::vector<AnswerSummary>& summaries);

  const ServiceContext& service_;
  const std::shared_ptr<HttpCall> call_;

  // Constant once generations are started.
  AnswerHead head_;  // without the id, which the first generation may set
  bool stream_ = false;
  bool with_usage_ = false;
  int32_t choices_ = 1;  // of each part
  std::vector<int32_t> stop_tokens_;
  std::vector<std::string> echoes_;  // by part
  std::vector<std::unique_ptr<Part>> parts_;
  bool any_started_ = false;

  // Of the exchange's thread.
  std::optional<AnswerStream> writer_;
  bool begun_ = false;                  // the stream
  std::vector<int64_t> written_bytes_;  // of what is being written, by part

  absl::Mutex mutex_;
  std::shared_ptr<GenerateCall> self_ ABSL_GUARDED_BY(mutex_);    // until the last part has ended
  size_t running_ ABSL_GUARDED_BY(mutex_) = 0;                    // parts; while starting, one more
  std::vector<AnswerSummary> summaries_ ABSL_GUARDED_BY(mutex_);  // by part
  std::vector<AnswerChunk> answers_ ABSL_GUARDED_BY(mutex_);      // whole ones, by choice
  std::deque<Pending> pending_ ABSL_GUARDED_BY(mutex_);           // at most one per choice
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;   // OnReady() will come
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;  // the last piece is made
  bool gone_ ABSL_GUARDED_BY(mutex_) = false;   // the exchange
};

}  // namespace shira

#endif  // SHIRA_SERVER_HTTP_GENERATE_CALL_H_
