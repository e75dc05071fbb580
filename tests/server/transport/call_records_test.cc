#include "server/transport/call_records.h"

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
  grpc::CallbackServerContext context;
  const auto first = std::make_shared<CallRecord>();
  records.Add(context, first);
  EXPECT_EQ(records.Of(context), first);
  // A context's memory may be another call's by the time that the first record goes.
  const auto second = std::make_shared<CallRecord>();
  records.Add(context, second);
  records.Remove(context, first);
  EXPECT_EQ(records.Of(context), second);
  records.Remove(context, second);
  EXPECT_NE(records.Of(context), second);
  EXPECT_TRUE(IsRequestId(records.Of(context)->request_id));
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
