#include "server/catalog/version_numbers.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "base/strings.h"

namespace shira {
namespace {

constexpr size_t kMany = VersionNumbers::kMaxGoneNames + 1;

TEST(VersionNumbersTest, EachNameCountsForItself) {
  VersionNumbers numbers;
  EXPECT_EQ(numbers.Next("a"), 1);
  EXPECT_EQ(numbers.Next("a"), 2);
  EXPECT_EQ(numbers.Next("b"), 1);
}

TEST(VersionNumbersTest, ANameThatCameAndWentGoesOn) {
  VersionNumbers numbers;
  EXPECT_EQ(numbers.Next("a"), 1);
  numbers.Gone("a");
  EXPECT_EQ(numbers.Next("a"), 2);
  numbers.Gone("never there");
  EXPECT_EQ(numbers.Next("never there"), 1);
}

TEST(VersionNumbersTest, NamesThatAreGoneAreNotRememberedForGood) {
  VersionNumbers numbers;
  numbers.Next("old");
  EXPECT_EQ(numbers.Next("old"), 2);
  numbers.Next("there");
  numbers.Gone("old");
  for (size_t i = 0; i < 3 * kMany; ++i) {
    const std::string name = StrCat("name", i);
    numbers.Next(name);
    numbers.Gone(name);
  }
  EXPECT_EQ(numbers.Save().last.size(), VersionNumbers::kMaxGoneNames + 1);
  EXPECT_EQ(numbers.Next("old"), numbers.Save().forgotten + 1);
  EXPECT_GT(numbers.Next("old"), 3);  // 1 and 2 were used
  EXPECT_EQ(numbers.Next("there"), 2);
}

TEST(VersionNumbersTest, TheOneThatWentFirstIsForgottenFirst) {
  VersionNumbers numbers;
  for (const char* name : {"a", "b"}) {
    numbers.Next(name);
    numbers.Gone(name);
  }
  EXPECT_EQ(numbers.Next("a"), 2);  // comes back, and goes again
  numbers.Gone("a");
  for (size_t i = 0; i < VersionNumbers::kMaxGoneNames - 1; ++i) {
    numbers.Next(StrCat("name", i));
    numbers.Gone(StrCat("name", i));
  }
  EXPECT_TRUE(numbers.Save().last.contains("a"));
  EXPECT_FALSE(numbers.Save().last.contains("b"));
  EXPECT_EQ(numbers.Save().forgotten, 1);
}

TEST(VersionNumbersTest, NoVersionIsUsedTwiceForAName) {
  std::mt19937 random(1);
  VersionNumbers numbers;
  std::map<std::string, int64_t> last;  // of every name ever
  std::map<std::string, bool> there;
  for (int i = 0; i < 50'000; ++i) {
    const std::string name = StrCat("name", random() % (4 * kMany));
    switch (random() % 8) {
      case 0: {  // a restart
        const VersionNumbers::Saved saved = numbers.Save();
        if (random() % 50 != 0) break;
        numbers.Restore(saved);
        for (const auto& [other, is_there] : there) {
          if (is_there) numbers.Keep(other);
        }
        ASSERT_EQ(numbers.Save(), saved);
        break;
      }
      case 1:
      case 2:
      case 3: {
        const int64_t version = numbers.Next(name);
        ASSERT_GT(version, last[name]) << name;
        last[name] = version;
        there[name] = true;
        break;
      }
      default:
        numbers.Gone(name);
        there[name] = false;
    }
  }
}

}  // namespace
}  // namespace shira
