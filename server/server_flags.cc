#include "server/server_flags.h"

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_replace.h"
#include "absl/time/time.h"
#include "base/closest_name.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/config_file.h"
#include "server/grpc/grpc_build.h"
#include "server/version.h"

namespace shira {
namespace {

// The flags as they come from the command line; units are the operator's.
struct Flags {
  ServerOptions options;
  std::string dtype = std::string(ResidentDTypeName(ServerOptions().dtype));
  std::vector<std::string> adapters;  // NAME=PATH
  int64_t kv_cache_mb = ServerOptions().kv_cache_bytes >> 20;
  int64_t adapter_memory_mb = ServerOptions().adapter_memory_bytes >> 20;
  int64_t max_adapter_mb = ServerOptions().max_adapter_bytes >> 20;
  int64_t max_message_mb = ServerOptions().max_message_bytes >> 20;
  int64_t message_memory_mb = ServerOptions().message_memory_bytes >> 20;
  int64_t max_metadata_kb = ServerOptions().max_metadata_bytes >> 10;
  int64_t max_unread_mb = ServerOptions().max_unread_bytes >> 20;
  double keepalive_seconds = absl::ToDoubleSeconds(ServerOptions().keepalive);
  double drain_timeout_seconds = absl::ToDoubleSeconds(ServerOptions().drain_timeout);
  double drain_delay_seconds = absl::ToDoubleSeconds(ServerOptions().drain_delay);
  double reload_interval_seconds = absl::ToDoubleSeconds(ServerOptions().reload_interval);
  std::string row_patching = "auto";
  std::string speculate = "off";
  std::string log_format = "text";
  int64_t max_upload_mb = LifecycleOptions().max_upload_bytes >> 20;
  int64_t upload_quota_mb = LifecycleOptions().upload_quota_bytes >> 20;
  double verify_interval_seconds = 0;
  bool print_config = false;
  bool check_config = false;
};

constexpr int64_t kMaxMegabytes = 1 << 24;
constexpr int64_t kMaxConnections = 1 << 24;

template <typename T>
CLI::Option* Add(CLI::App& app, const char* group, const char* flag, T& value,
                 const char* description) {
  return app.add_option(flag, value, description)->group(group)->capture_default_str();
}

// One value each time it is given; in the config file, an array.
CLI::Option* AddRepeatable(CLI::App& app, const char* group, const char* flag,
                           std::vector<std::string>& values, const char* description) {
  return app.add_option(flag, values, description)
      ->take_all()
      ->allow_extra_args(false)
      ->group(group);
}

void DefineModelFlags(CLI::App& app, Flags& flags) {
  ServerOptions& options = flags.options;
  const char* const group = "Model";
  Add(app, group, "--model", options.model,
      "The base model: a Hugging Face folder or a GGUF file (required)");
  Add(app, group, "--chat-template", options.chat_template,
      "A file with a chat template (Jinja) to use instead of the model's own; one that cannot be "
      "used ends the start");
  Add(app, group, "--dtype", flags.dtype, "Type of the weights in memory")
      ->check(CLI::IsMember({"float32", "bfloat16", "float16"}));
  Add(app, group, "--device", options.device,
      "Compute by LibTorch on this device (cpu, cuda, cuda:1), one adapter at a time; default: on "
      "the CPU by the server's own kernels, which are faster there");
  Add(app, group, "--context-length", options.context_length,
      "Most tokens of a prompt and its answer together; 0: as many as the model has positions for. "
      "Models whose positions are computed otherwise in long sequences (LongRoPE) go by it")
      ->check(CLI::Range(int64_t{0}, int64_t{INT32_MAX}));
  Add(app, group, "--threads", options.threads, "Threads that compute; 0: one per core");
  AddRepeatable(
      app, group, "--base-model", options.base_model_names,
      "A name by which adapters may call this model (repeatable; default: the names in the "
      "model's files)");
}

void DefineAdapterFlags(CLI::App& app, Flags& flags) {
  ServerOptions& options = flags.options;
  const char* const group = "Adapters";
  AddRepeatable(
      app, group, "--adapter-root", options.adapter_roots,
      "A folder below which clients may load adapters from, and save blends in (repeatable)");
  AddRepeatable(app, group, "--adapter", flags.adapters,
                "An adapter to load before serving, from anywhere; clients can't name its path "
                "(repeatable)")
      ->type_name("NAME=PATH");
  Add(app, group, "--adapter-memory-mb", flags.adapter_memory_mb,
      "Memory for adapters and their compiled states, in MiB; when it is full, unused ones leave "
      "it "
      "and are read from disk again when needed")
      ->check(CLI::Range(int64_t{1}, kMaxMegabytes));
}

void DefineLifecycleFlags(CLI::App& app, Flags& flags) {
  LifecycleOptions& options = flags.options.lifecycle;
  const char* const group = "Life of adapters";
  AddRepeatable(app, group, "--adapter-dir", options.adapter_dirs,
                "A folder whose subfolders and .shira files are loaded before serving, under their "
                "names; one that cannot be loaded is logged and skipped. Also an adapter root "
                "(repeatable)");
  Add(app, group, "--state-file", options.state_file,
      "File that keeps loaded adapters, aliases, pins, blends and the default state over restarts "
      "(default: none)");
  Add(app, group, "--upload-dir", options.upload_dir,
      "A folder of the server's own for the adapters that clients upload (default: uploads are "
      "refused)");
  Add(app, group, "--max-upload-mb", flags.max_upload_mb, "Largest upload, in MiB")
      ->check(CLI::Range(int64_t{1}, kMaxMegabytes));
  Add(app, group, "--upload-quota-mb", flags.upload_quota_mb, "Disk for all uploads, in MiB")
      ->check(CLI::Range(int64_t{1}, kMaxMegabytes));
  Add(app, group, "--keep-versions", options.keep_versions,
      "Older versions of each uploaded or blended adapter that are kept for rollback when it is "
      "replaced");
  Add(app, group, "--max-concurrent-loads", options.max_concurrent_loads,
      "Maximum number of adapters that are read from disk at a time; others wait");
  Add(app, group, "--verify-interval", flags.verify_interval_seconds,
      "Seconds that one background check of all weights takes; the next one follows. When damage "
      "is "
      "found, health becomes NOT_SERVING. 0: no checks");
}

void DefineNetworkFlags(CLI::App& app, Flags& flags) {
  ServerOptions& options = flags.options;
  const char* const group = "Network";
  Add(app, group, "--listen", options.listen,
      "Where to listen: HOST:PORT (port 0: any), a port alone (on 127.0.0.1) or unix:PATH");
  Add(app, group, "--admin-listen", options.admin_listen,
      "Separate address for the administration, which is then not served at --listen");
  app.add_flag("--insecure-listen-anywhere", options.insecure_listen_anywhere,
               "Allow addresses that other machines can reach without TLS and authentication")
      ->group(group);
  Add(app, group, "--port-file", options.port_file,
      "A file to write the port into (or unix:PATH) once the server serves");
  Add(app, group, "--admin-port-file", options.admin_port_file, "The same for --admin-listen");
  Add(app, group, "--http-listen", options.http_listen,
      "Address for OpenAI's API over HTTP, with the same TLS, tokens and limits (default: none)");
  Add(app, group, "--http-port-file", options.http_port_file, "As --port-file, for --http-listen");
  Add(app, group, "--keepalive", flags.keepalive_seconds,
      "Seconds without traffic after which a client is pinged; without an answer for as long "
      "again, "
      "its connection is closed and its generations are cancelled");
  Add(app, group, "--drain-timeout", flags.drain_timeout_seconds,
      "Seconds that running generations may take to end after SIGTERM");
  Add(app, group, "--drain-delay", flags.drain_delay_seconds,
      "Minimum number of seconds that the port stays open after SIGTERM, while new calls are "
      "refused: as long as a load balancer takes to see NOT_SERVING");
  Add(app, group, "--metrics-listen", options.metrics_listen,
      "HOST:PORT for Prometheus' metrics over HTTP; a port alone is on 127.0.0.1 (default: none)");
  app.add_flag("--insecure-metrics-anywhere", options.insecure_metrics_anywhere,
               "Allow a --metrics-listen address that other machines can reach")
      ->group(group);
  Add(app, group, "--metrics-max-adapters", options.metrics_max_adapters,
      "Maximum number of adapters with their own metrics; further ones are counted as \"other\"");
}

void DefineSecurityFlags(CLI::App& app, Flags& flags) {
  ServerOptions& options = flags.options;
  const char* const group = "Security";
  Add(app, group, "--tls-cert", options.tls_certificate,
      "The server's certificate chain (PEM); read again when it changes");
  Add(app, group, "--tls-key", options.tls_key, "Its private key (PEM)");
  Add(app, group, "--tls-client-ca", options.tls_client_ca,
      "Certificates (PEM) of the authorities that sign client certificates; clients must send one");
  app.add_flag("--tls-client-optional", options.tls_client_optional,
               "Clients may send a token instead of a certificate")
      ->group(group);
  Add(app, group, "--access-file", options.access_file,
      "Who may call what: a line per token or certificate, \"ROLE NAME CREDENTIAL\"; read again "
      "when it changes");
  Add(app, group, "--reload-interval", flags.reload_interval_seconds,
      "Seconds between checks of these files for changes");
}

void DefineLimitFlags(CLI::App& app, Flags& flags) {
  ServerOptions& options = flags.options;
  const char* const group = "Limits";
  const CLI::Range megabytes(int64_t{1}, kMaxMegabytes);
  Add(app, group, "--max-message-mb", flags.max_message_mb, "Largest request, in MiB")
      ->check(CLI::Range(1, 2047));
  Add(app, group, "--message-memory-mb", flags.message_memory_mb,
      "Memory for requests that arrive or are running, in MiB; one connection may have a quarter "
      "of it")
      ->check(megabytes);
  Add(app, group, "--max-metadata-kb", flags.max_metadata_kb,
      "Largest metadata of one call, in KiB; a call with more is refused")
      ->check(CLI::Range(4, 4096));
  Add(app, group, "--max-connections", options.max_connections,
      "Maximum number of connections to each address; further ones are closed at once. Lower if "
      "the "
      "system allows fewer open files")
      ->check(CLI::Range(int64_t{1}, kMaxConnections));
  Add(app, group, "--max-calls-per-connection", options.max_calls_per_connection,
      "Maximum number of concurrent calls per connection; clients hold further ones back")
      ->check(CLI::Range(int64_t{1}, kMaxConnections));
  Add(app, group, "--max-queued", options.max_queued, "Maximum number of queued generations");
  Add(app, group, "--max-queued-per-client", options.max_queued_per_client,
      "Maximum number of generations of one client (its identity, or else its host) that wait for "
      "their first token");
  Add(app, group, "--max-unread-mb", flags.max_unread_mb,
      "Memory for answers that clients have not read yet, in MiB; one client may use an eighth of "
      "it")
      ->check(megabytes);
  Add(app, group, "--max-running", options.max_running,
      "Maximum number of answers that are generated at a time");
  Add(app, group, "--max-choices", options.max_choices,
      "Maximum number of answers to one request (and never more than --max-running)");
  Add(app, group, "--kv-cache-mb", flags.kv_cache_mb,
      "KV cache: memory for keys and values, in MiB")
      ->check(megabytes);
  Add(app, group, "--max-prompt-tokens", options.max_prompt_tokens,
      "Maximum number of tokens of a prompt; 0: what the context holds");
  Add(app, group, "--max-tokens", options.max_tokens, "Maximum number of new tokens of one answer");
  Add(app, group, "--max-adapters", options.max_adapters, "Maximum number of adapters");
  Add(app, group, "--max-adapter-mb", flags.max_adapter_mb, "Largest adapter file, in MiB")
      ->check(megabytes);
  Add(app, group, "--max-adapter-entries", options.max_adapter_entries,
      "Maximum number of entries of one adapter");
}

void DefineSchedulingFlags(CLI::App& app, Flags& flags) {
  ServerOptions& options = flags.options;
  const char* const group = "Scheduling";
  Add(app, group, "--step-tokens", options.step_tokens,
      "Maximum number of tokens per forward pass; longer prompts run in chunks");
  Add(app, group, "--row-patching", flags.row_patching,
      "Whether one forward pass may serve several adapters: auto (where that is faster than taking "
      "turns) or off")
      ->check(CLI::IsMember({"auto", "off"}));
  Add(app, group, "--prefix-cache", options.max_prefixes,
      "Maximum number of prompt prefixes that are kept for later requests, in free KV cache "
      "memory; "
      "0: none");
  Add(app, group, "--speculate", flags.speculate,
      "Whether tokens are drafted, where that is faster, for requests that do not say: ngram (from "
      "what follows the last tokens earlier in prompt and answer) or off. Changes no token")
      ->check(CLI::IsMember({"ngram", "off"}));
}

void DefineLogFlags(CLI::App& app, Flags& flags) {
  const char* const group = "Log";
  Add(app, group, "--log-level", flags.options.log_level, "Least severe level to log")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}));
  Add(app, group, "--log-format", flags.log_format, "Plain text, or one JSON object per line")
      ->check(CLI::IsMember({"text", "json"}));
  app.add_flag("--log-prompts", flags.options.log_prompts,
               "Log prompts and answers too; without this flag they are never logged")
      ->group(group);
}

void DefineFlags(CLI::App& app, Flags& flags) {
  DefineModelFlags(app, flags);
  DefineAdapterFlags(app, flags);
  DefineLifecycleFlags(app, flags);
  DefineNetworkFlags(app, flags);
  DefineSecurityFlags(app, flags);
  DefineLimitFlags(app, flags);
  DefineSchedulingFlags(app, flags);
  DefineLogFlags(app, flags);
  const char* const group = "Config file";
  app.set_config("--config", "", "A file with flags, one \"name = value\" per line")->group(group);
  app.config_formatter(std::make_shared<ConfigReader>());
  app.allow_config_extras(CLI::config_extras_mode::error);
  app.add_flag("--print-config", flags.print_config,
               "Print the effective config, as a config file, and exit")
      ->configurable(false)
      ->group(group);
  app.add_flag("--check-config", flags.check_config,
               "Check every value and every file, and exit without loading the model's weights")
      ->configurable(false)
      ->group(group);
  app.set_version_flag("--version",
                       StrCat("shira-server ", kVersion, "\n", Describe(LinkedGrpc())));
}

// A port alone is on this machine.
std::string WithHost(const std::string& address) {
  const bool is_port =
      !address.empty() && address.find_first_not_of("0123456789") == std::string::npos;
  return is_port ? StrCat("127.0.0.1:", address) : address;
}

absl::StatusOr<ServerOptions> ToOptions(const Flags& flags) {
  ServerOptions options = flags.options;
  if (options.model.empty()) {
    return absl::InvalidArgumentError(
        "--model is required: a Hugging Face folder or a .gguf file (--help lists the flags)");
  }
  SHIRA_ASSIGN_OR_RETURN(options.dtype, ParseResidentDType(flags.dtype));
  for (const std::string& text : flags.adapters) {
    absl::StatusOr<NamedAdapter> adapter = ParseNamedAdapter(text);
    if (!adapter.ok()) {
      return absl::InvalidArgumentError(StrCat("--adapter: ", ToStd(adapter.status().message())));
    }
    options.adapters.push_back(*std::move(adapter));
  }
  for (std::string* address :
       {&options.listen, &options.admin_listen, &options.http_listen, &options.metrics_listen}) {
    *address = WithHost(*address);
  }
  options.row_patching = flags.row_patching == "auto";
  options.speculate = flags.speculate == "ngram";
  options.lifecycle.max_upload_bytes = flags.max_upload_mb << 20;
  options.lifecycle.upload_quota_bytes = flags.upload_quota_mb << 20;
  options.lifecycle.verify_interval = absl::Seconds(flags.verify_interval_seconds);
  options.kv_cache_bytes = flags.kv_cache_mb << 20;
  options.adapter_memory_bytes = flags.adapter_memory_mb << 20;
  options.max_adapter_bytes = flags.max_adapter_mb << 20;
  options.max_message_bytes = flags.max_message_mb << 20;
  options.message_memory_bytes = flags.message_memory_mb << 20;
  options.max_metadata_bytes = flags.max_metadata_kb << 10;
  options.max_unread_bytes = flags.max_unread_mb << 20;
  options.keepalive = absl::Seconds(flags.keepalive_seconds);
  options.drain_timeout = absl::Seconds(flags.drain_timeout_seconds);
  options.drain_delay = absl::Seconds(flags.drain_delay_seconds);
  options.reload_interval = absl::Seconds(flags.reload_interval_seconds);
  options.log_json = flags.log_format == "json";
  SHIRA_RETURN_IF_ERROR(ValidateValues(options));
  return options;
}

std::vector<std::string> FlagNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* flag : app.get_options()) {
    for (const std::string& name : flag->get_lnames()) names.push_back(StrCat("--", name));
  }
  return names;
}

// What CLI11 says of a key that is no flag speaks of the wrong format.
std::string Explain(const CLI::App& app, const CLI::ParseError& error) {
  std::string text = StrCat(absl::StrReplaceAll(
      error.what(), {{"INI was not able to parse ", "the config file has an unknown key: "}}));
  if (const std::vector<std::string> unknown = app.remaining(); !unknown.empty()) {
    const std::string flag = unknown.front().substr(0, unknown.front().find('='));
    const std::optional<std::string> meant = ClosestName(flag, FlagNames(app));
    if (meant.has_value()) StrAppend(&text, "; did you mean ", *meant, "?");
  }
  return StrCat(text, " (--help lists the flags)");
}

}  // namespace

absl::StatusOr<CommandLine> ParseCommandLine(int argc, const char* const* argv) {
  CLI::App app("Inference server that switches SHiRA adapters in place.", "shira-server");
  Flags flags;
  DefineFlags(app, flags);
  CommandLine command;
  command.action = CommandLine::Action::kPrint;
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    command.text = app.help();
    return command;
  } catch (const CLI::CallForVersion&) {
    command.text = StrCat(app.version(), "\n");
    return command;
  } catch (const CLI::ParseError& error) {
    return absl::InvalidArgumentError(Explain(app, error));
  }
  SHIRA_ASSIGN_OR_RETURN(command.options, ToOptions(flags));
  if (flags.print_config) {
    SHIRA_ASSIGN_OR_RETURN(command.text, EffectiveConfig(app));
  } else {
    command.action =
        flags.check_config ? CommandLine::Action::kCheckConfig : CommandLine::Action::kServe;
  }
  return command;
}

}  // namespace shira
