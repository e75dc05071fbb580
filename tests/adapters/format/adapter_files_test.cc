#include "adapters/format/adapter_files.h"

#include <sys/stat.h>

#include <filesystem>

#include "tests/adapters/format/format_fixture.h"

namespace shira {
namespace {

using ::shira::testing::AdapterFolder;
using ::shira::testing::FormatTest;
using ::shira::testing::IsOk;
using ::shira::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

class AdapterFilesTest : public FormatTest {
 protected:
  static AdapterFolder Patch() {
    AdapterFolder files;
    files.AddTensor<int32_t>("a.weight.indices", DType::kI32, {1}, {0});
    files.AddTensor<float>("a.weight.values", DType::kF32, {1}, {1});
    return files;
  }
};

TEST_F(AdapterFilesTest, AFileNamedShiraOrSafetensorsIsAnAdapter) {
  EXPECT_THAT(Read(temp_.Write("x.safetensors", Patch().tensors())), IsOk());
  EXPECT_THAT(Read(temp_.Write("x.shira", Patch().tensors())), IsOk());
}

TEST_F(AdapterFilesTest, RefusesAFileOfAnotherName) {
  EXPECT_THAT(Read(temp_.Write("x.bin", Patch().tensors())),
              StatusIs(kInvalid, HasSubstr("named *.shira or *.safetensors")));
}

TEST_F(AdapterFilesTest, RefusesAFileThatIsNotRegular) {
  ASSERT_EQ(mkfifo(temp_.Path("x.shira").c_str(), 0600), 0);
  EXPECT_THAT(Read(temp_.Path("x.shira")), StatusIs(kInvalid, HasSubstr("not a regular file")));
}

TEST_F(AdapterFilesTest, AFolderWithoutConfigHasOneFile) {
  std::filesystem::create_directory(temp_.Path("folder"));
  EXPECT_THAT(Read(temp_.Path("folder")), StatusIs(kNotFound, HasSubstr("adapter_config.json")));
  temp_.Write("folder/README.md", "");
  temp_.Write("folder/delta.safetensors", Patch().tensors());
  EXPECT_THAT(Read(temp_.Path("folder")), IsOk());
}

TEST_F(AdapterFilesTest, RefusesAFolderWithSeveralFilesToChooseFrom) {
  std::filesystem::create_directory(temp_.Path("folder"));
  temp_.Write("folder/a.safetensors", Patch().tensors());
  temp_.Write("folder/b.shira", Patch().tensors());
  EXPECT_THAT(Read(temp_.Path("folder")),
              StatusIs(kInvalid, AllOf(HasSubstr("a.safetensors"), HasSubstr("b.shira"))));
}

TEST_F(AdapterFilesTest, RefusesAFileOfNoFormatAndNamesTheKnown) {
  AdapterFolder files;
  files.AddTensor<float>("a.weight", DType::kF32, {1}, {1});
  EXPECT_THAT(ReadFile(files), StatusIs(kUnimplemented, AllOf(HasSubstr("overwrite_patch"),
                                                              HasSubstr("packed_shira"))));
}

TEST_F(AdapterFilesTest, RefusesAFileBeyondTheLimit) {
  EXPECT_THAT(
      AdapterReader(base_, {.max_file_bytes = 64}).Read(temp_.Write("x.shira", Patch().tensors())),
      StatusIs(kInvalid, HasSubstr("x.shira")));
}

TEST_F(AdapterFilesTest, RefusesAConfigBeyondTheLimit) {
  AdapterFolder files;
  files.config = R"({"peft_type": "SHIRA")" + std::string(1 << 20, ' ') + "}";
  EXPECT_THAT(ReadFolder(files), StatusIs(kInvalid, HasSubstr("adapter_config.json")));
}

}  // namespace
}  // namespace shira
