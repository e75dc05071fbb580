// File: base/sha256.h
//
// SHA-256 (OpenSSL's, which uses the processor's SHA instructions).

#ifndef SHIRA_BASE_SHA256_H_
#define SHIRA_BASE_SHA256_H_

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/types/span.h"

namespace shira {

// A value type: ordered, hashable.
struct Sha256Digest {
  std::array<uint8_t, 32> bytes{};

  // 64 lower-case hexadecimal digits.
  std::string Hex() const;

  auto operator<=>(const Sha256Digest&) const = default;
  template <typename H>
  friend H AbslHashValue(H h, const Sha256Digest& digest) {
    return H::combine(std::move(h), digest.bytes);
  }
};

// Incremental. Thread-compatible.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  Sha256& Update(absl::Span<const std::byte> bytes);
  Sha256& Update(std::string_view text);
  // Little-endian, 8 bytes: for lengths and counts between variable parts.
  Sha256& UpdateU64(uint64_t value);

  // REQUIRES: not called before on this object.
  Sha256Digest Finish();

  static Sha256Digest Of(absl::Span<const std::byte> bytes);
  static Sha256Digest Of(std::string_view text);

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

}  // namespace shira

#endif  // SHIRA_BASE_SHA256_H_
