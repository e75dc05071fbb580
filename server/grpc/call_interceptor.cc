#include "server/grpc/call_interceptor.h"

#include <grpcpp/server_context.h>
#include <grpcpp/support/interceptor.h>

#include <string>
#include <string_view>
#include <utility>

#include "base/steady_clock.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/grpc/call_metadata.h"
#include "server/logging/request_scope.h"

namespace shira {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::ServerRpcInfo;

constexpr char kRequestIdMetadata[] = "x-request-id";

// The transport has let the call in; this says again as whom.
Identity IdentityOf(const AccessControl& access, const grpc::ServerContextBase& context) {
  absl::StatusOr<Identity> identity =
      access.Identify(CredentialsOf(context.client_metadata(), *context.auth_context()));
  return identity.ok() ? *std::move(identity) : Identity();
}

// What the API promises about errors (error_details.h).
std::string ReasonOf(const grpc::Status& status) {
  google::rpc::Status details;
  google::rpc::ErrorInfo info;
  if (status.ok() || !details.ParseFromString(status.error_details())) return "";
  for (const google::protobuf::Any& detail : details.details()) {
    if (detail.UnpackTo(&info)) return info.reason();
  }
  return "";
}

// Probes come every few seconds.
spdlog::level::level_enum LevelOf(std::string_view method) {
  return method.starts_with("/grpc.") ? spdlog::level::debug : spdlog::level::info;
}

class CallInterceptor final : public grpc::experimental::Interceptor {
 public:
  CallInterceptor(grpc::ServerContextBase& context, const char* method, const AccessControl& access,
                  CallRecords& records, const CallEndObserver& on_end)
      : context_(context), access_(access), records_(records), on_end_(on_end) {
    record_->method = method;
    record_->start = SteadyNow();
  }

  ~CallInterceptor() override { records_.Remove(&context_, record_); }

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_INITIAL_METADATA)) {
      Begin();
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      methods->GetSendTrailingMetadata()->emplace(kRequestIdMetadata, record_->request_id);
      End(methods->GetSendStatus());
    }
    // The service's method runs in here when a call begins.
    const RequestScope scope(record_->request_id);
    methods->Proceed();
  }

 private:
  void Begin() {
    const std::string_view wanted = FindOnly(context_.client_metadata(), kRequestIdMetadata);
    record_->request_id = IsRequestId(wanted) ? std::string(wanted) : NewRequestId();
    record_->peer = context_.peer();
    Identity identity = IdentityOf(access_, context_);
    record_->identity = std::move(identity.name);
    record_->roles = identity.roles;
    records_.Add(&context_, record_);
  }

  void End(const grpc::Status& status) const {
    const auto code = static_cast<absl::StatusCode>(status.error_code());
    on_end_(record_->method, code,
            LogCall(LevelOf(record_->method), *record_, code, ReasonOf(status)));
  }

  grpc::ServerContextBase& context_;
  const AccessControl& access_;
  CallRecords& records_;
  const CallEndObserver& on_end_;
  const std::shared_ptr<CallRecord> record_ = std::make_shared<CallRecord>();
};

class CallInterceptorFactory final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  CallInterceptorFactory(const AccessControl& access, CallRecords& records, CallEndObserver on_end)
      : access_(access), records_(records), on_end_(std::move(on_end)) {}

  grpc::experimental::Interceptor* CreateServerInterceptor(ServerRpcInfo* info) override {
    // gRPC owns it, and deletes it with the call.
    return new CallInterceptor(*info->server_context(), info->method(), access_, records_, on_end_);
  }

 private:
  const AccessControl& access_;
  CallRecords& records_;
  const CallEndObserver on_end_;
};

}  // namespace

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MakeCallInterceptors(
    const AccessControl& access, CallRecords& records, CallEndObserver on_end) {
  return std::make_unique<CallInterceptorFactory>(access, records, std::move(on_end));
}

}  // namespace shira
