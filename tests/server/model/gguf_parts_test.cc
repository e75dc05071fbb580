#include "server/model/gguf_parts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "tests/testutil/gguf_bytes.h"
#include "tests/testutil/status_matchers.h"
#include "tests/testutil/temp_folder.h"

namespace shira {
namespace {

using ::shira::testing::GgufBytes;
using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::shira::testing::TempFolder;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Key;
using ::testing::UnorderedElementsAre;

using ::shira::testing::kInvalid;

class GgufPartsTest : public ::testing::Test {
 protected:
  // A part as gguf-split writes it, with one tensor of one number.
  static std::string Part(uint16_t number, uint16_t count, std::string_view tensor,
                          int32_t tensors = 3) {
    GgufBytes bytes(1, number == 0 ? 4 : 3);
    if (number == 0) bytes.Text("general.name").Put(uint32_t{8}).Text("Whole");
    bytes.Value("split.no", 2, number).Value("split.count", 2, count);
    bytes.Value("split.tensors.count", 5, tensors);
    return bytes.Tensor(tensor, {1}, 0, 0).Data(std::string(4, static_cast<char>(number))).bytes();
  }

  void SetUp() override {
    folder_.Write("m-00001-of-00003.gguf", Part(0, 3, "a"));
    folder_.Write("m-00002-of-00003.gguf", Part(1, 3, "b"));
    folder_.Write("m-00003-of-00003.gguf", Part(2, 3, "c"));
  }

  absl::StatusOr<GgufParts> Open(std::string_view name = "m-00001-of-00003.gguf") {
    return OpenGgufParts(folder_.Path(name));
  }

  const TempFolder folder_;
};

TEST_F(GgufPartsTest, TheFirstPartBringsTheOthersAlong) {
  ASSERT_OK_AND_ASSIGN(const GgufParts parts, Open());
  EXPECT_EQ(parts.mapped.size(), 3);
  EXPECT_THAT(parts.gguf.tensors(), UnorderedElementsAre(Key("a"), Key("b"), Key("c")));
  EXPECT_EQ(parts.gguf.tensors().at("c").data.front(), std::byte{2});
  ASSERT_OK_AND_ASSIGN(const std::string name, parts.gguf.GetString("general.name"));
  EXPECT_EQ(name, "Whole");
}

TEST_F(GgufPartsTest, APartThatIsMissingIsNamed) {
  std::filesystem::remove(folder_.Path("m-00002-of-00003.gguf"));
  EXPECT_THAT(Open(), StatusIs(absl::StatusCode::kNotFound,
                               AllOf(HasSubstr("m-00002-of-00003.gguf: part 2 of 3"),
                                     HasSubstr("m-00001-of-00003.gguf have to be in its folder"))));
}

TEST_F(GgufPartsTest, RefusesAnotherPartThanTheFirst) {
  EXPECT_THAT(Open("m-00002-of-00003.gguf"),
              StatusIs(kInvalid, AllOf(HasSubstr("this is part 2 of 3"),
                                       HasSubstr("m-00001-of-00003.gguf"))));
  folder_.Write("third.gguf", Part(2, 3, "c"));
  EXPECT_THAT(Open("third.gguf"), StatusIs(kInvalid, HasSubstr("*-00001-of-00003.gguf")));
}

TEST_F(GgufPartsTest, RefusesAFirstPartUnderAnotherName) {
  for (const char* name : {"m.gguf", "m-00001-of-00002.gguf", "m-1-of-3.gguf", "x"}) {
    folder_.Write(name, Part(0, 3, "a"));
    EXPECT_THAT(Open(name), StatusIs(kInvalid, HasSubstr("does not end in -00001-of-00003.gguf")))
        << name;
  }
}

TEST_F(GgufPartsTest, TheExtensionStaysAsItIs) {
  folder_.Write("M-00001-of-00003.GGUF", Part(0, 3, "a"));
  folder_.Write("M-00002-of-00003.GGUF", Part(1, 3, "b"));
  folder_.Write("M-00003-of-00003.GGUF", Part(2, 3, "c"));
  EXPECT_THAT(Open("M-00001-of-00003.GGUF"), IsOk());
}

TEST_F(GgufPartsTest, RefusesPartsThatDoNotBelongTogether) {
  folder_.Write("m-00002-of-00003.gguf", Part(2, 3, "b"));
  EXPECT_THAT(Open(), StatusIs(kInvalid, HasSubstr("expected part 2 of 3 of a split model, found "
                                                   "part 3 of 3")));
  folder_.Write("m-00002-of-00003.gguf", Part(1, 2, "b"));
  EXPECT_THAT(Open(), StatusIs(kInvalid, HasSubstr("found part 2 of 2")));
  folder_.Write("m-00002-of-00003.gguf", GgufBytes().Data("").bytes());
  EXPECT_THAT(Open(), StatusIs(kInvalid, HasSubstr("found part 1 of 1")));
  folder_.Write("m-00002-of-00003.gguf", Part(1, 3, "a"));
  EXPECT_THAT(Open(), StatusIs(kInvalid, HasSubstr("'a' is in another file of the model too")));
  folder_.Write("m-00002-of-00003.gguf", "GGUF");
  EXPECT_THAT(Open(), StatusIs(kInvalid, HasSubstr("m-00002-of-00003.gguf: ")));
}

TEST_F(GgufPartsTest, RefusesTensorsThatAreNotAsManyAsTheFirstPartSays) {
  folder_.Write("m-00001-of-00003.gguf", Part(0, 3, "a", /*tensors=*/4));
  EXPECT_THAT(Open(), StatusIs(kInvalid, HasSubstr("expected 4 tensors in 3 parts, found 3")));
}

TEST_F(GgufPartsTest, RefusesANumberThatIsNoPart) {
  folder_.Write("m-00001-of-00003.gguf", Part(3, 3, "a"));
  EXPECT_THAT(Open(), StatusIs(kInvalid, HasSubstr("split.no is 3 and split.count is 3")));
}

TEST_F(GgufPartsTest, OneOfOneIsWhole) {
  folder_.Write("x.gguf", Part(0, 1, "a"));
  EXPECT_THAT(Open("x.gguf"), IsOk());
}

TEST_F(GgufPartsTest, IsGgufFileLooksAtTheFirstBytes) {
  EXPECT_TRUE(IsGgufFile(folder_.Path("m-00001-of-00003.gguf")));
  EXPECT_FALSE(IsGgufFile(folder_.Write("short.gguf", "GGU")));
  EXPECT_FALSE(IsGgufFile(folder_.Path("absent")));
  EXPECT_FALSE(IsGgufFile(folder_.path()));
  ASSERT_EQ(mkfifo(folder_.Path("pipe").c_str(), 0600), 0);
  EXPECT_FALSE(IsGgufFile(folder_.Path("pipe")));
}

}  // namespace
}  // namespace shira
