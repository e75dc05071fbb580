#include "base/safetensors_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "base/safetensors.h"
#include "tests/testutil/status_matchers.h"
#include "tests/testutil/temp_folder.h"

namespace shira {
namespace {

using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::shira::testing::TempFolder;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

TEST(SafetensorsWriterTest, WritesWhatTheParserReadsBackInDeclaredOrder) {
  const TempFolder folder;
  const std::string path = folder.Path("x.safetensors");
  ASSERT_OK_AND_ASSIGN(
      SafetensorsWriter writer,
      SafetensorsWriter::Create(
          path, {{"z", DType::kF32, {2, 3}}, {"a", DType::kU8, {3}}, {"none", DType::kI64, {0}}},
          {{"format", "pt"}}));
  const std::vector<float> z = {1, 2, 3, 4, 5, 6};
  ASSERT_THAT(writer.WriteNumbers(absl::MakeConstSpan(z).first(4)), IsOk());
  ASSERT_THAT(writer.WriteNumbers(absl::MakeConstSpan(z).subspan(4)), IsOk());
  ASSERT_THAT(writer.WriteNumbers(std::string("abc")), IsOk());
  ASSERT_THAT(writer.Finish(), IsOk());

  ASSERT_OK_AND_ASSIGN(const MappedFile file, MappedFile::Open(path));
  ASSERT_OK_AND_ASSIGN(const Safetensors tensors, Safetensors::Parse(file.bytes(), path));
  EXPECT_THAT(tensors.metadata(), ElementsAre(Pair("format", "pt")));
  ASSERT_EQ(tensors.tensors().size(), 3);
  EXPECT_THAT(tensors.Find("z")->shape, ElementsAre(2, 3));
  EXPECT_EQ(std::memcmp(tensors.Find("z")->data.data(), z.data(), 24), 0);
  EXPECT_LT(tensors.Find("z")->data.data(), tensors.Find("a")->data.data());
  EXPECT_EQ((tensors.Find("z")->data.data() - file.bytes().data()) % 8, 0);
  EXPECT_EQ(std::memcmp(tensors.Find("a")->data.data(), "abc", 3), 0);
}

TEST(SafetensorsWriterTest, LeavesNothingWhenBytesAreMissingOrTooMany) {
  const TempFolder folder;
  {
    ASSERT_OK_AND_ASSIGN(SafetensorsWriter writer,
                         SafetensorsWriter::Create(folder.Path("x"), {{"a", DType::kU8, {4}}}, {}));
    ASSERT_THAT(writer.WriteNumbers(std::string("abc")), IsOk());
    EXPECT_THAT(writer.WriteNumbers(std::string("de")),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(HasSubstr(folder.Path("x")), HasSubstr("1 bytes more"))));
    EXPECT_THAT(writer.Finish(), StatusIs(absl::StatusCode::kFailedPrecondition,
                                          HasSubstr("1 bytes of its tensors were not written")));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(SafetensorsWriterTest, RefusesDeclarationsThatNoReaderWouldTake) {
  const TempFolder folder;
  const auto create = [&](std::vector<TensorDeclaration> tensors) {
    return SafetensorsWriter::Create(folder.Path("x"), tensors, {}).status();
  };
  const auto refused = [&](const std::string& part) {
    return StatusIs(absl::StatusCode::kInvalidArgument,
                    AllOf(HasSubstr(folder.Path("x")), HasSubstr(part)));
  };
  EXPECT_THAT(create({{"a", DType::kU8, {1}}, {"a", DType::kU8, {1}}}), refused("two tensors"));
  EXPECT_THAT(create({{"a", DType::kU8, {-1}}}), refused("negative or too large"));
  EXPECT_THAT(create({{"a", DType::kF64, {int64_t{1} << 32, int64_t{1} << 31}}}),
              refused("negative or too large"));
  EXPECT_THAT(create({{"__metadata__", DType::kU8, {1}}}), refused("__metadata__"));
  EXPECT_THAT(create({{"\xFF", DType::kU8, {1}}}), refused("UTF-8"));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace shira
