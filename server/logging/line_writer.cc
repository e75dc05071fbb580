#include "server/logging/line_writer.h"

#include <limits.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/steady_clock.h"
#include "base/steady_wait.h"

namespace shira {
namespace {

// How long it may take the thread to see that it is no longer waited for.
constexpr int kLookMs = 100;

int64_t CountLines(std::string_view text) { return std::count(text.begin(), text.end(), '\n'); }

}  // namespace

class LineWriter::State {
 public:
  explicit State(Options options) : options_(std::move(options)) {}

  void Write(std::string_view line) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    if (closed_ || waiting_.size() + line.size() > options_.max_bytes) {
      ++dropped_;
      ++unmentioned_;
      return;
    }
    MentionLost();
    waiting_.append(line);
  }

  int64_t dropped() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return dropped_;
  }

  bool Close(absl::Duration timeout) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    if (!closed_) MentionLost();
    closed_ = true;
    AwaitUntil(mutex_, absl::Condition(&finished_), SteadyNow() + timeout);
    abandoned_ = !finished_;
    return finished_ && waiting_.empty();
  }

  // The thread.
  void Run() ABSL_LOCKS_EXCLUDED(mutex_) {
    std::string batch;
    while (Take(batch)) {
      const size_t written = WriteOut(batch);
      if (written == batch.size()) continue;
      absl::MutexLock lock(&mutex_);
      const int64_t lost = CountLines(std::string_view(batch).substr(written));
      dropped_ += lost;
      unmentioned_ += lost;
    }
    absl::MutexLock lock(&mutex_);
    finished_ = true;
  }

 private:
  void MentionLost() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (unmentioned_ > 0) waiting_.append(options_.lost_line(std::exchange(unmentioned_, 0)));
  }

  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return !waiting_.empty() || closed_;
  }

  bool Take(std::string& batch) ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    mutex_.Await(absl::Condition(this, &State::HasWork));
    batch.clear();
    if (!abandoned_) std::swap(batch, waiting_);
    return !batch.empty();
  }

  bool abandoned() const ABSL_LOCKS_EXCLUDED(mutex_) {
    absl::MutexLock lock(&mutex_);
    return abandoned_;
  }

  // How many bytes are written: all, unless the descriptor refuses them. What poll() lets through
  // fits a pipe as a whole, so that this waits in poll(), if others don't write there too.
  size_t WriteOut(std::string_view text) const ABSL_LOCKS_EXCLUDED(mutex_) {
    size_t written = 0;
    while (written < text.size()) {
      pollfd one{.fd = options_.fd, .events = POLLOUT, .revents = 0};
      if (poll(&one, 1, kLookMs) < 0 && errno != EINTR) break;
      if (abandoned()) break;
      if (one.revents == 0) continue;
      const size_t size = std::min<size_t>(text.size() - written, PIPE_BUF);
      const ssize_t now = write(options_.fd, text.data() + written, size);
      if (now >= 0) {
        written += static_cast<size_t>(now);
      } else if (errno != EINTR && errno != EAGAIN) {
        break;
      }
    }
    return written;
  }

  const Options options_;
  mutable absl::Mutex mutex_;
  std::string waiting_ ABSL_GUARDED_BY(mutex_);
  int64_t dropped_ ABSL_GUARDED_BY(mutex_) = 0;
  int64_t unmentioned_ ABSL_GUARDED_BY(mutex_) = 0;  // of dropped_: no line says so yet
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  bool abandoned_ ABSL_GUARDED_BY(mutex_) = false;  // closed without everything written
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;   // the thread
};

LineWriter::LineWriter(Options options) : state_(std::make_shared<State>(std::move(options))) {
  std::thread([state = state_] { state->Run(); }).detach();
}

LineWriter::~LineWriter() { Close(absl::ZeroDuration()); }

void LineWriter::Write(std::string_view line) { state_->Write(line); }
int64_t LineWriter::dropped() const { return state_->dropped(); }
bool LineWriter::Close(absl::Duration timeout) { return state_->Close(timeout); }

}  // namespace shira
