#include "server/logging/log_event.h"

#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace shira {
namespace {

TEST(LogEventTest, TextOfAFieldCannotLookLikeAnotherField) {
  const std::vector<LogField> fields = {{"plain", std::string("/a.B/C@1*0.5")},
                                        {"empty", std::string()},
                                        {"forged", std::string("x status=OK\nnext \"line\"")},
                                        {"count", int64_t{-3}},
                                        {"ms", 1.25}};
  EXPECT_EQ(FormatEventAsText("call", fields),
            "call plain=/a.B/C@1*0.5 empty=\"\" "
            "forged=\"x status=OK\\nnext \\\"line\\\"\" count=-3 ms=1.250");
}

TEST(LogEventTest, MembersAreJsonWhateverIsInThem) {
  const std::vector<LogField> fields = {{"text", std::string("a\"b\\\n\x01\xff")},
                                        {"count", std::numeric_limits<int64_t>::max()},
                                        {"nan", std::numeric_limits<double>::quiet_NaN()},
                                        {"ms", 0.5}};
  const auto json = nlohmann::json::parse("{" + FormatEventAsJson("e", fields) + "}");
  EXPECT_EQ(json["event"], "e");
  EXPECT_EQ(json["text"], "a\"b\\\n\x01\xef\xbf\xbd");
  EXPECT_EQ(json["count"], std::numeric_limits<int64_t>::max());
  EXPECT_EQ(json["ms"], 0.5);
}

}  // namespace
}  // namespace shira
