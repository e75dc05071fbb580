// File: client/client.h
//
// The client of a shira server: one blocking method per call of proto/shira/v1, with the messages
// of that API (its files describe every field) and absl::Status for errors.
//
//   #include "shira/client/client.h"
//
//   shira::Client client({.address = "127.0.0.1:50051"});
//   if (absl::Status ready = client.WaitUntilReady({.timeout = absl::Seconds(30)}); !ready.ok())
//   return ready;
//
//   shira::v1::GenerateRequest request;
//   request.set_prompt("Ahoy");
//   request.mutable_adapter()->add_adapters()->set_name("pirate");
//   request.mutable_stop()->set_max_tokens(64);
//   absl::StatusOr<shira::v1::GenerateSummary> summary = client.StreamGenerate(request, [](const
//   auto& chunk) {
//     std::cout << chunk.text() << std::flush;
//     return true;  // false stops the generation
//   });
//
// Errors: the status that the server answered, with its google.rpc.ErrorInfo (see error_info.h);
// UNAVAILABLE without ErrorInfo when the server cannot be reached, also in what RetryOptions
// allows; DEADLINE_EXCEEDED after CallOptions::timeout; CANCELLED after CallOptions::cancellation.

#ifndef SHIRA_CLIENT_CLIENT_H_
#define SHIRA_CLIENT_CLIENT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "client/cancellation.h"
#include "shira/v1/adapter_admin.pb.h"
#include "shira/v1/inference.pb.h"
#include "shira/v1/operations.pb.h"

namespace grpc {
class ChannelCredentials;
}  // namespace grpc

namespace shira {

// Calls that change nothing are made again when they get UNAVAILABLE before anything of an answer
// came: those of Inference (a stream until its first message) and Operations, ListAdapters,
// GetAdapter, ListAliases and GetResidentState. That is gRPC's own retry, within the call's
// deadline. All other calls of the administration are made once.
struct RetryOptions {
  // The first one included; 1: none is made again. gRPC makes 5 at most.
  int max_attempts = 4;
  // Before the second attempt, doubled with each further one; gRPC waits a random part of it.
  absl::Duration initial_backoff = absl::Milliseconds(200);
  absl::Duration max_backoff = absl::Seconds(2);
};

struct ClientOptions {
  // Host and port, or any other gRPC target ("unix:/run/shira.sock", "dns:///shira.example:443").
  std::string address = "127.0.0.1:50051";
  // TLS, with or without a certificate of the client: made by TlsCredentials() (tls.h) or with
  // gRPC's own functions. Null: plain text.
  std::shared_ptr<grpc::ChannelCredentials> credentials = nullptr;
  // A bearer token that goes with every call, also over plain text: give none to a connection that
  // others can listen to. Visible ASCII characters. Empty: none.
  std::string token = {};
  RetryOptions retry = {};
  // A larger reply becomes RESOURCE_EXHAUSTED. gRPC's own default is 4 MB, which the ids of a text
  // of 5 MB exceed; the server takes requests of 16 MiB unless told otherwise.
  int max_reply_bytes = 256 << 20;
  // Whether the http_proxy variables of the environment apply.
  bool use_http_proxy = false;
};

struct CallOptions {
  // From the start of the call. Infinite: no deadline.
  absl::Duration timeout = absl::InfiniteDuration();
  // Not owned; may be null.
  Cancellation* cancellation = nullptr;
};

// The overall health of a server (grpc.health.v1).
enum class HealthStatus {
  kServing,
  // The model is being loaded, or the server shuts down.
  kNotServing,
  // Reachable, but it does not say.
  kUnknown,
};

struct ReadyProgress {
  // Since WaitUntilReady was called.
  absl::Duration elapsed;
  // A server answers at the address, but does not serve yet.
  bool reachable;
};

struct ReadyOptions {
  // Zero: one attempt.
  absl::Duration timeout = absl::Seconds(10);
  // Ready is a server that answers, even if it does not serve.
  bool reachable_is_enough = false;
  // Called from the waiting thread after each failed attempt, about ten times a second. May be
  // empty.
  std::function<void(const ReadyProgress&)> on_progress = nullptr;
  // Not owned; may be null.
  Cancellation* cancellation = nullptr;
};

// Thread-safe: methods may be called from any number of threads at once; each blocks until its call
// has ended.
class Client {
 public:
  // Connects with the first call. An address that leads nowhere shows as UNAVAILABLE there.
  explicit Client(ClientOptions options);
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;
  ~Client();

  // The address that it was made for.
  const std::string& address() const;

  // Waits until the server can be reached and serves. UNAVAILABLE, with the last obstacle in the
  // message, after the time-out. A server without a health service counts as serving.
  absl::Status WaitUntilReady(const ReadyOptions& options = {}) const;

  absl::StatusOr<HealthStatus> CheckHealth(const CallOptions& options = {}) const;

  // Inference.

  absl::StatusOr<v1::GenerateResponse> Generate(const v1::GenerateRequest& request,
                                                const CallOptions& options = {}) const;

  // Calls `on_chunk` in this thread for every piece of the answer, in order. Stops the generation
  // and returns CANCELLED as soon as it returns false. DATA_LOSS if the stream ends without a
  // summary.
  using ChunkCallback = absl::FunctionRef<bool(const v1::StreamGenerateResponse::Chunk&)>;
  absl::StatusOr<v1::GenerateSummary> StreamGenerate(const v1::GenerateRequest& request,
                                                     ChunkCallback on_chunk,
                                                     const CallOptions& options = {}) const;

  absl::StatusOr<v1::TokenizeResponse> Tokenize(const v1::TokenizeRequest& request,
                                                const CallOptions& options = {}) const;
  absl::StatusOr<v1::DetokenizeResponse> Detokenize(const v1::DetokenizeRequest& request,
                                                    const CallOptions& options = {}) const;
  absl::StatusOr<v1::GetModelResponse> GetModel(const CallOptions& options = {}) const;

  // Administration of adapters.

  absl::StatusOr<v1::LoadAdapterResponse> LoadAdapter(const v1::LoadAdapterRequest& request,
                                                      const CallOptions& options = {}) const;
  // The files' bytes, as much at a time as the caller likes; empty at the end. What it returns
  // lives until it is called again. An error ends the upload, which leaves nothing.
  using ByteSource = absl::FunctionRef<absl::StatusOr<absl::string_view>()>;
  absl::StatusOr<v1::UploadAdapterResponse> UploadAdapter(
      const v1::UploadAdapterRequest::Header& header, ByteSource next,
      const CallOptions& options = {}) const;

  absl::StatusOr<v1::CreateBlendResponse> CreateBlend(const v1::CreateBlendRequest& request,
                                                      const CallOptions& options = {}) const;
  absl::Status UnloadAdapter(const v1::UnloadAdapterRequest& request,
                             const CallOptions& options = {}) const;

  // All pages, of all adapters or of those that match the filters of `request`. `options.timeout`
  // holds for each of them.
  absl::StatusOr<std::vector<v1::Adapter>> ListAdapters(const CallOptions& options = {}) const;
  absl::StatusOr<std::vector<v1::Adapter>> ListAdapters(v1::ListAdaptersRequest request,
                                                        const CallOptions& options = {}) const;

  absl::StatusOr<v1::GetAdapterResponse> GetAdapter(const std::string& name,
                                                    const CallOptions& options = {}) const;

  absl::StatusOr<v1::PinAdapterResponse> PinAdapter(const std::string& name,
                                                    const CallOptions& options = {}) const;
  absl::StatusOr<v1::UnpinAdapterResponse> UnpinAdapter(const std::string& name,
                                                        const CallOptions& options = {}) const;

  // Aliases. `target`: an adapter's name, or name@version.
  absl::StatusOr<v1::Alias> SetAlias(const std::string& name, const std::string& target,
                                     const CallOptions& options = {}) const;
  absl::StatusOr<v1::Alias> RollbackAlias(const std::string& name,
                                          const CallOptions& options = {}) const;
  absl::Status DeleteAlias(const std::string& name, const CallOptions& options = {}) const;
  absl::StatusOr<std::vector<v1::Alias>> ListAliases(const CallOptions& options = {}) const;

  // Makes the weighted set resident, and the default of requests that name no adapter. An empty set
  // is the base.
  absl::StatusOr<v1::ApplyAdapterResponse> ApplyAdapter(
      absl::Span<const v1::WeightedAdapter> adapters, const CallOptions& options = {}) const;
  absl::StatusOr<v1::RevertAdapterResponse> RevertAdapter(const CallOptions& options = {}) const;
  absl::StatusOr<v1::GetResidentStateResponse> GetResidentState(
      const CallOptions& options = {}) const;

  // A mismatch is not an error: see the response.
  absl::StatusOr<v1::VerifyWeightsResponse> VerifyWeights(const CallOptions& options = {}) const;

  // Operations.

  // Answers also while the server loads its model or drains.
  absl::StatusOr<v1::GetServerStatusResponse> GetServerStatus(
      const CallOptions& options = {}) const;

 private:
  struct Stubs;

  std::string address_;
  bool uses_tls_;
  std::unique_ptr<const Stubs> stubs_;
};

}  // namespace shira

#endif  // SHIRA_CLIENT_CLIENT_H_
