// shira-server: flags, signals, exit codes. Everything else is server.h.
//
// Exit codes: 0 after a drain, 1 for what went wrong at run time, 2 for wrong usage, 128 + N when a
// second signal N came.

#include <signal.h>
#include <spdlog/async.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_replace.h"
#include "absl/synchronization/notification.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/server.h"
#include "server/server_options.h"
#include "server/version.h"

namespace shira {
namespace {

constexpr int kExitFailure = 1;
constexpr int kExitUsage = 2;

// The flags as they come from the command line; units are the operator's.
struct Flags {
  ServerOptions options;
  std::string dtype = std::string(ResidentDTypeName(ServerOptions().dtype));
  std::vector<std::string> adapters;  // NAME=PATH
  std::string row_patching = "auto";
  int64_t kv_cache_mb = ServerOptions().kv_cache_bytes >> 20;
  int64_t adapter_memory_mb = ServerOptions().adapter_memory_bytes >> 20;
  int64_t max_message_mb = ServerOptions().max_message_bytes >> 20;
  double drain_timeout_seconds = absl::ToDoubleSeconds(ServerOptions().drain_timeout);
  std::string log_level = "info";
};

void DefineFlags(CLI::App& app, Flags& flags) {
  ServerOptions& options = flags.options;
  const CLI::Range megabytes(1, 1 << 24);

  app.add_option("--model", options.model, "The base model: a Hugging Face folder or a .gguf file")
      ->required()
      ->group("Model");
  app.add_option("--dtype", flags.dtype, "Type of the weights in memory")
      ->check(CLI::IsMember({"float32", "bfloat16", "float16"}))
      ->capture_default_str()
      ->group("Model");
  app.add_option("--threads", options.threads, "Threads for computing; 0: one per core")
      ->capture_default_str()
      ->group("Model");
  app.add_option("--base-model", options.base_model_names,
                 "A name that adapters may know this model by (repeatable; default: what the model "
                 "says of itself)")
      ->take_all()
      ->allow_extra_args(false)
      ->group("Model");

  app.add_option("--adapter-root", options.adapter_roots,
                 "A folder below which clients may load adapters from (repeatable)")
      ->allow_extra_args(false)
      ->group("Adapters");
  app.add_option("--adapter", flags.adapters,
                 "An adapter to load before serving, from anywhere (repeatable)")
      ->type_name("NAME=PATH")
      ->allow_extra_args(false)
      ->group("Adapters");
  app.add_option("--adapter-memory-mb", flags.adapter_memory_mb,
                 "Memory for adapters and their compiled states, in MiB; unused ones are "
                 "read again from their files when it is short")
      ->check(megabytes)
      ->capture_default_str()
      ->group("Adapters");

  app.add_option("--listen", options.listen,
                 "Where to listen: HOST:PORT (port 0: any) or unix:PATH")
      ->capture_default_str()
      ->group("Network");
  app.add_flag("--allow-remote", options.allow_remote,
               "Permit a --listen address that other machines can reach. There is no TLS and no "
               "authentication yet")
      ->group("Network");
  app.add_option("--port-file", options.port_file,
                 "A file to write the port into (or unix:PATH) once the server serves")
      ->group("Network");
  app.add_option("--max-message-mb", flags.max_message_mb, "Largest request, in MiB")
      ->check(CLI::Range(1, 2047))
      ->capture_default_str()
      ->group("Network");
  app.add_option("--drain-timeout", flags.drain_timeout_seconds,
                 "Seconds that running generations get after SIGTERM")
      ->capture_default_str()
      ->group("Network");

  app.add_option("--max-queued", options.max_queued, "Most generations that wait")
      ->capture_default_str()
      ->group("Limits");
  app.add_option("--max-running", options.max_running, "Most answers that are generated at a time")
      ->capture_default_str()
      ->group("Limits");
  app.add_option("--max-choices", options.max_choices,
                 "Most answers to one request (and never more than --max-running)")
      ->capture_default_str()
      ->group("Limits");
  app.add_option("--kv-cache-mb", flags.kv_cache_mb, "Memory for keys and values, in MiB")
      ->check(megabytes)
      ->capture_default_str()
      ->group("Limits");
  app.add_option("--max-tokens", options.max_tokens, "Most new tokens of one generation")
      ->capture_default_str()
      ->group("Limits");

  app.add_option("--step-tokens", options.step_tokens,
                 "Most tokens of one forward pass; prompts are cut to pieces")
      ->capture_default_str()
      ->group("Scheduling");
  app.add_option("--row-patching", flags.row_patching,
                 "Whether one forward pass may serve several adapters: auto (where that is faster "
                 "than taking turns) or off")
      ->check(CLI::IsMember({"auto", "off"}))
      ->capture_default_str()
      ->group("Scheduling");
  app.add_option("--prefix-cache", options.max_prefixes,
                 "Beginnings of prompts to keep for later requests, in memory for keys and values "
                 "that is free; 0: none")
      ->capture_default_str()
      ->group("Scheduling");

  app.add_option("--log-level", flags.log_level, "Least important line to log")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}))
      ->capture_default_str();
  app.set_config("--config", "", "A file with flags, one \"name = value\" a line");
  app.set_version_flag("--version", StrCat("shira-server ", kVersion));
}

absl::StatusOr<ServerOptions> ToOptions(const Flags& flags) {
  ServerOptions options = flags.options;
  SHIRA_ASSIGN_OR_RETURN(options.dtype, ParseResidentDType(flags.dtype));
  for (const std::string& text : flags.adapters) {
    absl::StatusOr<NamedAdapter> adapter = ParseNamedAdapter(text);
    if (!adapter.ok()) {
      return absl::InvalidArgumentError(StrCat("--adapter: ", ToStd(adapter.status().message())));
    }
    options.adapters.push_back(*std::move(adapter));
  }
  options.row_patching = flags.row_patching == "auto";
  options.kv_cache_bytes = flags.kv_cache_mb << 20;
  options.adapter_memory_bytes = flags.adapter_memory_mb << 20;
  options.max_message_bytes = flags.max_message_mb << 20;
  options.drain_timeout = absl::Seconds(flags.drain_timeout_seconds);
  SHIRA_RETURN_IF_ERROR(ValidateValues(options));
  return options;
}

int Fail(int code, std::string_view message) {
  std::cerr << "shira-server: " << absl::StrReplaceAll(ToAbsl(message), {{"\r", ""}, {"\n", " "}})
            << std::endl;
  return code;
}

// Lines are written by a thread of their own, and dropped rather than waited for when stderr is
// stuck: the engine's thread logs too.
void StartLogging(const std::string& level) {
  spdlog::init_thread_pool(8192, 1);
  auto sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  auto logger =
      std::make_shared<spdlog::async_logger>("shira", std::move(sink), spdlog::thread_pool(),
                                             spdlog::async_overflow_policy::overrun_oldest);
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
  logger->flush_on(spdlog::level::info);
  spdlog::set_default_logger(std::move(logger));
  spdlog::set_level(spdlog::level::from_str(level));
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

int Main(int argc, char** argv) {
  CLI::App app("Inference server that switches SHiRA adapters in place.", "shira-server");
  Flags flags;
  DefineFlags(app, flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    return Fail(kExitUsage, StrCat(std::string_view(error.what()), " (--help lists the flags)"));
  }
  absl::StatusOr<ServerOptions> options = ToOptions(flags);
  if (!options.ok()) return Fail(kExitUsage, ToStd(options.status().message()));

  static auto& stop = *new absl::Notification();  // outlives the detached thread
  HandleSignals(stop);
  StartLogging(flags.log_level);
  const absl::Status status = Run(*std::move(options), stop);
  spdlog::shutdown();
  return status.ok() ? 0 : Fail(kExitFailure, ToStd(status.message()));
}

}  // namespace
}  // namespace shira

int main(int argc, char** argv) { return shira::Main(argc, argv); }
