#include "base/terminal/live_line.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <memory>
#include <string>

namespace shira {
namespace {

std::string Written(std::FILE* file) {
  std::rewind(file);
  std::array<char, 256> buffer;
  return {buffer.data(), std::fread(buffer.data(), 1, buffer.size(), file)};
}

TEST(LiveLineTest, ReplacesItsTextAndLeavesNothing) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::tmpfile(), &std::fclose);
  ASSERT_NE(file, nullptr);
  Output output(file.get());
  {
    LiveLine line(output);
    line.Show("1 %");
    line.Show("2 %");
  }
  EXPECT_EQ(Written(file.get()), "\r\x1b[K1 %\r\x1b[K2 %\r\x1b[K");
}

TEST(LiveLineTest, WritesNothingWhereNothingWasShown) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::tmpfile(), &std::fclose);
  ASSERT_NE(file, nullptr);
  Output output(file.get());
  { LiveLine line(output); }
  EXPECT_EQ(Written(file.get()), "");
}

}  // namespace
}  // namespace shira
