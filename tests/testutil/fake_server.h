// File: tests/testutil/fake_server.h
//
// A gRPC server with the services of the API and canned behaviour, for tests of clients. It serves
// on a free port of 127.0.0.1.
//
// Behaviour: the answer to a prompt, or to the last message of a conversation, is "You said:
// <text>", one character a token. Special prompts: "forever" does not end, "busy" is
// RESOURCE_EXHAUSTED with RetryInfo, "damaged" ends the stream without a summary, "drain" is
// UNAVAILABLE with ErrorInfo, "cut" is so after its first token. A token id is a code point.
// Adapters are whatever was loaded; paths that hold "missing" are refused, and so are uploads under
// such a name, at their header.

#ifndef SHIRA_TESTS_TESTUTIL_FAKE_SERVER_H_
#define SHIRA_TESTS_TESTUTIL_FAKE_SERVER_H_

#include <grpcpp/server.h>

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "shira/v1/adapter_admin.grpc.pb.h"
#include "shira/v1/inference.grpc.pb.h"
#include "tests/testutil/fake_services.h"

namespace shira::testing {

struct FakeServerOptions {
  // 0: a free one.
  int port = 0;
  bool has_health_service = true;
  // The bearer token that GetServerStatus wants; empty: none.
  std::string token = "";
  // Adapters per page of ListAdapters.
  int page_size = 2;
};

// Thread-safe.
class FakeServer {
 public:
  explicit FakeServer(const FakeServerOptions& options = {});
  ~FakeServer();

  int port() const { return port_; }
  std::string address() const;

  void SetServing(bool serving);

  // Makes VerifyWeights report one parameter that is not what the state makes of the base.
  void Damage() ABSL_LOCKS_EXCLUDED(state_.mutex);

  // The next so many calls of Generate, StreamGenerate, ListAdapters, LoadAdapter and UploadAdapter
  // get UNAVAILABLE.
  void MakeUnavailable(int calls) ABSL_LOCKS_EXCLUDED(state_.mutex);
  // What is left of them.
  int unavailable_calls() const ABSL_LOCKS_EXCLUDED(state_.mutex);

  // The last request of each kind.
  v1::GenerateRequest last_generate() const ABSL_LOCKS_EXCLUDED(state_.mutex);
  // The "shira-adapter" metadata that came with it; empty if none.
  std::string last_routing_key() const ABSL_LOCKS_EXCLUDED(state_.mutex);
  v1::TokenizeRequest last_tokenize() const ABSL_LOCKS_EXCLUDED(state_.mutex);
  v1::DetokenizeRequest last_detokenize() const ABSL_LOCKS_EXCLUDED(state_.mutex);
  v1::LoadAdapterRequest last_load() const ABSL_LOCKS_EXCLUDED(state_.mutex);
  v1::CreateBlendRequest last_blend() const ABSL_LOCKS_EXCLUDED(state_.mutex);
  v1::UnloadAdapterRequest last_unload() const ABSL_LOCKS_EXCLUDED(state_.mutex);
  v1::ListAdaptersRequest last_list() const ABSL_LOCKS_EXCLUDED(state_.mutex);
  v1::UploadAdapterRequest::Header last_upload() const ABSL_LOCKS_EXCLUDED(state_.mutex);
  std::string last_upload_bytes() const ABSL_LOCKS_EXCLUDED(state_.mutex);

  // Until so many endless generations were cancelled; false if it takes too long.
  bool WaitForCancelled(int count) const ABSL_LOCKS_EXCLUDED(state_.mutex);

 private:
  FakeServerState state_;
  const std::unique_ptr<grpc::Service> inference_;
  const std::unique_ptr<grpc::Service> admin_;
  const std::unique_ptr<grpc::Service> operations_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace shira::testing

#endif  // SHIRA_TESTS_TESTUTIL_FAKE_SERVER_H_
