// File: server/server_options.h
//
// What the operator can choose. server_flags.cc fills it from the command line and the config file;
// nothing else in the program reads flags or the environment.

#ifndef SHIRA_SERVER_SERVER_OPTIONS_H_
#define SHIRA_SERVER_SERVER_OPTIONS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/dtype.h"
#include "server/lifecycle_options.h"

namespace shira {

struct NamedAdapter {
  std::string name;
  std::string path;
};

struct ServerOptions {
  std::string model;           // a Hugging Face folder or a .gguf file
  std::string device;          // of LibTorch's, which computes then; empty: the CPU, by our kernels
  DType dtype = DType::kBF16;  // of the resident weights: kF32, kBF16 or kF16
  std::string chat_template;   // a file; empty: the model's own
  int64_t context_length = 0;  // of the longest sequence; 0: as many positions as the model has
  int threads = 0;             // for computing; 0: all cores
  std::vector<std::string> base_model_names;  // empty: taken from the model

  // Addresses are HOST:PORT (port 0: any free one) or unix:PATH.
  std::string listen = "127.0.0.1:50051";
  std::string admin_listen;  // of the administration; empty: it is at `listen` too
  // Permits addresses that other machines reach, without authentication or encryption.
  bool insecure_listen_anywhere = false;
  std::string port_file;  // gets the port (or the unix:PATH) once the server serves; empty: none
  std::string admin_port_file;  // the same for `admin_listen`
  std::string http_listen;      // of OpenAI's API over HTTP; empty: none
  std::string http_port_file;   // the same for `http_listen`
  int64_t max_message_bytes = int64_t{16} << 20;
  int64_t message_memory_bytes = int64_t{256} << 20;  // of all requests that arrive or are running
  int64_t max_metadata_bytes = int64_t{16} << 10;     // of one call
  int64_t max_connections = 1024;                     // of each address
  int64_t max_calls_per_connection = 512;             // at a time
  absl::Duration drain_timeout = absl::Seconds(30);
  // From SIGTERM on the port stays open for so long at the least, so that balancers see its health
  // before it is gone: gRPC cancels calls that reach a server which has begun to close.
  absl::Duration drain_delay = absl::Seconds(1);
  absl::Duration keepalive = absl::Seconds(60);

  // Paths of PEM files; empty: none.
  std::string tls_certificate;  // the server's own chain; with it, all calls are over TLS
  std::string tls_key;
  std::string tls_client_ca;         // clients show a certificate that one of these signed
  bool tls_client_optional = false;  // or none, and then a token
  std::string access_file;           // who may call what (access_list.h); empty: no check
  // How often these files are looked at for changes.
  absl::Duration reload_interval = absl::Seconds(10);

  std::string metrics_listen;              // HOST:PORT of the metrics over HTTP; empty: none
  bool insecure_metrics_anywhere = false;  // it may be reached from other machines
  int64_t metrics_max_adapters = 100;      // that have figures of their own

  std::string log_level = "info";
  bool log_json = false;
  bool log_prompts = false;

  std::vector<std::string> adapter_roots;
  std::vector<NamedAdapter> adapters;  // loaded before the server serves
  int64_t adapter_memory_bytes = int64_t{4} << 30;
  LifecycleOptions lifecycle;
  int64_t max_adapters = 10'000;
  int64_t max_adapter_bytes = int64_t{4} << 30;    // of one adapter's files
  int64_t max_adapter_entries = int64_t{1} << 31;  // of one adapter

  int64_t max_queued = 1024;
  int64_t max_queued_per_client = 256;  // of one identity, or else of one host
  // Of answers that clients have not read; one of them may have an eighth.
  int64_t max_unread_bytes = int64_t{128} << 20;
  int64_t max_running = 16;  // answers at a time
  int64_t max_choices = 8;   // of one request
  int64_t step_tokens = 512;
  bool row_patching = true;  // where it is cheaper; false: never
  int64_t max_prefixes = 1024;
  bool speculate = false;  // drafts tokens for requests that do not say
  int64_t kv_cache_bytes = int64_t{1} << 30;
  int64_t max_prompt_tokens = 0;  // 0: as many as the context holds
  int64_t max_tokens = 4096;      // most new tokens that a request may ask for

  bool uses_tls() const { return !tls_certificate.empty(); }
  // Callers have to say who they are.
  bool authenticates() const { return !access_file.empty() || !tls_client_ca.empty(); }
};

// "NAME=PATH".
absl::StatusOr<NamedAdapter> ParseNamedAdapter(std::string_view text);

// "float32", "bfloat16" or "float16".
absl::StatusOr<DType> ParseResidentDType(std::string_view name);
std::string_view ResidentDTypeName(DType dtype);

// Whether only this machine can reach the address: a loopback host or a unix socket.
// INVALID_ARGUMENT if it is no address.
absl::StatusOr<bool> IsLocalAddress(std::string_view listen);

// What is wrong with the values themselves: INVALID_ARGUMENT lists every problem.
absl::Status ValidateValues(const ServerOptions& options);

// What is wrong with the paths: NOT_FOUND or FAILED_PRECONDITION names the first. Opens no file.
absl::Status CheckPaths(const ServerOptions& options);

}  // namespace shira

#endif  // SHIRA_SERVER_SERVER_OPTIONS_H_
