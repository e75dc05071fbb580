#include "base/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "base/sha256.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::StartsWith;

absl::Span<const std::byte> BytesOf(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

std::string TextOf(absl::Span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// A file with this header, however wrong, and data.
std::string MakeFile(std::string_view header, std::string_view data) {
  const uint64_t length = header.size();
  std::string file(8, '\0');
  std::memcpy(file.data(), &length, 8);
  return file.append(header).append(data);
}

absl::Status ParseStatus(std::string_view header, std::string_view data) {
  return Safetensors::Parse(BytesOf(MakeFile(header, data)), "x.safetensors").status();
}

// Refused, with the file's name and `part` in the message.
::testing::Matcher<const absl::Status&> RefusedWith(std::string_view part) {
  return StatusIs(absl::StatusCode::kInvalidArgument,
                  AllOf(StartsWith("x.safetensors: "), HasSubstr(std::string(part))));
}

TEST(SafetensorsTest, ReadsTensorsAndMetadata) {
  const std::string file = MakeFile(
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"U8","shape":[3],"data_offsets":[4,7]},)"
      R"("a":{"dtype":"I16","shape":[2,1],"data_offsets":[0,4]}}   )",
      "aaaabbb");
  ASSERT_OK_AND_ASSIGN(const Safetensors tensors, Safetensors::Parse(BytesOf(file), "x"));
  EXPECT_EQ(tensors.source(), "x");
  EXPECT_THAT(tensors.metadata(), ElementsAre(Pair("format", "pt")));
  ASSERT_EQ(tensors.tensors().size(), 2);
  const TensorView* a = tensors.Find("a");
  ASSERT_NE(a, nullptr);
  EXPECT_EQ(a->dtype, DType::kI16);
  EXPECT_THAT(a->shape, ElementsAre(2, 1));
  EXPECT_EQ(a->elements(), 2);
  EXPECT_EQ(TextOf(a->data), "aaaa");
  EXPECT_EQ(TextOf(tensors.Find("b")->data), "bbb");
  EXPECT_EQ(tensors.Find("c"), nullptr);
}

TEST(SafetensorsTest, ReadsScalarsEmptyTensorsAndAnEmptyFile) {
  const std::string file = MakeFile(
      R"({"s":{"dtype":"U8","shape":[],"data_offsets":[0,1]},"e":{"dtype":"F32","shape":[0,7],"data_offsets":[1,1]}})",
      "s");
  ASSERT_OK_AND_ASSIGN(const Safetensors tensors, Safetensors::Parse(BytesOf(file), "x"));
  EXPECT_EQ(tensors.Find("s")->elements(), 1);
  EXPECT_EQ(tensors.Find("e")->elements(), 0);
  EXPECT_THAT(ParseStatus("{}", ""), IsOk());
}

TEST(SafetensorsTest, RefusesAFileWithoutHeaderLength) {
  EXPECT_THAT(Safetensors::Parse(BytesOf(""), "x.safetensors"),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(Safetensors::Parse(BytesOf("1234567"), "x.safetensors").status(),
              RefusedWith("7 bytes hold no header length"));
}

TEST(SafetensorsTest, RefusesAHeaderThatPassesTheEndOfTheFile) {
  std::string file = MakeFile("{}", "");
  file[0] = 3;
  EXPECT_THAT(Safetensors::Parse(BytesOf(file), "x.safetensors").status(),
              RefusedWith("should have 3 bytes but the file has only 2"));
}

TEST(SafetensorsTest, RefusesAHeaderBeyondTheLimit) {
  std::string file = MakeFile("{}", "");
  std::memset(file.data(), 0xFF, 8);
  EXPECT_THAT(Safetensors::Parse(BytesOf(file), "x.safetensors").status(),
              RefusedWith("beyond the limit of 100000000"));
}

TEST(SafetensorsTest, RefusesWhatIsNotJson) {
  for (const std::string_view header :
       {"", "{", "{}}", "nonsense", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]})",
        "{\"\xFF\":{}}", R"({"a":{"dtype":"U8","shape":[1,],"data_offsets":[0,1]}})"}) {
    EXPECT_THAT(ParseStatus(header, "a"), RefusedWith("not valid JSON")) << header;
  }
}

TEST(SafetensorsTest, RefusesAHeaderThatIsNoObject) {
  for (const std::string_view header : {"[]", "1", "\"a\"", "null", "true", "-1", "1.5"}) {
    EXPECT_THAT(ParseStatus(header, ""), RefusedWith("must be a JSON object")) << header;
  }
}

TEST(SafetensorsTest, RefusesDuplicateNames) {
  const std::string a = R"("a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  EXPECT_THAT(ParseStatus("{" + a + "," + a + "}", "a"), RefusedWith("the name 'a' occurs twice"));
  EXPECT_THAT(ParseStatus(R"({"__metadata__":{},"__metadata__":{}})", ""),
              RefusedWith("'__metadata__' occurs twice"));
  EXPECT_THAT(ParseStatus(R"({"__metadata__":{"k":"1","k":"2"}})", ""),
              RefusedWith("'k' occurs twice"));
  for (const std::string_view twice :
       {R"("dtype":"U8")", R"("shape":[1])", R"("data_offsets":[0,1])"}) {
    EXPECT_THAT(ParseStatus(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],)" +
                                std::string(twice) + "}}",
                            "a"),
                RefusedWith("occurs twice"))
        << twice;
  }
}

TEST(SafetensorsTest, RefusesDeepNestingWithoutRecursion) {
  const std::string deep(1'000'000, '[');
  EXPECT_THAT(ParseStatus(deep, ""), RefusedWith("a list"));
  EXPECT_THAT(ParseStatus(R"({"a":{"shape":)" + deep, ""), RefusedWith("a list"));
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += R"({"a":)";
  EXPECT_THAT(ParseStatus(objects, ""), RefusedWith("an object"));
}

TEST(SafetensorsTest, RefusesAnUnknownDType) {
  EXPECT_THAT(ParseStatus(R"({"a":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}})", "a"),
              RefusedWith("tensor 'a': unknown dtype 'F8_E4M3'"));
}

TEST(SafetensorsTest, RefusesMissingFields) {
  for (const std::string_view fields :
       {R"("shape":[1],"data_offsets":[0,1])", R"("dtype":"U8","data_offsets":[0,1])",
        R"("dtype":"U8","shape":[1])", ""}) {
    EXPECT_THAT(ParseStatus("{\"a\":{" + std::string(fields) + "}}", "a"),
                RefusedWith("tensor 'a': needs the fields"))
        << fields;
  }
}

TEST(SafetensorsTest, RefusesValuesOfAnotherType) {
  for (const std::string_view fields :
       {R"("dtype":5)", R"("dtype":["U8"])", R"("dtype":null)", R"("shape":1)", R"("shape":"1")",
        R"("shape":["1"])", R"("shape":[[1]])", R"("shape":[{}])", R"("shape":[true])",
        R"("shape":[1.5])", R"("shape":[null])", R"("data_offsets":{})", R"("other":[1])",
        R"("other":"text")"}) {
    EXPECT_THAT(ParseStatus("{\"a\":{" + std::string(fields) + "}}", "a"),
                RefusedWith("does not belong here"))
        << fields;
  }
  EXPECT_THAT(ParseStatus(R"({"a":"text"})", ""), RefusedWith("tensor 'a'"));
  EXPECT_THAT(ParseStatus(R"({"__metadata__":{"k":1}})", ""), RefusedWith("field 'k'"));
}

TEST(SafetensorsTest, RefusesNegativeAndOverflowingShapes) {
  const auto with_shape = [](std::string_view shape) {
    return ParseStatus(
        R"({"a":{"dtype":"F32","shape":)" + std::string(shape) + R"(,"data_offsets":[0,4]}})",
        "aaaa");
  };
  EXPECT_THAT(with_shape("[-1]"), RefusedWith("a negative number"));
  EXPECT_THAT(with_shape("[9223372036854775808]"), RefusedWith("a number beyond 2^63"));
  EXPECT_THAT(with_shape("[18446744073709551616]"), RefusedWith("no integer"));
  EXPECT_THAT(with_shape("[4294967296,4294967296]"), RefusedWith("overflows"));
  EXPECT_THAT(with_shape("[4611686018427387904]"), RefusedWith("overflows"));  // times 4 bytes
  EXPECT_THAT(with_shape("[4294967296,4294967296,0]"), RefusedWith("overflows"));
}

TEST(SafetensorsTest, RefusesOffsetsThatDoNotMatchTheShape) {
  const auto with_offsets = [](std::string_view offsets) {
    return ParseStatus(
        R"({"a":{"dtype":"U8","shape":[2],"data_offsets":)" + std::string(offsets) + "}}", "aaaa");
  };
  EXPECT_THAT(with_offsets("[0,3]"), RefusedWith("span 3 bytes but its dtype and shape need 2"));
  EXPECT_THAT(with_offsets("[0]"), RefusedWith("[begin, end]"));
  EXPECT_THAT(with_offsets("[0,1,2]"), RefusedWith("[begin, end]"));
  EXPECT_THAT(with_offsets("[2,0]"), RefusedWith("begin <= end"));
  EXPECT_THAT(with_offsets("[-2,0]"), RefusedWith("a negative number"));
}

TEST(SafetensorsTest, RefusesOffsetsOutsideOfTheFile) {
  EXPECT_THAT(ParseStatus(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", "a"),
              RefusedWith("end at 2 but the file has 1 bytes"));
  EXPECT_THAT(ParseStatus(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":)"
                          R"([9223372036854775806,9223372036854775807]}})",
                          "a"),
              RefusedWith("the file has 1 bytes"));
}

TEST(SafetensorsTest, RefusesOverlapsGapsAndTrailingBytes) {
  const auto with_b_at = [](std::string_view offsets) {
    return ParseStatus(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                       R"("b":{"dtype":"U8","shape":[2],"data_offsets":)" +
                           std::string(offsets) + "}}",
                       "01234");
  };
  EXPECT_THAT(with_b_at("[1,3]"),
              RefusedWith("tensor 'b' begins at byte 1 where 2 is expected: tensors overlap"));
  EXPECT_THAT(with_b_at("[0,2]"), RefusedWith("overlap"));
  EXPECT_THAT(with_b_at("[3,5]"), RefusedWith("leave a gap"));
  EXPECT_THAT(with_b_at("[2,4]"), RefusedWith("end at byte 4 but the file has 5"));
  EXPECT_THAT(ParseStatus(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})", "01"),
              RefusedWith("leave a gap"));
  EXPECT_THAT(ParseStatus("{}", "0"), RefusedWith("end at byte 0 but the file has 1"));
}

TEST(SafetensorsTest, EveryTruncationAndBitFlipIsReadOrRefusedInBounds) {
  const std::string file = MakeFile(
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},)"
      R"("b":{"dtype":"U8","shape":[3],"data_offsets":[16,19]}})",
      std::string(19, 'x'));
  const auto touch = [](const std::string& bytes) {
    const absl::StatusOr<Safetensors> parsed = Safetensors::Parse(BytesOf(bytes), "x");
    if (!parsed.ok()) return false;
    for (const auto& [name, tensor] : parsed->tensors()) Sha256::Of(tensor.data);
    return true;
  };
  for (size_t length = 0; length < file.size(); ++length) {
    EXPECT_FALSE(touch(file.substr(0, length))) << length;
  }
  for (size_t bit = 0; bit < file.size() * 8; ++bit) {
    std::string flipped = file;
    flipped[bit / 8] ^= static_cast<char>(1 << (bit % 8));
    touch(flipped);
  }
}

TEST(SafetensorsTest, SerializesWhatItParsesBack) {
  const std::string numbers(24, 'n');
  const std::string odd = "abc";
  const std::map<std::string, TensorView> tensors = {
      {"numbers", {DType::kF32, {2, 3}, BytesOf(numbers)}},
      {"m\xC3\xB6\"d\\", {DType::kU8, {3}, BytesOf(odd)}},
      {"empty", {DType::kI64, {0}, {}}}};
  ASSERT_OK_AND_ASSIGN(const std::string file, SerializeSafetensors(tensors, {{"k", "v"}}));
  ASSERT_OK_AND_ASSIGN(const Safetensors parsed, Safetensors::Parse(BytesOf(file), "x"));
  EXPECT_THAT(parsed.metadata(), ElementsAre(Pair("k", "v")));
  ASSERT_EQ(parsed.tensors().size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    const TensorView* read = parsed.Find(name);
    ASSERT_NE(read, nullptr) << name;
    EXPECT_EQ(read->dtype, tensor.dtype);
    EXPECT_EQ(read->shape, tensor.shape);
    EXPECT_EQ(TextOf(read->data), TextOf(tensor.data));
  }
}

TEST(SafetensorsTest, RefusesToSerializeWhatNoReaderWouldTake) {
  const std::string data(4, 'x');
  const auto serialize = [&](const std::string& name, std::vector<int64_t> shape) {
    return SerializeSafetensors({{name, {DType::kF32, std::move(shape), BytesOf(data)}}}, {})
        .status();
  };
  EXPECT_THAT(serialize("a", {1}), IsOk());
  EXPECT_THAT(serialize("a", {2}),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("'a' has 4 bytes")));
  EXPECT_THAT(serialize("a", {-1}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(serialize("__metadata__", {1}), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(serialize("\xFF", {1}), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace shira
