#include "base/gguf_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "base/sha256.h"
#include "tests/testutil/gguf_bytes.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::GgufBytes;
using ::shira::testing::IsOk;
using ::shira::testing::IsOkAndHolds;
using ::shira::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Eq;
using ::testing::HasSubstr;
using ::testing::Optional;
using ::testing::StartsWith;
using ::testing::VariantWith;

constexpr uint64_t kHuge = UINT64_MAX / 2;

absl::StatusOr<GgufFile> Parse(const std::string& bytes) {
  return GgufFile::Parse({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()},
                         "x.gguf");
}
absl::StatusOr<GgufFile> Parse(const GgufBytes& bytes) { return Parse(bytes.bytes()); }

// Refused, with the file's name and `part` in the message.
auto RefusedWith(std::string part) {
  return StatusIs(absl::StatusCode::kInvalidArgument,
                  AllOf(StartsWith("x.gguf: "), HasSubstr(std::move(part))));
}

TEST(GgufFileTest, ReadsEveryTypeOfMetadata) {
  GgufBytes bytes(0, 13);
  bytes.Value("u8", 0, uint8_t{200}).Value("i8", 1, int8_t{-2}).Value("u16", 2, uint16_t{60000});
  bytes.Value("i16", 3, int16_t{-4}).Value("u32", 4, uint32_t{4000000000}).Value("i32", 5, -6);
  bytes.Value("f32", 6, 0.5f).Value("bool", 7, uint8_t{1}).Text("text").Put(uint32_t{8}).Text("t");
  bytes.Value("u64", 10, UINT64_MAX).Value("i64", 11, int64_t{-11}).Value("f64", 12, 0.1);
  bytes.Text("list").Put(uint32_t{9}).Put(uint32_t{8}).Put(uint64_t{2}).Text("a").Text("b");
  ASSERT_OK_AND_ASSIGN(const GgufFile file, Parse(bytes));
  EXPECT_EQ(file.metadata().size(), 13);
  EXPECT_THAT(file.GetInt("u8"), IsOkAndHolds(200));
  EXPECT_THAT(file.GetInt("i8"), IsOkAndHolds(-2));
  EXPECT_THAT(file.GetInt("u16"), IsOkAndHolds(60000));
  EXPECT_THAT(file.GetInt("i16"), IsOkAndHolds(-4));
  EXPECT_THAT(file.GetInt("u32"), IsOkAndHolds(4000000000));
  EXPECT_THAT(file.GetInt("i32"), IsOkAndHolds(-6));
  EXPECT_THAT(file.GetInt("i64"), IsOkAndHolds(-11));
  EXPECT_THAT(file.GetFloat("f32"), IsOkAndHolds(0.5));
  EXPECT_THAT(file.GetFloat("f64"), IsOkAndHolds(0.1));
  EXPECT_THAT(file.GetString("text"), IsOkAndHolds("t"));
  EXPECT_THAT(*file.FindMetadata("bool"), VariantWith<bool>(true));
  EXPECT_THAT(*file.FindMetadata("u64"), VariantWith<uint64_t>(UINT64_MAX));
  EXPECT_THAT(*file.FindMetadata("list"),
              VariantWith<std::vector<std::string>>(ElementsAre("a", "b")));
}

TEST(GgufFileTest, AccessorsNameFileAndKey) {
  GgufBytes bytes(0, 2);
  bytes.Value("number", 4, uint32_t{1}).Value("big", 10, UINT64_MAX);
  ASSERT_OK_AND_ASSIGN(const GgufFile file, Parse(bytes));
  EXPECT_EQ(file.FindMetadata("absent"), nullptr);
  const auto absent = StatusIs(absl::StatusCode::kNotFound, HasSubstr("x.gguf: metadata 'absent'"));
  EXPECT_THAT(file.GetInt("absent"), absent);
  EXPECT_THAT(file.GetFloat("absent"), absent);
  EXPECT_THAT(file.GetString("absent"), absent);
  EXPECT_THAT(file.GetFloat("number"), RefusedWith("'number' is not a floating-point number"));
  EXPECT_THAT(file.GetString("number"), RefusedWith("'number' is not a string"));
  EXPECT_THAT(file.GetInt("big"), RefusedWith("'big' is not an integer below 2^63"));
}

TEST(GgufFileTest, ATokenIdOfAllOnesIsNone) {
  GgufBytes bytes(0, 5);
  bytes.Value("seven", 4, 7u).Value("ones", 4, UINT32_MAX).Value("minus", 5, -1);
  bytes.Value("two", 5, -2).Text("text").Put(uint32_t{8}).Text("t");
  ASSERT_OK_AND_ASSIGN(const GgufFile file, Parse(bytes));
  EXPECT_THAT(file.GetTokenId("seven"), IsOkAndHolds(Optional(7)));
  EXPECT_THAT(file.GetTokenId("two"), IsOkAndHolds(Optional(-2)));
  for (const char* key : {"ones", "minus", "absent"}) {
    EXPECT_THAT(file.GetTokenId(key), IsOkAndHolds(Eq(std::nullopt))) << key;
  }
  EXPECT_THAT(file.GetTokenId("text"), RefusedWith("metadata 'text' is not an integer"));
}

TEST(GgufFileTest, TakesInTheTensorsOfAnotherFile) {
  GgufBytes first(1, 1), second(1, 0);
  first.Value("key", 4, 1u).Tensor("a", {1}, 0, 0).Data(std::string(4, '\1'));
  second.Tensor("b", {1}, 0, 0).Data(std::string(4, '\2'));
  ASSERT_OK_AND_ASSIGN(GgufFile file, Parse(first));
  ASSERT_OK_AND_ASSIGN(const GgufFile part, Parse(second));
  EXPECT_THAT(file.AddTensorsOf(part), IsOk());
  EXPECT_EQ(file.metadata().size(), 1);
  ASSERT_EQ(file.tensors().size(), 2);
  EXPECT_EQ(file.tensors().at("b").data.front(), std::byte{2});
  EXPECT_THAT(file.AddTensorsOf(part), RefusedWith("'b' is in another file of the model too"));
}

TEST(GgufFileTest, ReadsTensorsInRowMajorOrder) {
  GgufBytes bytes(2, 0, /*version=*/2);
  bytes.Tensor("matrix", {3, 2}, 0, 0).Tensor("blocks", {32}, 3, 32);
  bytes.Data(std::string(24, 'm') + std::string(8, '\0') + std::string(20, 'b'));
  ASSERT_OK_AND_ASSIGN(const GgufFile file, Parse(bytes));
  const GgufTensor& matrix = file.tensors().at("matrix");
  EXPECT_EQ(matrix.type, GgmlType::kF32);
  EXPECT_THAT(matrix.shape, ElementsAre(2, 3));
  EXPECT_EQ(matrix.data.size(), 24);
  EXPECT_EQ(matrix.data[0], std::byte{'m'});
  const GgufTensor& blocks = file.tensors().at("blocks");
  EXPECT_EQ(GgmlTypeName(blocks.type), "Q4_1");
  EXPECT_EQ(blocks.data.size(), 20);
  EXPECT_EQ(blocks.data[19], std::byte{'b'});
}

TEST(GgufFileTest, TheFileChoosesTheAlignment) {
  GgufBytes bytes(1, 1);
  bytes.Value("general.alignment", 4, uint32_t{64}).Tensor("a", {1}, 0, 64);
  bytes.Data(std::string(64, '\0') + "abcd", /*alignment=*/64);
  ASSERT_OK_AND_ASSIGN(const GgufFile file, Parse(bytes));
  EXPECT_EQ(file.tensors().at("a").data[0], std::byte{'a'});
}

TEST(GgufFileTest, RefusesAnAlignmentThatIsNoPowerOfTwo) {
  for (const uint32_t alignment : {0u, 24u}) {
    GgufBytes bytes(0, 1);
    EXPECT_THAT(Parse(bytes.Value("general.alignment", 4, alignment)),
                RefusedWith("not a power of two"));
  }
}

TEST(GgufFileTest, RefusesAWrongMagicOrVersion) {
  EXPECT_THAT(Parse(std::string()), RefusedWith("not a GGUF file"));
  EXPECT_THAT(Parse(std::string("GGU")), RefusedWith("not a GGUF file"));
  EXPECT_THAT(Parse("GGML" + GgufBytes().bytes().substr(4)), RefusedWith("not a GGUF file"));
  EXPECT_THAT(Parse(GgufBytes(0, 0, 1)), RefusedWith("GGUF version 1"));
  EXPECT_THAT(Parse(GgufBytes(0, 0, 0x03000000)), RefusedWith("little-endian"));
}

TEST(GgufFileTest, RefusesCountsThatTheFileCannotHoldBeforeAllocating) {
  EXPECT_THAT(Parse(GgufBytes(kHuge, 0)), RefusedWith("more than the file can hold"));
  EXPECT_THAT(Parse(GgufBytes(0, kHuge)), RefusedWith("more than the file can hold"));
  for (uint32_t type = 0; type <= 12; ++type) {
    GgufBytes bytes(0, 1);
    bytes.Text("list").Put(uint32_t{9}).Put(type).Put(kHuge).Put(uint64_t{0});
    EXPECT_THAT(Parse(bytes), RefusedWith("metadata 'list': a count of")) << type;
  }
  GgufBytes text(0, 1);
  EXPECT_THAT(Parse(text.Text("t").Put(uint32_t{8}).Put(kHuge).Put(uint64_t{0})),
              RefusedWith("metadata 't': the file ends inside its tables"));
  // Enough bytes for one-byte items, too few for these.
  GgufBytes strings(0, 1);
  strings.Text("list").Put(uint32_t{9}).Put(uint32_t{8}).Put(uint64_t{9}).Data(std::string(8, 0));
  EXPECT_THAT(Parse(strings), RefusedWith("a count of 9"));
}

TEST(GgufFileTest, RefusesUnknownAndNestedValueTypes) {
  EXPECT_THAT(Parse(GgufBytes(0, 1).Value("k", 13, uint64_t{0})), RefusedWith("values of type 13"));
  for (const uint32_t type : {9u, 13u}) {
    GgufBytes bytes(0, 1);
    bytes.Text("k").Put(uint32_t{9}).Put(type).Put(uint64_t{1}).Put(uint64_t{0});
    EXPECT_THAT(Parse(bytes), RefusedWith("arrays of type"));
  }
}

TEST(GgufFileTest, RefusesArrayElementsBeyondInt64) {
  GgufBytes bytes(0, 1);
  bytes.Text("k").Put(uint32_t{9}).Put(uint32_t{10}).Put(uint64_t{1}).Put(UINT64_MAX);
  EXPECT_THAT(Parse(bytes), RefusedWith("beyond 2^63"));
}

TEST(GgufFileTest, RefusesDuplicateNames) {
  EXPECT_THAT(Parse(GgufBytes(0, 2).Value("k", 5, 1).Value("k", 5, 2)),
              RefusedWith("metadata 'k' occurs twice"));
  EXPECT_THAT(Parse(GgufBytes(2, 0).Tensor("t", {0}, 0, 0).Tensor("t", {0}, 0, 0)),
              RefusedWith("tensor 't' occurs twice"));
}

TEST(GgufFileTest, RefusesAnUnknownTensorType) {
  EXPECT_THAT(Parse(GgufBytes(1, 0).Tensor("t", {256}, 10, 0)),
              RefusedWith("tensor 't': has ggml type 10, which is not one of F32, F16"));
}

TEST(GgufFileTest, RefusesRowsThatAreNoWholeNumberOfBlocks) {
  // 64 elements in all, but rows of 16.
  EXPECT_THAT(
      Parse(GgufBytes(1, 0).Tensor("t", {16, 4}, 8, 0).Data(std::string(68, 0))),
      RefusedWith("has rows of 16 elements, which is no whole number of Q8_0 blocks of 32"));
}

TEST(GgufFileTest, RefusesTooManyDimensionsAndOverflowingShapes) {
  EXPECT_THAT(Parse(GgufBytes(1, 0).Tensor("t", {1, 1, 1, 1, 1}, 0, 0)),
              RefusedWith("has 5 dimensions"));
  EXPECT_THAT(Parse(GgufBytes(1, 0).Text("t").Put(UINT32_MAX).Put(uint64_t{0}).Put(uint64_t{0})),
              RefusedWith("dimensions"));
  const uint64_t kLarge = uint64_t{1} << 32;
  EXPECT_THAT(Parse(GgufBytes(1, 0).Tensor("t", {kLarge, kLarge}, 0, 0)), RefusedWith("overflows"));
  EXPECT_THAT(Parse(GgufBytes(1, 0).Tensor("t", {UINT64_MAX}, 0, 0)), RefusedWith("overflows"));
  EXPECT_THAT(Parse(GgufBytes(1, 0).Tensor("t", {uint64_t{1} << 62}, 0, 0)),
              RefusedWith("overflows"));
}

TEST(GgufFileTest, RefusesDataOutsideOfTheFile) {
  EXPECT_THAT(Parse(GgufBytes(1, 0).Tensor("t", {2}, 0, 0).Data("1234567")),
              RefusedWith("tensor 't' lies outside of the file: 8 bytes at 0 of 7"));
  EXPECT_THAT(Parse(GgufBytes(1, 0).Tensor("t", {1}, 0, 32).Data("1234")),
              RefusedWith("lies outside"));
  EXPECT_THAT(Parse(GgufBytes(1, 0).Tensor("t", {1}, 0, UINT64_MAX - 31).Data("1234")),
              RefusedWith("lies outside"));
  EXPECT_THAT(Parse(GgufBytes(1, 0).Tensor("t", {1}, 0, 0)), RefusedWith("lies outside"));
  EXPECT_THAT(Parse(GgufBytes(1, 0).Tensor("t", {1}, 0, 4).Data("12345678")),
              RefusedWith("no multiple of the alignment 32"));
}

TEST(GgufFileTest, EveryTruncationIsRefusedAndEveryBitFlipStaysInBounds) {
  GgufBytes bytes(1, 3);
  bytes.Value("n", 4, uint32_t{1}).Text("s").Put(uint32_t{8}).Text("text");
  bytes.Text("list").Put(uint32_t{9}).Put(uint32_t{8}).Put(uint64_t{2}).Text("a").Text("b");
  bytes.Tensor("t", {32, 2}, 3, 0).Data(std::string(40, 'x'));
  const std::string& good = bytes.bytes();
  ASSERT_THAT(Parse(good), IsOk());
  for (size_t length = 0; length < good.size(); ++length) {
    EXPECT_THAT(Parse(good.substr(0, length)), StatusIs(absl::StatusCode::kInvalidArgument))
        << length;
  }
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string flipped = good;
    flipped[bit / 8] ^= static_cast<char>(1 << (bit % 8));
    const absl::StatusOr<GgufFile> parsed = Parse(flipped);
    if (!parsed.ok()) continue;
    for (const auto& [name, tensor] : parsed->tensors()) Sha256::Of(tensor.data);
  }
}

}  // namespace
}  // namespace shira
