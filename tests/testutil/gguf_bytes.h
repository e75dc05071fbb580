// File: tests/testutil/gguf_bytes.h
//
// Builds GGUF files for tests, byte by byte.

#ifndef SHIRA_TESTS_TESTUTIL_GGUF_BYTES_H_
#define SHIRA_TESTS_TESTUTIL_GGUF_BYTES_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace shira::testing {

// Writes the format field by field, right or wrong.
class GgufBytes {
 public:
  explicit GgufBytes(uint64_t tensors = 0, uint64_t metadata = 0, uint32_t version = 3) {
    bytes_ = "GGUF";
    Put(version).Put(tensors).Put(metadata);
  }

  template <typename T>
  GgufBytes& Put(T value) {
    static_assert(std::is_arithmetic_v<T>);
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(T));
    return *this;
  }
  GgufBytes& Text(std::string_view text) {
    Put(uint64_t{text.size()});
    bytes_.append(text);
    return *this;
  }
  // One metadata value; type is the format's number.
  template <typename T>
  GgufBytes& Value(std::string_view key, uint32_t type, T value) {
    return Text(key).Put(type).Put(value);
  }
  // One line of the tensor table; dimensions in the file's order, the fastest first.
  GgufBytes& Tensor(std::string_view name, const std::vector<uint64_t>& dimensions, uint32_t type,
                    uint64_t offset) {
    Text(name).Put(static_cast<uint32_t>(dimensions.size()));
    for (const uint64_t dimension : dimensions) Put(dimension);
    return Put(type).Put(offset);
  }
  GgufBytes& Data(std::string_view data, size_t alignment = 32) {
    bytes_.resize((bytes_.size() + alignment - 1) / alignment * alignment);
    bytes_.append(data);
    return *this;
  }

  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

}  // namespace shira::testing

#endif  // SHIRA_TESTS_TESTUTIL_GGUF_BYTES_H_
