#include "server/network/tls_files.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <filesystem>
#include <memory>

#include "absl/status/statusor.h"
#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace {

template <auto function>
struct Free {
  template <typename T>
  void operator()(T* object) const {
    function(object);
  }
};
using Bio = std::unique_ptr<BIO, Free<&BIO_free_all>>;
using Certificate = std::unique_ptr<X509, Free<&X509_free>>;
using PrivateKey = std::unique_ptr<EVP_PKEY, Free<&EVP_PKEY_free>>;

absl::StatusOr<Bio> Open(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    return absl::NotFoundError(StrCat(path, " does not exist"));
  }
  Bio file(BIO_new_file(path.c_str(), "r"));
  ERR_clear_error();
  if (file == nullptr) return absl::InvalidArgumentError(StrCat(path, " cannot be read"));
  return file;
}

// A key with a passphrase would have gRPC ask for it on the terminal.
int NoPassphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*data*/) { return -1; }

absl::StatusOr<Certificate> ReadCertificate(const std::string& path) {
  SHIRA_ASSIGN_OR_RETURN(const Bio file, Open(path));
  Certificate certificate(PEM_read_bio_X509(file.get(), nullptr, &NoPassphrase, nullptr));
  ERR_clear_error();
  if (certificate == nullptr) {
    return absl::InvalidArgumentError(StrCat(path, " does not begin with a PEM certificate"));
  }
  if (X509_cmp_current_time(X509_get0_notAfter(certificate.get())) < 0) {
    return absl::InvalidArgumentError(StrCat(path, ": the certificate has expired"));
  }
  if (X509_cmp_current_time(X509_get0_notBefore(certificate.get())) > 0) {
    return absl::InvalidArgumentError(StrCat(path, ": the certificate is not valid yet"));
  }
  return certificate;
}

absl::StatusOr<PrivateKey> ReadKey(const std::string& path) {
  SHIRA_ASSIGN_OR_RETURN(const Bio file, Open(path));
  PrivateKey key(PEM_read_bio_PrivateKey(file.get(), nullptr, &NoPassphrase, nullptr));
  ERR_clear_error();
  if (key == nullptr) {
    return absl::InvalidArgumentError(
        StrCat(path, " holds no PEM private key without a passphrase"));
  }
  return key;
}

}  // namespace

absl::Status CheckTlsFiles(const TlsFiles& files) {
  SHIRA_ASSIGN_OR_RETURN(const Certificate certificate, ReadCertificate(files.certificate));
  SHIRA_ASSIGN_OR_RETURN(const PrivateKey key, ReadKey(files.key));
  const bool fits = X509_check_private_key(certificate.get(), key.get()) == 1;
  ERR_clear_error();
  if (!fits) {
    return absl::InvalidArgumentError(
        StrCat(files.key, " is not the key of the certificate in ", files.certificate));
  }
  if (files.client_ca.empty()) return absl::OkStatus();
  return ReadCertificate(files.client_ca).status();
}

}  // namespace shira
