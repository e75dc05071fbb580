#include "client/cli/chat_settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace shira::cli {
namespace {

using ::testing::HasSubstr;

TEST(ChatSettingsTest, GivesEverySettingAValueAndTakesItBack) {
  const v1::GenerateRequest untouched;
  for (const std::string& name : ChatSettingNames()) {
    v1::GenerateRequest request;
    const bool is_switch = name == "ignore-eos" || name == "speculate";
    EXPECT_TRUE(SetChatSetting(name, is_switch ? "on" : "2", request).ok()) << name;
    EXPECT_NE(FormatChatSettings(request), FormatChatSettings(untouched)) << name;
    EXPECT_TRUE(SetChatSetting(name, "default", request).ok()) << name;
    EXPECT_EQ(FormatChatSettings(request), FormatChatSettings(untouched)) << name;
  }
}

TEST(ChatSettingsTest, ChangesTheFieldsOfTheRequest) {
  v1::GenerateRequest request;
  EXPECT_TRUE(SetChatSetting("temperature", "0.5", request).ok());
  EXPECT_TRUE(SetChatSetting("seed", "18446744073709551615", request).ok());
  EXPECT_TRUE(SetChatSetting("max-tokens", "7", request).ok());
  EXPECT_TRUE(SetChatSetting("stop", "the end", request).ok());
  EXPECT_TRUE(SetChatSetting("stop", "The End", request).ok());
  EXPECT_TRUE(SetChatSetting("priority", "-3", request).ok());
  EXPECT_TRUE(SetChatSetting("speculate", "off", request).ok());
  EXPECT_EQ(request.sampling().temperature(), 0.5f);
  EXPECT_EQ(request.sampling().seed(), 18446744073709551615u);
  EXPECT_EQ(request.stop().max_tokens(), 7);
  ASSERT_EQ(request.stop().stop_strings_size(), 1);
  EXPECT_EQ(request.stop().stop_strings(0), "The End");
  EXPECT_EQ(request.priority(), -3);
  EXPECT_TRUE(request.has_speculate());
  EXPECT_FALSE(request.speculate());
  EXPECT_THAT(FormatChatSettings(request), HasSubstr("0.5\n"));
  EXPECT_THAT(FormatChatSettings(request), HasSubstr("'The End'\n"));
}

TEST(ChatSettingsTest, RefusesWhatIsNoValueAndLeavesTheRequest) {
  v1::GenerateRequest request;
  EXPECT_TRUE(SetChatSetting("temperature", "0.5", request).ok());
  EXPECT_THAT(SetChatSetting("temperature", "hot", request).message(),
              HasSubstr("temperature: expected a number, or default; found 'hot'"));
  for (const auto& [name, value] :
       {std::pair("temperature", "nan"), std::pair("top-k", "1.5"), std::pair("seed", "-1"),
        std::pair("ignore-eos", "yes"), std::pair("max-tokens", "99999999999")}) {
    EXPECT_FALSE(SetChatSetting(name, value, request).ok()) << name;
  }
  EXPECT_EQ(request.sampling().temperature(), 0.5f);
}

TEST(ChatSettingsTest, SaysWhichSettingWasMeant) {
  v1::GenerateRequest request;
  EXPECT_THAT(SetChatSetting("temprature", "1", request).message(),
              HasSubstr("did you mean temperature?"));
  EXPECT_THAT(SetChatSetting("frobnicate", "1", request).message(), HasSubstr("/set lists them"));
}

}  // namespace
}  // namespace shira::cli
