// File: tests/testutil/fake_services.h
//
// The services of fake_server.h, and what they share.

#ifndef SHIRA_TESTS_TESTUTIL_FAKE_SERVICES_H_
#define SHIRA_TESTS_TESTUTIL_FAKE_SERVICES_H_

#include <grpcpp/impl/codegen/service_type.h>
#include <grpcpp/support/status.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "shira/v1/adapter_admin.grpc.pb.h"
#include "shira/v1/inference.grpc.pb.h"
#include "shira/v1/operations.grpc.pb.h"

namespace shira::testing {

// What the services share.
struct FakeServerState {
  mutable absl::Mutex mutex;
  std::map<std::string, v1::Adapter> adapters ABSL_GUARDED_BY(mutex);
  std::vector<v1::AdapterIdentity> resident ABSL_GUARDED_BY(mutex);
  int64_t switches ABSL_GUARDED_BY(mutex) = 0;
  bool damaged ABSL_GUARDED_BY(mutex) = false;

  int unavailable ABSL_GUARDED_BY(mutex) = 0;  // calls to come
  int cancelled ABSL_GUARDED_BY(mutex) = 0;
  v1::GenerateRequest last_generate ABSL_GUARDED_BY(mutex);
  std::string last_routing_key ABSL_GUARDED_BY(mutex);
  v1::TokenizeRequest last_tokenize ABSL_GUARDED_BY(mutex);
  v1::DetokenizeRequest last_detokenize ABSL_GUARDED_BY(mutex);
  v1::LoadAdapterRequest last_load ABSL_GUARDED_BY(mutex);
  v1::CreateBlendRequest last_blend ABSL_GUARDED_BY(mutex);
  v1::UnloadAdapterRequest last_unload ABSL_GUARDED_BY(mutex);
  v1::ListAdaptersRequest last_list ABSL_GUARDED_BY(mutex);
  v1::UploadAdapterRequest::Header last_upload ABSL_GUARDED_BY(mutex);
  std::string last_upload_bytes ABSL_GUARDED_BY(mutex);
  std::map<std::string, v1::Alias> aliases ABSL_GUARDED_BY(mutex);
};

// `state` must outlive the services.
std::unique_ptr<grpc::Service> MakeFakeInferenceService(FakeServerState& state);
std::unique_ptr<grpc::Service> MakeFakeAdminService(FakeServerState& state, int page_size);
std::unique_ptr<grpc::Service> MakeFakeOperationsService(FakeServerState& state, std::string token);

// A status with a google.rpc.ErrorInfo, and RetryInfo if `retry_seconds` is above 0.
grpc::Status ErrorStatus(grpc::StatusCode code, const std::string& message,
                         const std::string& reason,
                         const std::map<std::string, std::string>& metadata, int retry_seconds = 0);

// UNAVAILABLE while FakeServer::MakeUnavailable() holds.
grpc::Status CheckAvailable(FakeServerState& state);

// 64 hexadecimal digits that follow from the name.
std::string FakeDigest(const std::string& name);

// What a call gets that names an adapter which was not loaded.
grpc::Status NoAdapter(const std::string& name);

}  // namespace shira::testing

#endif  // SHIRA_TESTS_TESTUTIL_FAKE_SERVICES_H_
