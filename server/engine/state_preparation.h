// File: server/engine/state_preparation.h
//
// Gets the states of queued generations ready when their turn is near. A generation that waits holds
// its adapters' names, not their memory, so that a long queue takes none of it from others. Reading
// and compiling are done on other threads: the engine's waits for no disk.

#ifndef SHIRA_SERVER_ENGINE_STATE_PREPARATION_H_
#define SHIRA_SERVER_ENGINE_STATE_PREPARATION_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "server/engine/sequence.h"

namespace shira {

// Runs work for a client on another thread, soon. An error: not now.
using RunElsewhere =
    std::function<absl::Status(std::string_view client, std::function<void()> work)>;

// The engine's thread alone.
class StatePreparation {
 public:
  struct Options {
    // States that are prepared, or are ready and not yet taken.
    int64_t max_ahead = 4;
    RunElsewhere run;  // nullptr: on the engine's own thread
  };

  // `on_news` is called on other threads, when something is ready, until this object is destroyed.
  StatePreparation(Options options, std::function<void()> on_news);
  ~StatePreparation();

  enum class Progress {
    kReady,     // the sequence has its state
    kUnderWay,  // being read or compiled, or that is still to begin
    kNoMemory,  // it needs memory that is in use
    kFailed,
  };
  // The progress of a queued sequence; continues its preparation. `others_run`: some generation
  // holds memory that it will free. Only without one is a lack of memory a failure. Sets `error` on
  // failure.
  Progress Advance(Sequence& sequence, bool others_run, absl::Status& error);

  // Begins to prepare, if that is needed and there is room for it. For the next in the queue.
  void Begin(const Sequence& sequence, bool others_run);

  // It is not queued any more. Work under way for it is discarded.
  void Forget(SequenceId id);
  // A generation has ended: it may be worth trying again.
  void OnMemoryFreed() { ++freed_; }

 private:
  struct Job;   // one attempt, shared with the thread that makes it
  struct Bell;  // calls on_news, shared with these threads
  struct Entry {
    std::shared_ptr<Job> job;  // nullptr: there was no memory for it
    bool lacked_memory = false;
    bool others_had_memory = false;  // when the attempt began
    int64_t freed = 0;               // freed_ at that time
  };

  bool Start(const Sequence& sequence, bool others_run, Entry& entry);

  const Options options_;
  const std::shared_ptr<Bell> bell_;
  absl::flat_hash_map<SequenceId, Entry> entries_;
  int64_t ahead_ = 0;  // entries with a job
  int64_t freed_ = 0;
};

}  // namespace shira

#endif  // SHIRA_SERVER_ENGINE_STATE_PREPARATION_H_
