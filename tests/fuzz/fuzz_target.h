// File: tests/fuzz/fuzz_target.h
//
// What every fuzz target shares. A target is one file with LLVMFuzzerTestOneInput(); it is linked
// with libFuzzer where clang builds it, and with replay_main.cc everywhere else.

#ifndef SHIRA_TESTS_FUZZ_FUZZ_TARGET_H_
#define SHIRA_TESTS_FUZZ_FUZZ_TARGET_H_

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "absl/types/span.h"

// Looks at one input. Never fails: a broken promise ends the process.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace shira::testing {

// Ends the process, as a sanitizer would, when a promise of the code is broken.
inline void Promise(bool holds, std::string_view promise) {
  if (holds) return;
  std::fprintf(stderr, "broken promise: %.*s\n", static_cast<int>(promise.size()), promise.data());
  std::abort();
}

inline std::string_view AsText(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

inline absl::Span<const std::byte> AsBytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

// Reads every byte, so that a view that leaves its buffer is seen.
inline void Touch(absl::Span<const std::byte> bytes) {
  for (const std::byte byte : bytes) {
    [[maybe_unused]] const volatile std::byte read = byte;
  }
}

}  // namespace shira::testing

#endif  // SHIRA_TESTS_FUZZ_FUZZ_TARGET_H_
