// File: server/server_options.h
//
// What the operator can choose. main.cc fills it from flags; nothing else in the program reads
// flags or the environment.

#ifndef SHIRA_SERVER_SERVER_OPTIONS_H_
#define SHIRA_SERVER_SERVER_OPTIONS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/dtype.h"

namespace shira {

struct NamedAdapter {
  std::string name;
  std::string path;
};

struct ServerOptions {
  std::string model;                          // a Hugging Face folder or a .gguf file
  DType dtype = DType::kBF16;                 // of the resident weights: kF32, kBF16 or kF16
  int threads = 0;                            // for computing; 0: all cores
  std::vector<std::string> base_model_names;  // empty: taken from the model

  std::string listen = "127.0.0.1:50051";  // HOST:PORT (port 0: any free one) or unix:PATH
  bool allow_remote = false;               // `listen` may be more than this machine
  std::string port_file;  // gets the port (or the unix:PATH) once the server serves; empty: none
  int64_t max_message_bytes = int64_t{16} << 20;
  absl::Duration drain_timeout = absl::Seconds(30);

  std::vector<std::string> adapter_roots;
  std::vector<NamedAdapter> adapters;  // loaded before the server serves
  int64_t adapter_memory_bytes = int64_t{4} << 30;

  int64_t max_queued = 1024;
  int64_t max_running = 16;  // answers at a time
  int64_t max_choices = 8;   // of one request
  int64_t step_tokens = 512;
  bool row_patching = true;  // where it is cheaper; false: never
  int64_t max_prefixes = 1024;
  int64_t kv_cache_bytes = int64_t{1} << 30;
  int64_t max_tokens = 4096;  // most new tokens that a request may ask for
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
