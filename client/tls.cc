#include "client/tls.h"

#include <grpcpp/security/credentials.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace shira {
namespace {

// Empty for no path.
absl::StatusOr<std::string> Read(const std::string& path) {
  if (path.empty()) return std::string();
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  if (file) content << file.rdbuf();
  if (!file || content.str().empty()) {
    const std::string message =
        absl::StrCat(path, ": ", errno != 0 ? std::strerror(errno) : "is empty");
    return errno == ENOENT ? absl::NotFoundError(message) : absl::InvalidArgumentError(message);
  }
  return content.str();
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> TlsCredentials(
    const TlsClientFiles& files) {
  if (files.certificate_file.empty() != files.key_file.empty())
    return absl::InvalidArgumentError(
        "A client certificate needs its key, and a key its certificate");
  grpc::SslCredentialsOptions options;
  const std::pair<const std::string&, std::string&> reads[] = {
      {files.ca_file, options.pem_root_certs},
      {files.certificate_file, options.pem_cert_chain},
      {files.key_file, options.pem_private_key}};
  for (const auto& [path, into] : reads) {
    absl::StatusOr<std::string> content = Read(path);
    if (!content.ok()) return content.status();
    into = *std::move(content);
  }
  return grpc::SslCredentials(options);
}

}  // namespace shira
