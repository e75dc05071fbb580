#include "server/grpc/rpc_server.h"

#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "base/strings.h"
#include "server/grpc/grpc_build.h"
#include "tests/testutil/status_matchers.h"
#include "tests/testutil/temp_folder.h"

namespace shira {
namespace {

using ::shira::testing::StatusIs;
using ::shira::testing::TempFolder;
using ::testing::HasSubstr;
using Metadata = std::vector<std::pair<std::string, std::string>>;

constexpr char kHealthCheck[] = "/grpc.health.v1.Health/Check";
constexpr char kGetModel[] = "/shira.v1.Inference/GetModel";  // which is not there
constexpr std::string_view kHello("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x4\0\0\0\0\0", 33);
constexpr std::string_view kPing("\0\0\x8\x6\0\0\0\0\0abcdefgh", 17);
constexpr char kPingFrame = 6;
constexpr char kGoAwayFrame = 7;

// A client that can do what no library would.
class RawConnection {
 public:
  explicit RawConnection(const std::string& port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(std::stoi(port)));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  }
  ~RawConnection() { close(fd_); }
  RawConnection(const RawConnection&) = delete;
  RawConnection& operator=(const RawConnection&) = delete;

  void Send(std::string_view bytes) { send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL); }

  // The types of the frames that come until the server closes, or has sent `count` of `type`.
  std::string ReadFrames(char type = 0, int count = -1) {
    std::string types;
    while (count != 0) {
      const std::string head = Read(9);
      if (head.size() < 9) break;
      const auto byte = [&](int i) { return static_cast<unsigned char>(head[i]); };
      Read(static_cast<size_t>(byte(0) << 16 | byte(1) << 8 | byte(2)));
      types += head[3];
      if (head[3] == type) --count;
    }
    return types;
  }

 private:
  std::string Read(size_t size) {
    std::string bytes(size, '\0');
    size_t have = 0;
    while (have < size) {
      const ssize_t now = recv(fd_, bytes.data() + have, size - have, 0);
      if (now <= 0) break;
      have += static_cast<size_t>(now);
    }
    bytes.resize(have);
    return bytes;
  }

  const int fd_;
};

class RpcServerTest : public ::testing::Test {
 protected:
  void Start(RpcServer::Options options = {}, AccessControl::Options access = {}) {
    if (options.listen.empty()) options.listen = "127.0.0.1:0";
    absl::StatusOr<std::unique_ptr<AccessControl>> control =
        AccessControl::Create(std::move(access));
    ASSERT_TRUE(control.ok());
    access_ = *std::move(control);
    absl::StatusOr<std::unique_ptr<RpcServer>> server =
        RpcServer::Start(options, {}, *access_, records_, [](auto, auto, auto) {});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    server_->SetServing(true);
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 20);
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 20);
    channel_ = grpc::CreateCustomChannel(StrCat("127.0.0.1:", server_->address()),
                                         grpc::InsecureChannelCredentials(), arguments);
  }

  // A call with an empty message, or with the one that is given.
  grpc::Status Call(const std::string& method, const Metadata& metadata = {},
                    const std::string& message = "",
                    grpc_compression_algorithm compression = GRPC_COMPRESS_NONE) {
    grpc::GenericStub stub(channel_);
    grpc::ClientContext context;
    for (const auto& [name, value] : metadata) context.AddMetadata(name, value);
    context.set_compression_algorithm(compression);
    const grpc::Slice slice(message);
    const grpc::ByteBuffer request(&slice, 1);
    grpc::ByteBuffer response;
    grpc::Status status;
    absl::Notification done;
    stub.UnaryCall(&context, method, grpc::StubOptions(), &request, &response,
                   [&](grpc::Status result) {
                     status = std::move(result);
                     done.Notify();
                   });
    done.WaitForNotification();
    return status;
  }

  // Health refuses a service whose name has so many bytes, once it has the message.
  grpc::Status CheckNameOf(size_t bytes, char letter = 'x',
                           grpc_compression_algorithm compression = GRPC_COMPRESS_NONE) {
    std::string message = "\x0a";
    for (size_t rest = bytes; rest > 0; rest >>= 7) {
      message += static_cast<char>((rest & 0x7f) | (rest >> 7 > 0 ? 0x80 : 0));
    }
    return Call(kHealthCheck, {}, message.append(bytes, letter), compression);
  }

  const TempFolder folder_;
  CallRecords records_;
  std::unique_ptr<AccessControl> access_;
  std::unique_ptr<RpcServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

int64_t Threads() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return std::distance(begin(tasks), end(tasks));
}

TEST_F(RpcServerTest, ConnectionsBeyondTheLimitAreClosedUntilOthersEnd) {
  Start({.max_connections = 2});
  auto first = std::make_unique<RawConnection>(server_->address());
  const RawConnection second(server_->address());
  first->Send(kHello);
  // Both are connected: a further connection is closed at once.
  while (server_->connections().open < 2) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_EQ(RawConnection(server_->address()).ReadFrames(), "");
  EXPECT_EQ(server_->connections().refused, 1);
  EXPECT_EQ(Call(kHealthCheck).error_code(), grpc::StatusCode::UNAVAILABLE);
  first.reset();
  while (!Call(kHealthCheck).ok()) absl::SleepFor(absl::Milliseconds(1));
}

TEST_F(RpcServerTest, ConnectionsThatSayNothingOrHelloAloneAreClosed) {
  Start({.keepalive = absl::Milliseconds(50)});
  EXPECT_THAT(RawConnection(server_->address()).ReadFrames(), ::testing::Not(HasSubstr("\x1")));
  RawConnection hello(server_->address());
  hello.Send(kHello);
  EXPECT_THAT(hello.ReadFrames(), HasSubstr(std::string(1, kPingFrame)));  // and then it ends
}

TEST_F(RpcServerTest, PingsOfClientsArePermittedWithoutCalls) {
  Start({.min_ping_interval = absl::ZeroDuration()});
  RawConnection client(server_->address());
  client.Send(kHello);
  for (int i = 0; i < 8; ++i) client.Send(kPing);
  const std::string frames = client.ReadFrames(kPingFrame, 8);
  EXPECT_EQ(std::count(frames.begin(), frames.end(), kPingFrame), 8);
  EXPECT_EQ(frames.find(kGoAwayFrame), std::string::npos);
}

TEST_F(RpcServerTest, PingsInQuickTurnAreNot) {
  Start({.min_ping_interval = absl::Hours(1)});
  RawConnection client(server_->address());
  client.Send(kHello);
  for (int i = 0; i < 8; ++i) client.Send(kPing);
  EXPECT_THAT(client.ReadFrames(), HasSubstr(std::string(1, kGoAwayFrame)));
}

TEST_F(RpcServerTest, MetadataAboveTheLimitFailsItsCallAlone) {
  Start({.max_metadata_bytes = 8 << 10});
  EXPECT_TRUE(Call(kHealthCheck).ok());
  EXPECT_TRUE(Call(kHealthCheck, {{"x", std::string(7 << 10, 'x')}}).ok());
  for (const int kb : {9, 20, 31, 40, 500}) {
    EXPECT_EQ(Call(kHealthCheck, {{"x", std::string(kb << 10, 'x')}}).error_code(),
              grpc::StatusCode::RESOURCE_EXHAUSTED)
        << kb;
  }
  EXPECT_TRUE(Call(kHealthCheck).ok());
  EXPECT_EQ(server_->connections().accepted, 1);
}

class BoundedMessagesTest : public RpcServerTest {
 protected:
  static constexpr grpc::StatusCode kArrived = grpc::StatusCode::INVALID_ARGUMENT;

  void SetUp() override {
    if (LinkedGrpc().fixes.empty()) GTEST_SKIP() << "the system's gRPC asks nobody";
  }

  // HEADERS of a health check, and the first bytes of a message that says it has `length` bytes.
  static std::string BeginCall(uint32_t length) {
    std::string block;
    for (const auto& [name, value] : Metadata{{":method", "POST"},
                                              {":scheme", "http"},
                                              {":path", kHealthCheck},
                                              {":authority", "localhost"},
                                              {"te", "trailers"},
                                              {"content-type", "application/grpc"}}) {
      block += StrCat("\x10", std::string(1, static_cast<char>(name.size())), name,
                      std::string(1, static_cast<char>(value.size())), value);
    }
    std::string message(5, '\0');
    for (int i = 0; i < 4; ++i) message[1 + i] = static_cast<char>(length >> (24 - 8 * i));
    return StrCat(std::string(kHello), Frame(1, 4, block), Frame(0, 0, message));
  }

  static std::string Frame(char type, char flags, const std::string& payload) {
    const char stream = 1;
    const std::string size = {'\0', static_cast<char>(payload.size() >> 8),
                              static_cast<char>(payload.size())};
    return size + type + flags + std::string(3, '\0') + stream + payload;
  }

  const std::shared_ptr<MessageMemory> memory_ =
      std::make_shared<MessageMemory>(MessageMemory::Options{.limit_bytes = 1 << 20});
};

TEST_F(BoundedMessagesTest, OneThatThereIsNoRoomForEndsItsCallAlone) {
  Start({.message_memory = memory_});
  EXPECT_EQ(CheckNameOf(200 << 10).error_code(), kArrived);
  const grpc::Status refused = CheckNameOf(300 << 10);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(refused.error_message(), HasSubstr("try again later"));
  EXPECT_EQ(CheckNameOf(200 << 10).error_code(), kArrived);
  EXPECT_EQ(server_->connections().accepted, 1);
  EXPECT_EQ(memory_->stats().refused, 1);
  while (memory_->stats().held_bytes > 0) absl::SleepFor(absl::Milliseconds(1));
}

TEST_F(BoundedMessagesTest, OneBeyondTheLimitIsRefusedByItsLength) {
  Start({.max_message_bytes = 100 << 10, .message_memory = memory_});
  RawConnection client(server_->address());
  client.Send(BeginCall(uint32_t{1} << 31));
  EXPECT_THAT(client.ReadFrames(1, 1), HasSubstr("\x1"));  // the answer; nothing was held for it
  EXPECT_EQ(memory_->stats().held_bytes, 0);
  EXPECT_EQ(memory_->stats().refused, 0);
}

TEST_F(BoundedMessagesTest, OneThatDoesNotArriveInTimeEndsItsCall) {
  const auto memory = std::make_shared<MessageMemory>(
      MessageMemory::Options{.limit_bytes = 1 << 20, .timeout = absl::Milliseconds(20)});
  Start({.message_memory = memory});
  RawConnection client(server_->address());
  client.Send(BeginCall(100 << 10));
  EXPECT_THAT(client.ReadFrames(1, 1), HasSubstr("\x1"));
  while (memory->stats().held_bytes > 0) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_EQ(memory->stats().refused, 0);
}

TEST_F(BoundedMessagesTest, WhatAConnectionHeldIsReleasedWithIt) {
  Start({.message_memory = memory_});
  {
    RawConnection client(server_->address());
    client.Send(BeginCall(100 << 10));
    while (memory_->stats().held_bytes != 100 << 10) absl::SleepFor(absl::Milliseconds(1));
  }
  while (memory_->stats().held_bytes > 0) absl::SleepFor(absl::Milliseconds(1));
}

TEST_F(BoundedMessagesTest, CompressedOnesMayNotBecomeMuchLonger) {
  Start();
  EXPECT_EQ(CheckNameOf(60 << 10, 'x', GRPC_COMPRESS_GZIP).error_code(), kArrived);
  EXPECT_EQ(CheckNameOf(400 << 10, 'x', GRPC_COMPRESS_NONE).error_code(), kArrived);
  EXPECT_EQ(CheckNameOf(400 << 10, 'x', GRPC_COMPRESS_GZIP).error_code(),
            grpc::StatusCode::INTERNAL);
}

TEST_F(RpcServerTest, TwoAuthorizationHeadersAreRefused) {
  const std::string path = folder_.Write("access", "inference web token-of-web-1234\n");
  Start({}, {.access_file = path});
  const std::pair<std::string, std::string> good = {"authorization", "Bearer token-of-web-1234"};
  const std::pair<std::string, std::string> bad = {"authorization", "Bearer token-of-eve-1234"};
  const auto code = [&](const Metadata& sent) { return Call(kGetModel, sent).error_code(); };
  EXPECT_EQ(code({good}), grpc::StatusCode::UNIMPLEMENTED);
  for (const Metadata& two : {Metadata{good, bad}, Metadata{bad, good}, Metadata{good, good}}) {
    EXPECT_EQ(code(two), grpc::StatusCode::UNAUTHENTICATED);
  }
}

TEST_F(RpcServerTest, OpenReflectionStreamsHoldNoThreads) {
  Start();
  const auto stub = grpc::reflection::v1alpha::ServerReflection::NewStub(channel_);
  struct Open {
    grpc::ClientContext context;
    std::unique_ptr<
        grpc::ClientReaderWriter<ReflectionService::Request, ReflectionService::Response>>
        stream;
  };
  std::vector<std::unique_ptr<Open>> streams;
  int64_t threads = 0;
  for (int i = 0; i < 60; ++i) {
    streams.push_back(std::make_unique<Open>());
    Open& open = *streams.back();
    open.stream = stub->ServerReflectionInfo(&open.context);
    ReflectionService::Request request;
    request.set_list_services("");
    ReflectionService::Response response;
    ASSERT_TRUE(open.stream->Write(request));
    ASSERT_TRUE(open.stream->Read(&response));
    EXPECT_EQ(response.list_services_response().service_size(), 2);
    if (i == 10) threads = Threads();  // gRPC's own are there
  }
  EXPECT_LE(Threads(), threads + 8);
  for (const auto& open : streams) open->context.TryCancel();
}

TEST_F(RpcServerTest, AnAddressInUseIsRefusedWithTheReason) {
  Start();
  for (const std::string& listen :
       {StrCat("127.0.0.1:", server_->address()), std::string("unix:/no/such/folder/socket")}) {
    EXPECT_THAT(RpcServer::Start({.listen = listen}, {}, *access_, records_, nullptr).status(),
                StatusIs(absl::StatusCode::kUnavailable, HasSubstr("cannot listen on")));
  }
}

}  // namespace
}  // namespace shira
