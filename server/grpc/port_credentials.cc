#include "server/grpc/port_credentials.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpcpp/security/auth_metadata_processor.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <algorithm>
#include <string>
#include <utility>

#include "base/strings.h"
#include "server/grpc/call_metadata.h"

namespace shira {
namespace {

constexpr std::string_view kPathHeader = ":path";

// Shared by both kinds of credentials. What a refusal tells is its code and message: gRPC ignores the
// metadata that a check wants to send (server_auth_filter.cc), lets no interceptor of a server
// answer instead of a service, and so leaves no way for an ErrorInfo.
class CallCheck {
 public:
  explicit CallCheck(CallCheckOptions options) : options_(std::move(options)) {}

  absl::Status Check(std::string_view method, int64_t metadata_bytes,
                     const CallerCredentials& credentials) const {
    absl::Status status = CheckSize(metadata_bytes);
    if (status.ok()) status = options_.access.Check(method, credentials);
    if (!status.ok()) options_.on_refused(method, status);
    return status;
  }

 private:
  absl::Status CheckSize(int64_t metadata_bytes) const {
    if (metadata_bytes <= options_.max_metadata_bytes) return absl::OkStatus();
    return absl::ResourceExhaustedError(StrCat("the call's metadata has ", metadata_bytes,
                                               " bytes, more than ", options_.max_metadata_bytes,
                                               " (--max-metadata-kb)"));
  }

  const CallCheckOptions options_;
};

// TLS: gRPC's own way to have calls checked.
class CheckingProcessor final : public grpc::AuthMetadataProcessor {
 public:
  explicit CheckingProcessor(CallCheck check) : check_(std::move(check)) {}

  bool IsBlocking() const override { return false; }

  grpc::Status Process(const InputMetadata& metadata, grpc::AuthContext* context,
                       OutputMetadata* /*consumed*/, OutputMetadata* /*response*/) override {
    int64_t bytes = 0;
    for (const auto& [name, value] : metadata) bytes += MetadataBytes(name.size(), value.size());
    const absl::Status status =
        check_.Check(FindOnly(metadata, kPathHeader), bytes, CredentialsOf(metadata, *context));
    return {static_cast<grpc::StatusCode>(status.code()), std::string(status.message())};
  }

 private:
  const CallCheck check_;
};

// Plain text: gRPC's C++ credentials for it take no check, its C ones do.
class CheckedPlainText final : public grpc::ServerCredentials {
 public:
  explicit CheckedPlainText(CallCheck check)
      : credentials_(grpc_insecure_server_credentials_create()) {
    grpc_server_credentials_set_auth_metadata_processor(
        credentials_, {.process = &Process,
                       .destroy = [](void* state) { delete static_cast<CallCheck*>(state); },
                       .state = new CallCheck(std::move(check))});
  }
  ~CheckedPlainText() override { grpc_server_credentials_release(credentials_); }

  // There is a check already.
  void SetAuthMetadataProcessor(
      const std::shared_ptr<grpc::AuthMetadataProcessor>& /*processor*/) override {}

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_);
  }

  static void Process(void* state, grpc_auth_context* /*context*/, const grpc_metadata* metadata,
                      size_t count, grpc_process_auth_metadata_done_cb done, void* user_data) {
    CallerCredentials credentials;
    std::string_view method;
    int64_t bytes = 0;
    for (size_t i = 0; i < count; ++i) {
      const std::string_view name = View(metadata[i].key);
      const std::string_view value = View(metadata[i].value);
      bytes += MetadataBytes(name.size(), value.size());
      if (name == kPathHeader) method = value;
      if (name == kAuthorizationHeader) credentials.authorizations.push_back(value);
    }
    const absl::Status status = static_cast<CallCheck*>(state)->Check(method, bytes, credentials);
    done(user_data, nullptr, 0, nullptr, 0, static_cast<grpc_status_code>(status.code()),
         std::string(status.message()).c_str());
  }

  static std::string_view View(const grpc_slice& slice) {
    return {reinterpret_cast<const char*>(GRPC_SLICE_START_PTR(slice)), GRPC_SLICE_LENGTH(slice)};
  }

  grpc_server_credentials* const credentials_;
};

}  // namespace

std::shared_ptr<grpc::ServerCredentials> PlainTextCredentials(CallCheckOptions check) {
  return std::make_shared<CheckedPlainText>(CallCheck(std::move(check)));
}

std::shared_ptr<grpc::ServerCredentials> TlsCredentials(const TlsOptions& options,
                                                        CallCheckOptions check) {
  using grpc::experimental::FileWatcherCertificateProvider;
  const bool asks_clients = !options.files.client_ca.empty();
  const auto interval =
      static_cast<unsigned>(std::max<int64_t>(1, absl::ToInt64Seconds(options.reload_interval)));
  grpc::experimental::TlsServerCredentialsOptions tls(
      std::make_shared<FileWatcherCertificateProvider>(options.files.key, options.files.certificate,
                                                       options.files.client_ca, interval));
  tls.watch_identity_key_cert_pairs();
  if (asks_clients) tls.watch_root_certs();
  tls.set_cert_request_type(!asks_clients ? GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE
                            : options.client_certificate_optional
                                ? GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY
                                : GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  std::shared_ptr<grpc::ServerCredentials> credentials =
      grpc::experimental::TlsServerCredentials(tls);
  credentials->SetAuthMetadataProcessor(
      std::make_shared<CheckingProcessor>(CallCheck(std::move(check))));
  return credentials;
}

}  // namespace shira
