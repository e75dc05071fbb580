#include "server/grpc/adapter_page.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/strings.h"
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

TEST(AdapterPageTest, SeveralVersionsOfANameStandOnSeveralPages) {
  auto all = Adapters({"a", "a", "a", "b"});
  for (size_t i = 0; i < 3; ++i) all[i].version = static_cast<int64_t>(i) + 1;
  std::vector<int64_t> versions;
  AdapterPage page;
  do {
    ASSERT_OK_AND_ASSIGN(page, PageOf(all, Request(1, page.next_page_token)));
    ASSERT_THAT(page.adapters, SizeIs(1));
    versions.push_back(page.adapters[0].version);
  } while (!page.next_page_token.empty());
  EXPECT_THAT(versions, ElementsAre(1, 2, 3, 0));
}

TEST(AdapterPageTest, FiltersByNameStateAndResidency) {
  auto all = Adapters({"team/a", "team/b", "team/c", "tone"});
  all[0].state = AdapterState::kReady;
  all[0].residency = AdapterResidency::kFused;
  all[1].state = AdapterState::kFailed;
  all[2].state = AdapterState::kReady;
  all[3].state = AdapterState::kReady;
  all[3].residency = AdapterResidency::kInMemory;
  v1::ListAdaptersRequest request;
  request.set_name_prefix("team/");
  EXPECT_THAT(NamesOf(*PageOf(all, request)), ElementsAre("team/a", "team/b", "team/c"));
  request.add_states(v1::ADAPTER_STATE_READY);
  request.add_states(v1::ADAPTER_STATE_LOADING);
  EXPECT_THAT(NamesOf(*PageOf(all, request)), ElementsAre("team/a", "team/c"));
  request.add_residencies(v1::ADAPTER_RESIDENCY_FUSED);
  EXPECT_THAT(NamesOf(*PageOf(all, request)), ElementsAre("team/a"));
  request.clear_name_prefix();
  request.add_residencies(v1::ADAPTER_RESIDENCY_IN_MEMORY);
  // Pages are of what matches.
  request.set_page_size(1);
  ASSERT_OK_AND_ASSIGN(AdapterPage page, PageOf(all, request));
  EXPECT_THAT(NamesOf(page), ElementsAre("team/a"));
  request.set_page_token(page.next_page_token);
  ASSERT_OK_AND_ASSIGN(page, PageOf(all, request));
  EXPECT_THAT(NamesOf(page), ElementsAre("tone"));
  EXPECT_THAT(page.next_page_token, IsEmpty());
}

TEST(AdapterPageTest, RefusesStatesAndResidenciesThatThereAreNot) {
  v1::ListAdaptersRequest request;
  request.add_states(v1::ADAPTER_STATE_UNSPECIFIED);
  EXPECT_THAT(PageOf({}, request), StatusIs(absl::StatusCode::kInvalidArgument));
  request.Clear();
  request.add_residencies(static_cast<v1::AdapterResidency>(77));
  EXPECT_THAT(PageOf({}, request), StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(AdapterPageTest, RefusesNegativeSizesAndForeignTokens) {
  EXPECT_THAT(PageOf({}, Request(-1, "")), StatusIs(absl::StatusCode::kInvalidArgument));
  for (const char* token : {"not base64!", "YQ", "YUB4"}) {  // the last two: "a", "a@x"
    EXPECT_THAT(PageOf({}, Request(1, token)), StatusIs(absl::StatusCode::kInvalidArgument));
  }
}

TEST(AdapterPageTest, NoAdaptersAreOneEmptyPage) {
  ASSERT_OK_AND_ASSIGN(const AdapterPage page, PageOf({}, Request(0, "")));
  EXPECT_THAT(page.adapters, IsEmpty());
  EXPECT_THAT(page.next_page_token, IsEmpty());
}

// gRPC's clients take messages of 4 MiB.
TEST(AdapterPageTest, APageHasAtMostSoManyBytes) {
  auto all = Adapters(std::vector<std::string>(1000, "a"));
  for (size_t i = 0; i < all.size(); ++i) {
    all[i].version = static_cast<int64_t>(i) + 1;
    all[i].error = std::string(4000, 'e');
    all[i].path = std::string(4000, 'p');
  }
  size_t count = 0;
  int pages = 0;
  AdapterPage page;
  do {
    ASSERT_OK_AND_ASSIGN(page, PageOf(all, Request(1000, page.next_page_token)));
    count += page.adapters.size();
    EXPECT_LE(page.adapters.size(), (size_t{4} << 20) / 8000);
    ++pages;
  } while (!page.next_page_token.empty());
  EXPECT_EQ(count, 1000u);
  EXPECT_LE(pages, 5);
  // One alone is given whatever it has.
  all[0].error = std::string(3'000'000, 'e');
  ASSERT_OK_AND_ASSIGN(page, PageOf(all, Request(1000, "")));
  EXPECT_THAT(page.adapters, SizeIs(1));
}

v1::ListAliasesRequest AliasRequest(int size, const std::string& token) {
  v1::ListAliasesRequest request;
  request.set_page_size(size);
  request.set_page_token(token);
  return request;
}

TEST(AliasPageTest, PagesCoverEverythingOnce) {
  std::vector<AliasInfo> all;
  for (int i = 1000; i < 3500; ++i) all.push_back({StrCat("alias-", i), {"tone", 1}, {}});
  std::vector<std::string> names;
  AliasPage page;
  do {
    ASSERT_OK_AND_ASSIGN(page, PageOf(all, AliasRequest(0, page.next_page_token)));
    EXPECT_LE(page.aliases.size(), 1000u);
    for (const AliasInfo& alias : page.aliases) names.push_back(alias.name);
  } while (!page.next_page_token.empty());
  ASSERT_EQ(names.size(), all.size());
  for (size_t i = 0; i < all.size(); ++i) EXPECT_EQ(names[i], all[i].name);
  ASSERT_OK_AND_ASSIGN(page, PageOf(all, AliasRequest(2, "")));
  EXPECT_THAT(page.aliases, SizeIs(2));
  EXPECT_THAT(PageOf(all, AliasRequest(-1, "")), StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(PageOf(all, AliasRequest(1, "%%")), StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace shira
