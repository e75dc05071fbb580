// File: tests/fuzz/fuzz_folder.h

#ifndef SHIRA_TESTS_FUZZ_FUZZ_FOLDER_H_
#define SHIRA_TESTS_FUZZ_FUZZ_FOLDER_H_

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "tests/fuzz/fuzz_target.h"

namespace shira::testing {

// A folder for readers that take a path: in memory where the system has such a place, since a
// target runs thousands of times a second. Gone at the end of the process.
class FuzzFolder {
 public:
  FuzzFolder() {
    const bool memory = std::filesystem::is_directory("/dev/shm");
    path_ = std::string(memory ? "/dev/shm" : "/tmp") + "/shira_fuzz.XXXXXX";
    Promise(mkdtemp(path_.data()) != nullptr, "a temporary folder can be made");
  }
  FuzzFolder(const FuzzFolder&) = delete;
  FuzzFolder& operator=(const FuzzFolder&) = delete;
  ~FuzzFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const std::string& path() const { return path_; }

  void Write(const char* name, std::string_view contents) const {
    std::ofstream file(path_ + "/" + name, std::ios::binary | std::ios::trunc);
    file.write(contents.data(), static_cast<std::streamsize>(contents.size()));
    Promise(file.good(), "the temporary folder takes the input");
  }

 private:
  std::string path_;
};

}  // namespace shira::testing

#endif  // SHIRA_TESTS_FUZZ_FUZZ_FOLDER_H_
