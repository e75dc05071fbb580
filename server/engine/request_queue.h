// File: server/engine/request_queue.h
//
// The generations that wait for their turn: bounded, first in first out, with a way out for those
// that end while they wait.

#ifndef SHIRA_SERVER_ENGINE_REQUEST_QUEUE_H_
#define SHIRA_SERVER_ENGINE_REQUEST_QUEUE_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "base/steady_clock.h"
#include "server/engine/sequence.h"
#include "server/engine/sequence_view.h"

namespace shira {

// Thread-compatible. A queued Sequence keeps its address.
class RequestQueue {
 public:
  explicit RequestQueue(int64_t capacity) : capacity_(capacity) {}

  // RESOURCE_EXHAUSTED when the queue is full.
  absl::Status CheckRoom() const;
  // REQUIRES: CheckRoom() is OK.
  void Push(std::unique_ptr<Sequence> sequence);

  bool empty() const { return sequences_.empty(); }
  int64_t size() const { return static_cast<int64_t>(sequences_.size()); }
  // In the order of arrival.
  std::vector<SequenceView> Views(SteadyTime now) const;

  void ForEach(absl::FunctionRef<void(const Sequence&)> visit) const;
  // nullptr when it is not queued.
  Sequence* Find(SequenceId id) const;
  std::unique_ptr<Sequence> Take(SequenceId id);
  // Removes those that `matches` selects; the others keep their order.
  std::vector<std::unique_ptr<Sequence>> TakeIf(absl::FunctionRef<bool(const Sequence&)> matches);

 private:
  using Sequences = std::deque<std::unique_ptr<Sequence>>;

  Sequences::const_iterator Position(SequenceId id) const;

  const int64_t capacity_;
  Sequences sequences_;
};

}  // namespace shira

#endif  // SHIRA_SERVER_ENGINE_REQUEST_QUEUE_H_
