// File: tests/testutil/temp_folder.h
//
// A new folder that is gone, with all that is in it, when the object is.

#ifndef SHIRA_TESTS_TESTUTIL_TEMP_FOLDER_H_
#define SHIRA_TESTS_TESTUTIL_TEMP_FOLDER_H_

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace shira::testing {

class TempFolder {
 public:
  TempFolder() : path_(::testing::TempDir() + "/shira_test.XXXXXX") {
    if (mkdtemp(path_.data()) == nullptr) ADD_FAILURE() << "cannot make " << path_;
    // So that tests can compare paths with what the file system calls them.
    path_ = std::filesystem::canonical(path_);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const std::string& path() const { return path_; }
  // Of `name` in this folder; it need not exist.
  std::string Path(std::string_view name) const { return path_ + "/" + std::string(name); }

  // Writes a file and returns its path.
  std::string Write(std::string_view name, std::string_view contents) const {
    const std::string path = Path(name);
    std::ofstream file(path, std::ios::binary);
    file.write(contents.data(), static_cast<std::streamsize>(contents.size()));
    EXPECT_TRUE(file.good()) << path;
    return path;
  }

 private:
  std::string path_;
};

}  // namespace shira::testing

#endif  // SHIRA_TESTS_TESTUTIL_TEMP_FOLDER_H_
