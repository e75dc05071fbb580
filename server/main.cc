// shira-server: signals and exit codes. Flags are in server_flags.h, everything else is server.h.
//
// Exit codes: 0 after a drain, 1 for what went wrong at run time, 2 for wrong usage, 128 + N when a
// second signal N came.

#include <signal.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstring>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_replace.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/logging/line_writer.h"
#include "server/logging/log_setup.h"
#include "server/server.h"
#include "server/server_flags.h"

namespace shira {
namespace {

constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;

// How long the end of the process waits for the log's reader after a drain.
constexpr absl::Duration kLastLinesTimeout = absl::Seconds(1);

int Fail(int code, std::string_view message) {
  LineWriter error({.fd = STDERR_FILENO, .lost_line = [](int64_t) { return std::string(); }});
  error.Write(StrCat(
      "shira-server: ", absl::StrReplaceAll(ToAbsl(message), {{"\r", ""}, {"\n", " "}}), "\n"));
  error.Close(kLastLinesTimeout);
  return code;
}

// What signals act on; outlives the thread that waits for them.
class SignalTarget {
 public:
  const absl::Notification& stop() const { return stop_; }

  // nullptr: none, and SIGHUP does nothing.
  void SetServer(Server* server) {
    absl::MutexLock lock(&mutex_);
    server_ = server;
  }

  void OnSignal(int signal) {
    if (signal == SIGHUP) {
      absl::MutexLock lock(&mutex_);
      if (server_ != nullptr) server_->Reload();
      return;
    }
    if (stop_.HasBeenNotified()) _exit(128 + signal);
    spdlog::info("{}: draining; a second signal ends the process at once", strsignal(signal));
    stop_.Notify();
  }

 private:
  absl::Notification stop_;
  absl::Mutex mutex_;
  Server* server_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

// The first SIGTERM or SIGINT notifies stop(), the second ends the process; SIGHUP has the server
// read files again. REQUIRES: called before any other thread exists, so that every thread inherits
// the blocked signals.
void HandleSignals(SignalTarget& target) {
  signal(SIGPIPE, SIG_IGN);
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread([signals, &target] {
    while (true) {
      int signal = 0;
      sigwait(&signals, &signal);
      target.OnSignal(signal);
    }
  }).detach();
}

absl::Status Run(ServerOptions options, SignalTarget& signals) {
  SHIRA_ASSIGN_OR_RETURN(const std::unique_ptr<Server> server, Server::Start(std::move(options)));
  signals.SetServer(server.get());
  const absl::Cleanup no_server = [&] { signals.SetServer(nullptr); };
  const absl::Notification& stop = signals.stop();
  if (const absl::Status loaded = server->Load(stop); !loaded.ok()) {
    return absl::IsCancelled(loaded) ? absl::OkStatus() : loaded;
  }
  server->ServeUntil(stop);
  return absl::OkStatus();
}

int Serve(ServerOptions options) {
  static auto& signals = *new SignalTarget();
  HandleSignals(signals);
  StartLogging({.level = options.log_level, .json = options.log_json});
  const absl::Status status = Run(std::move(options), signals);
  StopLogging(kLastLinesTimeout);
  return status.ok() ? 0 : Fail(kExitFailure, ToStd(status.message()));
}

int Main(int argc, char** argv) {
  absl::StatusOr<CommandLine> command = ParseCommandLine(argc, argv);
  if (!command.ok()) return Fail(kExitUsage, ToStd(command.status().message()));
  switch (command->action) {
    case CommandLine::Action::kPrint:
      std::cout << command->text << std::flush;
      return std::cout.good() ? 0 : kExitFailure;
    case CommandLine::Action::kCheckConfig: {
      const absl::Status status = Server::CheckConfig(command->options);
      if (!status.ok()) return Fail(kExitFailure, ToStd(status.message()));
      std::cout << "the config is valid" << std::endl;
      return 0;
    }
    case CommandLine::Action::kServe:
      break;
  }
  return Serve(std::move(command->options));
}

}  // namespace
}  // namespace shira

int main(int argc, char** argv) { return shira::Main(argc, argv); }
