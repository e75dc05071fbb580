#include "base/sha256.h"

#include <openssl/evp.h>

#include <cstdlib>

#include "absl/strings/escaping.h"

namespace shira {

struct Sha256::Context {
  EVP_MD_CTX* evp = EVP_MD_CTX_new();
  ~Context() { EVP_MD_CTX_free(evp); }
};

namespace {

// OpenSSL fails here only when memory is exhausted or the library is broken: as fatal as a failing
// operator new.
void Require(bool succeeded) {
  if (!succeeded) std::abort();
}

}  // namespace

std::string Sha256Digest::Hex() const {
  return absl::BytesToHexString({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

Sha256::Sha256() : context_(std::make_unique<Context>()) {
  Require(context_->evp != nullptr);
  Require(EVP_DigestInit_ex(context_->evp, EVP_sha256(), nullptr) == 1);
}

Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

Sha256& Sha256::Update(absl::Span<const std::byte> bytes) {
  Require(EVP_DigestUpdate(context_->evp, bytes.data(), bytes.size()) == 1);
  return *this;
}

Sha256& Sha256::Update(std::string_view text) {
  return Update({reinterpret_cast<const std::byte*>(text.data()), text.size()});
}

Sha256& Sha256::UpdateU64(uint64_t value) {
  std::array<std::byte, 8> little_endian;
  for (size_t i = 0; i < little_endian.size(); ++i) {
    little_endian[i] = static_cast<std::byte>(value >> (8 * i));
  }
  return Update(absl::MakeConstSpan(little_endian));
}

Sha256Digest Sha256::Finish() {
  Sha256Digest digest;
  Require(EVP_DigestFinal_ex(context_->evp, digest.bytes.data(), nullptr) == 1);
  return digest;
}

Sha256Digest Sha256::Of(absl::Span<const std::byte> bytes) {
  return Sha256().Update(bytes).Finish();
}

Sha256Digest Sha256::Of(std::string_view text) { return Sha256().Update(text).Finish(); }

}  // namespace shira
