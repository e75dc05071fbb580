#include "server/service/adapter_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::vector<AdapterInfo> Adapters(const std::vector<std::string>& names) {
  std::vector<AdapterInfo> adapters(names.size());
  for (size_t i = 0; i < names.size(); ++i) adapters[i].name = names[i];
  return adapters;
}

std::vector<std::string> NamesOf(const AdapterPage& page) {
  std::vector<std::string> names;
  for (const AdapterInfo& info : page.adapters) names.push_back(info.name);
  return names;
}

v1::ListAdaptersRequest Request(int size, const std::string& token) {
  v1::ListAdaptersRequest request;
  request.set_page_size(size);
  request.set_page_token(token);
  return request;
}

TEST(AdapterPageTest, PagesCoverEverythingOnce) {
  const auto all = Adapters({"a", "b", "c", "d", "e"});
  ASSERT_OK_AND_ASSIGN(AdapterPage page, PageOf(all, Request(2, "")));
  EXPECT_THAT(NamesOf(page), ElementsAre("a", "b"));
  ASSERT_OK_AND_ASSIGN(page, PageOf(all, Request(2, page.next_page_token)));
  EXPECT_THAT(NamesOf(page), ElementsAre("c", "d"));
  ASSERT_OK_AND_ASSIGN(page, PageOf(all, Request(2, page.next_page_token)));
  EXPECT_THAT(NamesOf(page), ElementsAre("e"));
  EXPECT_THAT(page.next_page_token, IsEmpty());
}

TEST(AdapterPageTest, AFullLastPageHasNoSuccessor) {
  ASSERT_OK_AND_ASSIGN(const AdapterPage page, PageOf(Adapters({"a", "b"}), Request(2, "")));
  EXPECT_THAT(page.next_page_token, IsEmpty());
}

TEST(AdapterPageTest, AdaptersThatComeAndGoDisturbNoOther) {
  ASSERT_OK_AND_ASSIGN(AdapterPage page, PageOf(Adapters({"a", "c", "d"}), Request(2, "")));
  ASSERT_OK_AND_ASSIGN(page,
                       PageOf(Adapters({"a", "b", "d", "e"}), Request(2, page.next_page_token)));
  EXPECT_THAT(NamesOf(page), ElementsAre("d", "e"));
}

TEST(AdapterPageTest, TheServerChoosesAndBoundsTheSize) {
  const auto all = Adapters(std::vector<std::string>(1500, "a"));
  ASSERT_OK_AND_ASSIGN(AdapterPage page, PageOf(all, Request(0, "")));
  EXPECT_THAT(page.adapters, SizeIs(100));
  ASSERT_OK_AND_ASSIGN(page, PageOf(all, Request(1'000'000, "")));
  EXPECT_THAT(page.adapters, SizeIs(1000));
}

TEST(AdapterPageTest, RefusesNegativeSizesAndForeignTokens) {
  EXPECT_THAT(PageOf({}, Request(-1, "")), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(PageOf({}, Request(1, "not base64!")), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(AdapterPageTest, NoAdaptersAreOneEmptyPage) {
  ASSERT_OK_AND_ASSIGN(const AdapterPage page, PageOf({}, Request(0, "")));
  EXPECT_THAT(page.adapters, IsEmpty());
  EXPECT_THAT(page.next_page_token, IsEmpty());
}

}  // namespace
}  // namespace shira
