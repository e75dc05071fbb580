#include "server/logging/call_records.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace shira {
namespace {

TEST(CallRecordsTest, AClientIsItsIdentityOrItsHost) {
  CallRecord record;
  record.peer = "ipv4:10.0.0.7:41234";
  EXPECT_EQ(record.client(), "ipv4:10.0.0.7");
  record.peer = "ipv6:%5B2001:db8::1%5D:41234";
  EXPECT_EQ(record.client(), "ipv6:%5B2001:db8::1%5D");
  record.peer = "unix:/run/shira.sock";
  EXPECT_EQ(record.client(), "unix:/run/shira.sock");
  record.identity = "web";
  EXPECT_EQ(record.client(), "web");
}

TEST(CallRecordsTest, ACallHasTheRecordThatWasAnnounced) {
  CallRecords records;
  const int call = 0;
  const auto first = std::make_shared<CallRecord>();
  records.Add(&call, first);
  EXPECT_EQ(records.Of(&call), first);
  // A call's address may be another call's by the time that the first record goes.
  const auto second = std::make_shared<CallRecord>();
  records.Add(&call, second);
  records.Remove(&call, first);
  EXPECT_EQ(records.Of(&call), second);
  records.Remove(&call, second);
  EXPECT_NE(records.Of(&call), second);
  EXPECT_TRUE(IsRequestId(records.Of(&call)->request_id));
}

TEST(CallRecordsTest, IdsAreVisibleAsciiOfBoundedLength) {
  for (const char* good : {"a", "0123-abc/def:~", "{\"x\"}"}) EXPECT_TRUE(IsRequestId(good));
  for (const std::string& bad :
       {std::string(), std::string("a b"), std::string("a\n"), std::string("\xc3\xa9"),
        std::string("a\0b", 3), std::string(129, 'x')}) {
    EXPECT_FALSE(IsRequestId(bad)) << bad;
  }
  EXPECT_NE(NewRequestId(), NewRequestId());
}

}  // namespace
}  // namespace shira
