// convert_floats DIRECTION IN OUT: converts a file of packed values; DIRECTION is f16-f32,
// bf16-f32, f32-f16 or f32-bf16.

#include <cstring>
#include <fstream>
#include <iostream>
#include <string>
#include <string_view>

#include "base/float_types.h"
#include "base/mapped_file.h"

namespace {

template <typename From, typename To, typename Convert>
std::string ConvertAll(absl::Span<const std::byte> in, Convert convert) {
  const size_t count = in.size() / sizeof(From);
  std::string out(count * sizeof(To), '\0');
  for (size_t i = 0; i < count; ++i) {
    From from;
    std::memcpy(&from, in.data() + i * sizeof(From), sizeof(From));
    const To to = convert(from);
    std::memcpy(out.data() + i * sizeof(To), &to, sizeof(To));
  }
  return out;
}

template <typename Half>
std::string Widen(absl::Span<const std::byte> in) {
  return ConvertAll<Half, float>(in, [](Half value) { return shira::ToFloat(value); });
}

template <typename Half>
std::string Narrow(absl::Span<const std::byte> in) {
  return ConvertAll<float, Half>(in, [](float value) { return shira::FromFloat<Half>(value); });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const std::string_view direction = argv[1];
  const absl::StatusOr<shira::MappedFile> in = shira::MappedFile::Open(argv[2]);
  if (!in.ok()) {
    std::cerr << in.status() << "\n";
    return 1;
  }
  std::string out;
  if (direction == "f16-f32") out = Widen<shira::Float16>(in->bytes());
  if (direction == "bf16-f32") out = Widen<shira::BFloat16>(in->bytes());
  if (direction == "f32-f16") out = Narrow<shira::Float16>(in->bytes());
  if (direction == "f32-bf16") out = Narrow<shira::BFloat16>(in->bytes());
  std::ofstream(argv[3], std::ios::binary) << out;
}
