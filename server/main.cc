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
#include <string_view>
#include <thread>
#include <utility>

#include "absl/strings/str_replace.h"
#include "absl/synchronization/notification.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/logging/log_setup.h"
#include "server/server.h"
#include "server/server_flags.h"

namespace shira {
namespace {

constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;

int Fail(int code, std::string_view message) {
  std::cerr << "shira-server: " << absl::StrReplaceAll(ToAbsl(message), {{"\r", ""}, {"\n", " "}})
            << std::endl;
  return code;
}

// The first SIGTERM or SIGINT notifies `stop`, the second ends the process. REQUIRES: called before
// any other thread exists, so that every thread inherits the blocked signals.
void HandleSignals(absl::Notification& stop) {
  signal(SIGPIPE, SIG_IGN);
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread([signals, &stop] {
    int signal = 0;
    sigwait(&signals, &signal);
    spdlog::info("{}: draining; once more ends at once", strsignal(signal));
    stop.Notify();
    sigwait(&signals, &signal);
    _exit(128 + signal);
  }).detach();
}

absl::Status Run(ServerOptions options, const absl::Notification& stop) {
  SHIRA_ASSIGN_OR_RETURN(const std::unique_ptr<Server> server, Server::Start(std::move(options)));
  if (const absl::Status loaded = server->Load(stop); !loaded.ok()) {
    return absl::IsCancelled(loaded) ? absl::OkStatus() : loaded;
  }
  server->ServeUntil(stop);
  return absl::OkStatus();
}

int Serve(ServerOptions options) {
  static auto& stop = *new absl::Notification();  // outlives the detached thread
  HandleSignals(stop);
  StartLogging({.level = options.log_level, .json = options.log_json});
  const absl::Status status = Run(std::move(options), stop);
  spdlog::shutdown();
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
      std::cout << "the config is in order" << std::endl;
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
