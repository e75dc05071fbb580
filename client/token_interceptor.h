// File: client/token_interceptor.h
//
// Puts a bearer token on every call of a channel. gRPC's own call credentials would do so over TLS
// only, and a server on the same machine need not have TLS. Not installed.

#ifndef SHIRA_CLIENT_TOKEN_INTERCEPTOR_H_
#define SHIRA_CLIENT_TOKEN_INTERCEPTOR_H_

#include <grpcpp/support/client_interceptor.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace shira {

class TokenInterceptor final : public grpc::experimental::Interceptor {
 public:
  explicit TokenInterceptor(const std::string& header) : header_(header) {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(
            grpc::experimental::InterceptionHookPoints::PRE_SEND_INITIAL_METADATA))
      methods->GetSendInitialMetadata()->emplace("authorization", header_);
    methods->Proceed();
  }

 private:
  const std::string& header_;
};

class TokenInterceptorFactory final : public grpc::experimental::ClientInterceptorFactoryInterface {
 public:
  explicit TokenInterceptorFactory(const std::string& token) : header_("Bearer " + token) {}

  grpc::experimental::Interceptor* CreateClientInterceptor(
      grpc::experimental::ClientRpcInfo* /*info*/) override {
    return new TokenInterceptor(
        header_);  // gRPC owns it, and the channel, which owns this, lives longer
  }

 private:
  const std::string header_;
};

// None for an empty token.
inline std::vector<std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface>>
TokenInterceptors(const std::string& token) {
  std::vector<std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface>> creators;
  if (!token.empty()) creators.push_back(std::make_unique<TokenInterceptorFactory>(token));
  return creators;
}

}  // namespace shira

#endif  // SHIRA_CLIENT_TOKEN_INTERCEPTOR_H_
