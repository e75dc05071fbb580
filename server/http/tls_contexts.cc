#include "server/http/tls_contexts.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <spdlog/spdlog.h>

#include <string_view>
#include <utility>

#include "base/mapped_file.h"
#include "base/status_macros.h"
#include "base/steady_clock.h"
#include "base/steady_wait.h"
#include "base/strings.h"

namespace shira {
namespace {

constexpr uint64_t kMaxFileBytes = uint64_t{4} << 20;

// What OpenSSL says of its last error.
std::string LastError() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return "unknown error";
  char text[256];
  ERR_error_string_n(code, text, sizeof(text));
  return text;
}

absl::StatusOr<TlsContext> MakeContext(const TlsOptions& options) {
  const TlsFiles& files = options.files;
  SHIRA_RETURN_IF_ERROR(CheckTlsFiles(files));
  const auto refused = [](const std::string& path) {
    return absl::InvalidArgumentError(StrCat(path, " cannot be used for TLS: ", LastError()));
  };
  ERR_clear_error();
  TlsContext context(SSL_CTX_new(TLS_server_method()));
  SSL_CTX* const raw = context.get();
  if (raw == nullptr) return absl::InternalError(StrCat("no TLS: ", LastError()));
  SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION);
  // A resumed session would be let in by a certificate that was shown to authorities of before.
  SSL_CTX_set_options(raw, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                               SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_num_tickets(raw, 0);
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
  if (SSL_CTX_use_certificate_chain_file(raw, files.certificate.c_str()) != 1) {
    return refused(files.certificate);
  }
  if (SSL_CTX_use_PrivateKey_file(raw, files.key.c_str(), SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(raw) != 1) {
    return refused(files.key);
  }
  if (files.client_ca.empty()) return context;
  if (SSL_CTX_load_verify_locations(raw, files.client_ca.c_str(), nullptr) != 1) {
    return refused(files.client_ca);
  }
  STACK_OF(X509_NAME)* names = SSL_load_client_CA_file(files.client_ca.c_str());
  if (names == nullptr) return refused(files.client_ca);
  SSL_CTX_set_client_CA_list(raw, names);  // which owns them then
  SSL_CTX_set_verify(raw,
                     options.client_certificate_optional
                         ? SSL_VERIFY_PEER
                         : SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                     nullptr);
  return context;
}

absl::StatusOr<Sha256Digest> DigestOf(const TlsFiles& files) {
  Sha256 hash;
  for (const std::string& path : {files.certificate, files.key, files.client_ca}) {
    if (path.empty()) continue;
    SHIRA_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxFileBytes));
    hash.UpdateU64(text.size()).Update(text);
  }
  return hash.Finish();
}

std::string TextOf(const ASN1_STRING* text) {
  return std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                     static_cast<size_t>(ASN1_STRING_length(text)));
}

void AddCommonName(const X509* certificate, std::vector<std::string>& names) {
  const X509_NAME* subject = X509_get_subject_name(certificate);
  const int index = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (index < 0) return;
  unsigned char* utf8 = nullptr;
  const int length =
      ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, index)));
  if (length < 0) return;
  names.emplace_back(reinterpret_cast<const char*>(utf8), static_cast<size_t>(length));
  OPENSSL_free(utf8);
}

// As gRPC names them.
void AddAlternativeName(const GENERAL_NAME& name, std::vector<std::string>& names) {
  switch (name.type) {
    case GEN_DNS:
    case GEN_EMAIL:
    case GEN_URI:
      names.push_back(TextOf(name.d.ia5));
      break;
    case GEN_IPADD: {
      const std::string bytes = TextOf(name.d.iPAddress);
      char text[INET6_ADDRSTRLEN];
      const int family = bytes.size() == 4 ? AF_INET : AF_INET6;
      if (bytes.size() != 4 && bytes.size() != 16) break;
      if (inet_ntop(family, bytes.data(), text, sizeof(text)) != nullptr) names.push_back(text);
      break;
    }
    default:
      break;
  }
}

}  // namespace

absl::StatusOr<std::shared_ptr<TlsContexts>> TlsContexts::Create(TlsOptions options) {
  std::shared_ptr<TlsContexts> contexts(new TlsContexts(std::move(options)));
  SHIRA_RETURN_IF_ERROR(contexts->Reload());
  contexts->watcher_ = std::thread([contexts = contexts.get()] { contexts->WatchFiles(); });
  return contexts;
}

TlsContexts::TlsContexts(TlsOptions options) : options_(std::move(options)) {}

TlsContexts::~TlsContexts() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  if (watcher_.joinable()) watcher_.join();
}

TlsContext TlsContexts::Current() const {
  absl::MutexLock lock(&mutex_);
  SSL_CTX_up_ref(current_.get());
  return TlsContext(current_.get());
}

absl::Status TlsContexts::Reload() {
  SHIRA_ASSIGN_OR_RETURN(const Sha256Digest digest, DigestOf(options_.files));
  {
    absl::MutexLock lock(&mutex_);
    if (current_ != nullptr && digest == files_digest_) return absl::OkStatus();
  }
  // Should they change in between, the next look finds another digest.
  SHIRA_ASSIGN_OR_RETURN(TlsContext context, MakeContext(options_));
  absl::MutexLock lock(&mutex_);
  if (current_ != nullptr) spdlog::info("http: the files of TLS were read again");
  current_ = std::move(context);
  files_digest_ = digest;
  return absl::OkStatus();
}

void TlsContexts::WatchFiles() {
  absl::Status last_error;
  while (true) {
    {
      absl::MutexLock lock(&mutex_);
      if (AwaitUntil(mutex_, absl::Condition(&stopping_), SteadyNow() + options_.reload_interval)) {
        return;
      }
    }
    const absl::Status status = Reload();
    if (!status.ok() && status != last_error) {
      spdlog::error("http: the files of TLS are not used, and those before stay in force: {}",
                    status.ToString());
    }
    last_error = status;
  }
}

std::vector<std::string> ClientCertificateNames(const SSL* connection) {
  std::vector<std::string> names;
  X509* const certificate = SSL_get1_peer_certificate(connection);
  if (certificate == nullptr) return names;
  AddCommonName(certificate, names);
  if (auto* alternatives = static_cast<GENERAL_NAMES*>(
          X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr))) {
    for (int i = 0; i < sk_GENERAL_NAME_num(alternatives); ++i) {
      AddAlternativeName(*sk_GENERAL_NAME_value(alternatives, i), names);
    }
    GENERAL_NAMES_free(alternatives);
  }
  X509_free(certificate);
  return names;
}

}  // namespace shira
