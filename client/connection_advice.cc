#include "client/connection_advice.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/channel_arguments.h>

#include <memory>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "client/client_call.h"

namespace shira {
namespace {

constexpr char kAnything[] = "check that it runs and the address is right";

// Starts a TLS handshake with the default trust store, and looks at how it fails.
PeerTls Probe(const std::string& address, absl::Duration timeout) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  grpc::GenericStub stub(grpc::CreateCustomChannel(
      address, grpc::SslCredentials(grpc::SslCredentialsOptions()), arguments));
  ClientCall call({.timeout = timeout});
  const grpc::ByteBuffer request(nullptr, 0);
  grpc::ByteBuffer response;
  grpc::Status status;
  absl::Notification done;
  stub.UnaryCall(call.context(), "/grpc.health.v1.Health/Check", grpc::StubOptions(), &request,
                 &response, [&](grpc::Status result) {
                   status = std::move(result);
                   done.Notify();
                 });
  done.WaitForNotification();
  const bool answered = status.error_code() != grpc::StatusCode::UNAVAILABLE &&
                        status.error_code() != grpc::StatusCode::DEADLINE_EXCEEDED;
  return answered ? PeerTls::kYes : PeerTlsOf(status.error_message());
}

}  // namespace

PeerTls PeerTlsOf(absl::string_view message) {
  if (absl::StrContains(message, "wrong version number")) return PeerTls::kNo;
  if (absl::StrContains(message, "certificate verify failed")) return PeerTls::kUntrusted;
  if (absl::StrContains(message, "Hostname Verification") ||
      absl::StrContains(message, "Peer name")) {
    return PeerTls::kUntrusted;
  }
  return absl::StrContains(message, " alert ") ? PeerTls::kYes : PeerTls::kUnknown;
}

std::string ConnectionAdvice(const std::string& address, bool uses_tls, absl::string_view message,
                             absl::Duration timeout) {
  if (!uses_tls) {
    // It was there, and hung up.
    const bool closed = absl::StrContains(message, "Socket closed") ||
                        absl::StrContains(message, "Connection reset");
    const PeerTls peer = closed ? Probe(address, timeout) : PeerTls::kUnknown;
    if (peer == PeerTls::kUnknown || peer == PeerTls::kNo) return kAnything;
    return "the server speaks TLS, and this client does not: pass --tls-ca FILE, or --tls if the "
           "system trusts its certificate";
  }
  switch (PeerTlsOf(message)) {
    case PeerTls::kNo:
      return "the server does not speak TLS: leave out --tls, --tls-ca, --tls-cert and --tls-key";
    case PeerTls::kUntrusted:
      return "this client does not trust the server's certificate for that host: pass --tls-ca "
             "FILE "
             "with the certificate of the authority that signed it";
    case PeerTls::kYes:
      return "the server does not accept this client's certificate: pass --tls-cert and --tls-key";
    case PeerTls::kUnknown:
      break;
  }
  return kAnything;
}

}  // namespace shira
