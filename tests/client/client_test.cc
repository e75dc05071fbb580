#include "client/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cancellation.h"
#include "client/error_info.h"
#include "tests/testutil/fake_server.h"
#include "tests/testutil/status_matchers.h"

namespace shira {
namespace {

using ::shira::testing::FakeServer;
using ::shira::testing::IsOk;
using ::shira::testing::IsOkAndHolds;
using ::shira::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ClientTest : public ::testing::Test {
 protected:
  v1::GenerateRequest Prompt(const std::string& text) {
    v1::GenerateRequest request;
    request.set_prompt(text);
    return request;
  }

  void Load(const std::string& name) {
    v1::LoadAdapterRequest request;
    request.set_name(name);
    request.set_path("/adapters/" + name);
    ASSERT_THAT(client_.LoadAdapter(request), IsOk());
  }

  FakeServer server_;
  Client client_{{.address = server_.address()}};
};

v1::WeightedAdapter Weighted(const std::string& name, double weight) {
  v1::WeightedAdapter adapter;
  adapter.set_name(name);
  adapter.set_weight(weight);
  return adapter;
}

TEST_F(ClientTest, TellsProxiesWhichAdapterItAsksFor) {
  v1::GenerateRequest request = Prompt("Hello");
  request.mutable_adapter()->add_adapters()->set_name("pirate");
  Load("pirate");
  ASSERT_THAT(client_.Generate(request).status(), IsOk());
  EXPECT_EQ(server_.last_routing_key(), "pirate");
  ASSERT_THAT(client_.Generate(Prompt("Hello")).status(), IsOk());
  EXPECT_EQ(server_.last_routing_key(), "");
  ASSERT_THAT(client_.StreamGenerate(request, [](const auto&) { return true; }).status(), IsOk());
  EXPECT_EQ(server_.last_routing_key(), "pirate");
}

TEST_F(ClientTest, GeneratesAWholeAnswer) {
  ASSERT_OK_AND_ASSIGN(const v1::GenerateResponse response,
                       client_.Generate(Prompt("Grüße 🏴")));
  EXPECT_EQ(response.text(), "You said: Grüße 🏴");
  EXPECT_EQ(response.summary().finish_reason(), v1::FINISH_REASON_STOP);
}

TEST_F(ClientTest, StreamsChunksInOrderAndReturnsTheSummary) {
  std::string text;
  const absl::StatusOr<v1::GenerateSummary> summary =
      client_.StreamGenerate(Prompt("Hi"), [&](const auto& chunk) {
        text += chunk.text();
        return true;
      });
  ASSERT_THAT(summary, IsOk());
  EXPECT_EQ(text, "You said: Hi");
  EXPECT_EQ(summary->usage().completion_tokens(), 12);
}

TEST_F(ClientTest, StopsTheStreamWhenTheCallbackSaysSo) {
  int chunks = 0;
  EXPECT_THAT(client_.StreamGenerate(Prompt("forever"), [&](const auto&) { return ++chunks < 3; }),
              StatusIs(absl::StatusCode::kCancelled));
  EXPECT_EQ(chunks, 3);
  EXPECT_TRUE(server_.WaitForCancelled(1));
}

TEST_F(ClientTest, StopsTheStreamOnCancellationFromAnotherThread) {
  Cancellation cancellation;
  std::thread other;
  EXPECT_THAT(client_.StreamGenerate(Prompt("forever"),
                                     [&](const auto&) {
                                       if (!other.joinable())
                                         other = std::thread([&] { cancellation.Cancel(); });
                                       return true;
                                     },
                                     {.cancellation = &cancellation}),
              StatusIs(absl::StatusCode::kCancelled));
  other.join();
  EXPECT_TRUE(server_.WaitForCancelled(1));
}

TEST_F(ClientTest, DoesNotStartACallThatIsCancelledAlready) {
  Cancellation cancellation;
  cancellation.Cancel();
  EXPECT_THAT(client_.Generate(Prompt("forever"), {.cancellation = &cancellation}),
              StatusIs(absl::StatusCode::kCancelled));
}

TEST_F(ClientTest, EndsAtTheDeadline) {
  EXPECT_THAT(client_.Generate(Prompt("forever"), {.timeout = absl::Milliseconds(50)}),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
  EXPECT_TRUE(server_.WaitForCancelled(1));
}

TEST_F(ClientTest, RefusesAStreamWithoutSummary) {
  EXPECT_THAT(client_.StreamGenerate(Prompt("damaged"), [](const auto&) { return true; }),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("summary")));
}

TEST_F(ClientTest, KeepsTheServersErrorInfo) {
  v1::GenerateRequest request = Prompt("Hi");
  request.mutable_adapter()->add_adapters()->set_name("nobody");
  const absl::Status status = client_.Generate(request).status();
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kNotFound, HasSubstr("nobody")));
  EXPECT_EQ(GetErrorInfo(status).value_or(ErrorInfo{}).reason, "ADAPTER_NOT_FOUND");
  EXPECT_EQ(
      GetErrorInfo(client_.Generate(Prompt("busy")).status()).value_or(ErrorInfo{}).retry_delay,
      absl::Seconds(2));
}

TEST_F(ClientTest, TokenizesAndDetokenizes) {
  v1::TokenizeRequest text;
  text.set_text("aé");
  ASSERT_OK_AND_ASSIGN(const v1::TokenizeResponse ids, client_.Tokenize(text));
  EXPECT_THAT(ids.ids(), ElementsAre(97, 233));
  v1::DetokenizeRequest request;
  *request.mutable_ids() = ids.ids();
  ASSERT_OK_AND_ASSIGN(const v1::DetokenizeResponse back, client_.Detokenize(request));
  EXPECT_EQ(back.text(), "aé");
}

// gRPC's own limit is 4 MB.
TEST_F(ClientTest, TakesAReplyOfManyMegabytes) {
  v1::TokenizeRequest text;
  constexpr int kCharacters = 900'000;
  for (int i = 0; i < kCharacters; ++i) *text.mutable_text() += "\U0001f600";
  ASSERT_OK_AND_ASSIGN(const v1::TokenizeResponse reply, client_.Tokenize(text));
  EXPECT_EQ(reply.ids_size(), kCharacters);
  EXPECT_GT(reply.ByteSizeLong(), size_t{6} << 20);
}

TEST_F(ClientTest, TellsTheModel) {
  ASSERT_OK_AND_ASSIGN(const v1::GetModelResponse model, client_.GetModel());
  EXPECT_EQ(model.name(), "fake-135m");
}

TEST_F(ClientTest, ListsAdaptersOverAllPages) {
  for (const char* name : {"a", "b", "c", "d", "e"}) Load(name);
  ASSERT_OK_AND_ASSIGN(const std::vector<v1::Adapter> adapters, client_.ListAdapters());
  std::vector<std::string> names;
  for (const v1::Adapter& adapter : adapters) names.push_back(adapter.name());
  EXPECT_THAT(names, ElementsAre("a", "b", "c", "d", "e"));
}

TEST_F(ClientTest, UploadsWhatTheSourceGives) {
  v1::UploadAdapterRequest::Header header;
  header.set_name("pirate");
  header.add_files()->set_name("a.shira");
  std::vector<std::string> pieces = {"ab", "c", std::string(100'000, 'd')};
  size_t next = 0;
  const auto source = [&]() -> absl::StatusOr<absl::string_view> {
    return next < pieces.size() ? absl::string_view(pieces[next++]) : absl::string_view();
  };
  ASSERT_OK_AND_ASSIGN(const v1::UploadAdapterResponse response,
                       client_.UploadAdapter(header, source));
  EXPECT_EQ(response.adapter().name(), "pirate");
  EXPECT_EQ(server_.last_upload().files(0).name(), "a.shira");
  EXPECT_EQ(server_.last_upload_bytes(), "abc" + pieces[2]);
}

TEST_F(ClientTest, ASourceThatFailsEndsTheUpload) {
  v1::UploadAdapterRequest::Header header;
  header.set_name("pirate");
  const auto source = []() -> absl::StatusOr<absl::string_view> {
    return absl::NotFoundError("the disk is gone");
  };
  EXPECT_EQ(client_.UploadAdapter(header, source).status(),
            absl::NotFoundError("the disk is gone"));
}

TEST_F(ClientTest, AnUploadThatIsRefusedAtItsHeaderSaysWhy) {
  v1::UploadAdapterRequest::Header header;
  header.set_name("missing");
  const std::string piece(1 << 16, 'x');
  const auto endless = [&]() -> absl::StatusOr<absl::string_view> { return piece; };
  const absl::Status status = client_.UploadAdapter(header, endless).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(GetErrorInfo(status)->reason, "UPLOAD_QUOTA_EXHAUSTED");
}

TEST_F(ClientTest, MovesAliasesAndTakesThemBack) {
  Load("pirate");
  Load("party");
  ASSERT_OK_AND_ASSIGN(v1::Alias alias, client_.SetAlias("prod", "pirate"));
  ASSERT_OK_AND_ASSIGN(alias, client_.SetAlias("prod", "party"));
  EXPECT_EQ(alias.target().name(), "party");
  ASSERT_OK_AND_ASSIGN(alias, client_.RollbackAlias("prod"));
  EXPECT_EQ(alias.target().name(), "pirate");
  ASSERT_OK_AND_ASSIGN(const std::vector<v1::Alias> aliases, client_.ListAliases());
  EXPECT_EQ(aliases.size(), 1u);
  ASSERT_TRUE(client_.SetAlias("canary", "party").ok());
  ASSERT_TRUE(client_.SetAlias("test", "party").ok());
  ASSERT_OK_AND_ASSIGN(const std::vector<v1::Alias> all, client_.ListAliases());  // 3 pages
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].name(), "canary");
  EXPECT_EQ(all[2].name(), "test");
  EXPECT_TRUE(client_.DeleteAlias("prod").ok());
  EXPECT_EQ(client_.DeleteAlias("prod").code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(client_.PinAdapter("pirate")->adapter().pinned());
  EXPECT_FALSE(client_.UnpinAdapter("pirate")->adapter().pinned());
}

TEST_F(ClientTest, AppliesAndRevertsAdapters) {
  Load("pirate");
  ASSERT_OK_AND_ASSIGN(const v1::ApplyAdapterResponse applied,
                       client_.ApplyAdapter({Weighted("pirate", 0.5)}));
  EXPECT_EQ(applied.state().adapters(0).weight(), 0.5);
  ASSERT_OK_AND_ASSIGN(v1::GetResidentStateResponse state, client_.GetResidentState());
  EXPECT_EQ(state.resident().adapters_size(), 1);
  ASSERT_THAT(client_.RevertAdapter(), IsOk());
  ASSERT_OK_AND_ASSIGN(state, client_.GetResidentState());
  EXPECT_EQ(state.resident().adapters_size(), 0);
  EXPECT_EQ(state.switches(), 2);
}

TEST_F(ClientTest, UnloadsAdapters) {
  Load("pirate");
  ASSERT_THAT(client_.GetAdapter("pirate"), IsOk());
  v1::UnloadAdapterRequest request;
  request.set_name("pirate");
  EXPECT_THAT(client_.UnloadAdapter(request), IsOk());
  EXPECT_THAT(client_.GetAdapter("pirate"), StatusIs(absl::StatusCode::kNotFound));
}

TEST_F(ClientTest, VerifiesWeightsAndDoesNotTakeAMismatchForAnError) {
  ASSERT_OK_AND_ASSIGN(v1::VerifyWeightsResponse response, client_.VerifyWeights());
  EXPECT_TRUE(response.matches_expected());
  server_.Damage();
  ASSERT_OK_AND_ASSIGN(response, client_.VerifyWeights());
  EXPECT_FALSE(response.matches_expected());
}

TEST_F(ClientTest, CanBeMovedAndSharedByThreads) {
  Client moved = std::move(client_);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] { EXPECT_THAT(moved.Generate(Prompt("Hi")), IsOk()); });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(ClientTest, ReadsTheHealthOfTheServer) {
  EXPECT_THAT(client_.CheckHealth(), IsOkAndHolds(HealthStatus::kServing));
  server_.SetServing(false);
  EXPECT_THAT(client_.CheckHealth(), IsOkAndHolds(HealthStatus::kNotServing));
}

TEST_F(ClientTest, WaitsForAServerThatDoesNotServeYet) {
  server_.SetServing(false);
  EXPECT_THAT(client_.WaitUntilReady({.timeout = absl::ZeroDuration()}),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("does not serve")));
  EXPECT_THAT(
      client_.WaitUntilReady({.timeout = absl::ZeroDuration(), .reachable_is_enough = true}),
      IsOk());

  bool reachable = false;
  EXPECT_THAT(client_.WaitUntilReady({.timeout = absl::Seconds(60),
                                      .on_progress =
                                          [&](const ReadyProgress& progress) {
                                            reachable = progress.reachable;
                                            server_.SetServing(true);
                                          }}),
              IsOk());
  EXPECT_TRUE(reachable);
}

TEST_F(ClientTest, StopsWaitingOnCancellation) {
  server_.SetServing(false);
  Cancellation cancellation;
  EXPECT_THAT(
      client_.WaitUntilReady({.timeout = absl::InfiniteDuration(),
                              .on_progress = [&](const ReadyProgress&) { cancellation.Cancel(); },
                              .cancellation = &cancellation}),
      StatusIs(absl::StatusCode::kCancelled));
}

TEST(ClientWithoutHealthServiceTest, TakesTheServerForReady) {
  const FakeServer server({.has_health_service = false});
  EXPECT_THAT(Client({.address = server.address()}).WaitUntilReady({.timeout = absl::Seconds(60)}),
              IsOk());
}

TEST(ClientWithoutServerTest, SaysWhereItLookedAndWhatToCheck) {
  int port = 0;
  {
    const FakeServer server;
    port = server.port();
  }
  const Client client({.address = "127.0.0.1:" + std::to_string(port)});
  int attempts = 0;
  const absl::Status status = client.WaitUntilReady(
      {.timeout = absl::Milliseconds(250), .on_progress = [&](const ReadyProgress& progress) {
         ++attempts;
         EXPECT_FALSE(progress.reachable);
       }});
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnavailable, HasSubstr(client.address())));
  EXPECT_THAT(status, StatusIs(absl::StatusCode::kUnavailable, HasSubstr("check that it runs")));
  EXPECT_GE(attempts, 1);
  EXPECT_FALSE(GetErrorInfo(status).has_value());
}

TEST(ClientWithoutServerTest, ConnectsWhenTheServerComesUpLater) {
  int port = 0;
  {
    const FakeServer server;
    port = server.port();
  }
  std::unique_ptr<FakeServer> server;
  const Client client({.address = "127.0.0.1:" + std::to_string(port)});
  EXPECT_THAT(client.WaitUntilReady({.timeout = absl::Seconds(60),
                                     .on_progress =
                                         [&](const ReadyProgress&) {
                                           if (server == nullptr)
                                             server = std::make_unique<FakeServer>(
                                                 shira::testing::FakeServerOptions{.port = port});
                                         }}),
              IsOk());
}

}  // namespace
}  // namespace shira
