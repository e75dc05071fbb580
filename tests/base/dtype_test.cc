#include "base/dtype.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace shira {
namespace {

using ::testing::Optional;

TEST(DTypeTest, NamesAndSizesAreThoseOfSafetensors) {
  const struct {
    DType dtype;
    std::string_view name;
    size_t bytes;
  } kExpected[] = {{DType::kBool, "BOOL", 1}, {DType::kU8, "U8", 1},     {DType::kI8, "I8", 1},
                   {DType::kU16, "U16", 2},   {DType::kI16, "I16", 2},   {DType::kU32, "U32", 4},
                   {DType::kI32, "I32", 4},   {DType::kU64, "U64", 8},   {DType::kI64, "I64", 8},
                   {DType::kF16, "F16", 2},   {DType::kBF16, "BF16", 2}, {DType::kF32, "F32", 4},
                   {DType::kF64, "F64", 8}};
  for (const auto& expected : kExpected) {
    EXPECT_EQ(DTypeName(expected.dtype), expected.name);
    EXPECT_EQ(DTypeSize(expected.dtype), expected.bytes);
    EXPECT_THAT(ParseDType(expected.name), Optional(expected.dtype));
  }
}

TEST(DTypeTest, UnknownNamesHaveNoDType) {
  for (const std::string_view name : {"", "f32", "F8_E4M3", "F32 "}) {
    EXPECT_EQ(ParseDType(name), std::nullopt) << name;
  }
}

}  // namespace
}  // namespace shira
