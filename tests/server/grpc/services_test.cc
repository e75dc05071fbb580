// Both services behind a real gRPC server and a real client, over a model without a model.

#include <gmock/gmock.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/generation/backend.h"
#include "server/grpc/adapter_admin_service.h"
#include "server/grpc/inference_service.h"
#include "tests/server/generation/byte_tokenizer.h"
#include "tests/server/grpc/error_reason.h"
#include "tests/server/lifecycle/lifecycle_fixture.h"
#include "tests/testutil/fake_model_executor.h"

namespace shira {
namespace {

using ::shira::testing::ByteTokenizer;
using ::shira::testing::FakeModelExecutor;
using ::shira::testing::FingerprintOf;
using ::shira::testing::LifecycleFixture;
using ::shira::testing::ReasonOf;
using ::testing::ElementsAreArray;

constexpr int kEndless = 100'000;

class ServicesTest : public LifecycleFixture {
 protected:
  // `keeps_deltas`: there is memory for more than one compiled state.
  explicit ServicesTest(bool keeps_deltas = true) : keeps_deltas_(keeps_deltas) {
    MustLoad("tone", 1.0f);
    MustLoad("terse", 2.0f);
    grpc::ServerBuilder builder;
    int port = 0;
    grpc::EnableDefaultHealthCheckService(true);
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&inference_service_);
    builder.RegisterService(&admin_service_);
    server_ = builder.BuildAndStart();
    channel_ = grpc::CreateChannel(StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials());
    inference_ = v1::Inference::NewStub(channel_);
    admin_ = v1::AdapterAdmin::NewStub(channel_);
  }

  ~ServicesTest() override {
    gate_.Close();
    llm_.Drain(absl::ZeroDuration());
    server_->Shutdown();
    lifecycle_.reset();  // before the engine that it tells of what is gone
  }

  // The life cycle, with the engine as the one that leaves what is gone.
  AdapterLifecycle& LifecycleOverEngine() {
    AdapterLifecycle::Options options = Options();
    if (!keeps_deltas_) {
      MustLoad("tone", 1.0f);
      options.memory_budget_bytes = lifecycle_->memory_in_use_bytes() - 4 * int64_t{sizeof(float)};
    }
    options.on_gone = [this](const Sha256Digest& adapter) { llm_.Leave(adapter); };
    options.cancel_users = [this](const Sha256Digest& adapter) { llm_.CancelUsersOf(adapter); };
    options.apply = [this](const StateHandle& state, SteadyTime deadline) {
      return llm_.Apply(state, deadline);
    };
    options.read = [this](const AdapterReader& reader, const std::string& path) {
      std::function<void(const std::string&)> hook;
      {
        absl::MutexLock lock(&hook_mutex_);
        hook = read_hook_;
      }
      if (hook) hook(path);
      return reader.Read(path);
    };
    Restart(std::move(options));
    return *lifecycle_;
  }

  static v1::GenerateRequest Request(int max_tokens, const std::string& adapter = "") {
    v1::GenerateRequest request;
    for (const int id : {1, 2, 3}) request.mutable_token_ids()->add_ids(id);
    request.mutable_stop()->set_max_tokens(max_tokens);
    if (!adapter.empty()) request.mutable_adapter()->add_adapters()->set_name(adapter);
    return request;
  }

  grpc::Status Generate(const v1::GenerateRequest& request, v1::GenerateResponse& response) {
    grpc::ClientContext context;
    return inference_->Generate(&context, request, &response);
  }

  // A stream that has begun and does not end by itself.
  std::unique_ptr<grpc::ClientReader<v1::StreamGenerateResponse>> GenerateEndlessly(
      grpc::ClientContext& context, const std::string& adapter = "") {
    v1::StreamGenerateRequest request;
    *request.mutable_request() = Request(kEndless, adapter);
    auto reader = inference_->StreamGenerate(&context, request);
    v1::StreamGenerateResponse first;
    EXPECT_TRUE(reader->Read(&first));
    return reader;
  }

  grpc::Status Apply(const std::string& adapter, absl::Duration timeout) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
    v1::ApplyAdapterRequest request;
    request.add_adapters()->set_name(adapter);
    v1::ApplyAdapterResponse response;
    return admin_->ApplyAdapter(&context, request, &response);
  }

  // Called before an adapter is read, on the thread that reads it.
  void SetReadHook(std::function<void(const std::string& path)> hook) {
    absl::MutexLock lock(&hook_mutex_);
    read_hook_ = std::move(hook);
  }

  grpc::Status GetAdapter(const std::string& name, absl::Duration timeout,
                          v1::GetAdapterResponse& response) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
    v1::GetAdapterRequest request;
    request.set_name(name);
    return admin_->GetAdapter(&context, request, &response);
  }

  // Whether grpc.health.v1.Health answers in time.
  grpc::Status CheckHealth(absl::Duration timeout) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
    const grpc::ByteBuffer request{nullptr, 0};
    grpc::ByteBuffer response;
    grpc::Status status;
    absl::Notification done;
    grpc::GenericStub(channel_).UnaryCall(&context, "/grpc.health.v1.Health/Check",
                                          grpc::StubOptions(), &request, &response,
                                          [&](grpc::Status result) {
                                            status = std::move(result);
                                            done.Notify();
                                          });
    done.WaitForNotification();
    return status;
  }

  std::vector<int32_t> Expected(int count) {
    return FakeModelExecutor::Expected(FingerprintOf(weights_.data()), {1, 2, 3}, count);
  }

  const bool keeps_deltas_;
  std::function<void(const std::string&)> read_hook_ ABSL_GUARDED_BY(hook_mutex_);
  ByteTokenizer tokenizer_;
  FakeModelExecutor executor_{weights_,
                              {.context_length = kEndless + 10, .kv_budget_tokens = 2 * kEndless}};
  WeightGuard weight_guard_{engine_};
  Engine llm_{{}, executor_, engine_};
  Backend backend_{.model = ModelInfo(),
                   .limits = {.vocab_size = FakeModelExecutor::kVocabSize, .max_tokens = kEndless},
                   .tokenizer = tokenizer_,
                   .chat_template = nullptr,
                   .lifecycle = LifecycleOverEngine(),
                   .switch_engine = engine_,
                   .weight_guard = weight_guard_,
                   .engine = llm_};
  BackendGate gate_;
  Metrics metrics_{{}};
  GenerationLedger ledger_{{}, metrics_};
  CallRecords records_;
  WorkQueue text_work_{{.name = "tokenising"}};
  WorkQueue disk_work_{{.name = "adapters to be read", .threads = 8}};
  WorkQueue control_work_{{.name = "changes that wait", .threads = 2}};
  const ServiceContext context_{.gate = gate_,
                                .records = records_,
                                .ledger = ledger_,
                                .text_work = text_work_,
                                .disk_work = disk_work_,
                                .control_work = control_work_};
  InferenceService inference_service_{context_};
  AdapterAdminService admin_service_{context_};
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Inference::Stub> inference_;
  std::unique_ptr<v1::AdapterAdmin::Stub> admin_;
};

TEST_F(ServicesTest, NothingIsServedBeforeTheGateOpensAndAfterItCloses) {
  v1::GenerateResponse response;
  grpc::Status status = Generate(Request(1), response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonOf(status), "MODEL_LOADING");
  EXPECT_EQ(ReasonOf(Apply("tone", absl::Seconds(60))), "MODEL_LOADING");

  gate_.Open(backend_);
  EXPECT_TRUE(Generate(Request(1), response).ok());

  gate_.Close();
  EXPECT_EQ(ReasonOf(Generate(Request(1), response)), "SERVER_DRAINING");
  EXPECT_EQ(ReasonOf(Apply("tone", absl::Seconds(60))), "SERVER_DRAINING");
}

TEST_F(ServicesTest, AGateThatClosedWhileLoadingStaysClosed) {
  gate_.Close();
  gate_.Open(backend_);
  v1::GenerateResponse response;
  EXPECT_EQ(ReasonOf(Generate(Request(1), response)), "SERVER_DRAINING");
}

TEST_F(ServicesTest, EveryTokenArrivesOnceAndInOrderHoweverSlowlyTheClientReads) {
  gate_.Open(backend_);
  constexpr int kTokens = 5000;
  grpc::ClientContext context;
  v1::StreamGenerateRequest request;
  *request.mutable_request() = Request(kTokens);
  const auto reader = inference_->StreamGenerate(&context, request);
  // The engine does not wait for the reader.
  Await([&] { return llm_.stats().finished == 1; });

  std::vector<int32_t> ids;
  int messages = 0;
  bool has_summary = false;
  v1::StreamGenerateResponse response;
  while (reader->Read(&response)) {
    EXPECT_FALSE(has_summary);
    has_summary = response.has_summary();
    ids.insert(ids.end(), response.chunk().token_ids().begin(), response.chunk().token_ids().end());
    ++messages;
  }
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_TRUE(has_summary);
  EXPECT_THAT(ids, ElementsAreArray(Expected(kTokens)));
  EXPECT_LE(messages, kTokens + 1);
}

TEST_F(ServicesTest, ACancelledCallFreesItsMemory) {
  gate_.Open(backend_);
  // Slow enough that it cannot end by itself meanwhile.
  executor_.SetForwardHook([](absl::Span<const BatchRow>) {
    absl::SleepFor(absl::Milliseconds(1));
    return absl::OkStatus();
  });
  grpc::ClientContext context;
  const auto reader = GenerateEndlessly(context);
  v1::StreamGenerateResponse response;
  EXPECT_GT(executor_.kv_used_bytes(), 0);
  context.TryCancel();
  while (reader->Read(&response)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  Await([&] { return executor_.kv_used_bytes() == 0; });
  EXPECT_EQ(llm_.stats().failed, 1);
}

TEST_F(ServicesTest, AnEndedEngineEndsTheCallWithItsReason) {
  gate_.Open(backend_);
  grpc::ClientContext context;
  const auto reader = GenerateEndlessly(context);
  v1::StreamGenerateResponse response;
  llm_.Drain(absl::ZeroDuration());
  while (reader->Read(&response)) {
  }
  const grpc::Status status = reader->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonOf(status), "SERVER_DRAINING");
}

TEST_F(ServicesTest, AnApplyWhoseTurnDoesNotComeLeavesTheDefaultAlone) {
  gate_.Open(backend_);
  ASSERT_TRUE(Apply("tone", absl::Seconds(60)).ok());

  absl::Notification in_step;
  absl::Notification go_on;
  executor_.SetForwardHook([&](absl::Span<const BatchRow>) {
    if (!in_step.HasBeenNotified()) in_step.Notify();
    go_on.WaitForNotification();
    return absl::OkStatus();
  });
  grpc::ClientContext context;
  v1::StreamGenerateRequest request;
  *request.mutable_request() = Request(1);
  const auto reader = inference_->StreamGenerate(&context, request);
  in_step.WaitForNotification();

  EXPECT_EQ(Apply("terse", absl::Milliseconds(100)).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  // The server's deadline counts from the call's arrival, so it gives up a little later than its
  // client.
  absl::SleepFor(absl::Seconds(1));
  go_on.Notify();
  Await([&] { return llm_.stats().finished == 1; });
  ASSERT_EQ(lifecycle_->DefaultState().size(), 1);
  EXPECT_EQ(lifecycle_->DefaultState()[0].name, "tone");
  // The next one is not held up by it.
  EXPECT_TRUE(Apply("terse", absl::Seconds(60)).ok());
  EXPECT_EQ(lifecycle_->DefaultState()[0].name, "terse");
}

TEST_F(ServicesTest, AnUnloadCanCancelTheAdaptersGenerations) {
  gate_.Open(backend_);
  grpc::ClientContext generating;
  const auto reader = GenerateEndlessly(generating, "tone");
  v1::StreamGenerateResponse response;

  grpc::ClientContext unloading;
  v1::UnloadAdapterRequest unload;
  unload.set_name("tone");
  unload.set_cancel_running(true);
  v1::UnloadAdapterResponse unloaded;
  EXPECT_TRUE(admin_->UnloadAdapter(&unloading, unload, &unloaded).ok());
  while (reader->Read(&response)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(ServicesTest, AnUnloadWhoseCallerCancelsLeavesTheAdapterReady) {
  gate_.Open(backend_);
  grpc::ClientContext generating;
  const auto reader = GenerateEndlessly(generating, "tone");
  v1::StreamGenerateResponse response;

  grpc::ClientContext unloading;
  grpc::Status status;
  std::thread caller([&] {
    v1::UnloadAdapterRequest unload;
    unload.set_name("tone");
    v1::UnloadAdapterResponse ignored;
    status = admin_->UnloadAdapter(&unloading, unload, &ignored);
  });
  Await([&] { return Info("tone").state == AdapterState::kUnloading; });
  unloading.TryCancel();
  caller.join();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED);
  Await([&] { return Info("tone").state == AdapterState::kReady; });
  generating.TryCancel();
  while (reader->Read(&response)) {
  }
  reader->Finish();
}

TEST_F(ServicesTest, UnloadingTakesTheAdapterOutOfTheWeights) {
  gate_.Open(backend_);
  const Sha256Digest base = weights_.Hash();
  v1::GenerateResponse response;
  ASSERT_TRUE(Generate(Request(3, "tone"), response).ok());
  EXPECT_NE(weights_.Hash(), base);

  const std::weak_ptr<const SparseAdapter> memory = *lifecycle_->Deltas("tone");
  grpc::ClientContext context;
  v1::UnloadAdapterRequest request;
  request.set_name("tone");
  v1::UnloadAdapterResponse unloaded;
  ASSERT_TRUE(admin_->UnloadAdapter(&context, request, &unloaded).ok());
  EXPECT_EQ(weights_.Hash(), base);
  EXPECT_TRUE(memory.expired());
}

TEST_F(ServicesTest, UnloadsThatWaitHoldUpNoOthers) {
  constexpr int kWaiting = 4;  // one of them has a thread of the lane, and no other call needs one
  gate_.Open(backend_);
  grpc::ClientContext unloading[kWaiting];
  std::vector<StateHandle> uses;
  std::vector<std::thread> callers;
  for (int i = 0; i < kWaiting; ++i) {
    const std::string name = StrCat("tone", i);
    MustLoad(name, 3.0f + static_cast<float>(i));
    uses.push_back(*lifecycle_->Acquire({{name, 1.0f}}));
    callers.emplace_back([&, i, name] {
      v1::UnloadAdapterRequest unload;
      unload.set_name(name);
      v1::UnloadAdapterResponse ignored;
      EXPECT_FALSE(admin_->UnloadAdapter(&unloading[i], unload, &ignored).ok());
    });
  }
  const auto unloads = [&] {
    const std::vector<AdapterInfo> infos = lifecycle_->List();
    return std::count_if(infos.begin(), infos.end(), [](const AdapterInfo& info) {
      return info.state == AdapterState::kUnloading;
    });
  };
  Await([&] { return unloads() == 1; });

  constexpr auto kSoon = absl::Seconds(10);
  EXPECT_TRUE(CheckHealth(kSoon).ok());
  v1::GetAdapterResponse other;
  EXPECT_TRUE(GetAdapter("terse", kSoon, other).ok());
  v1::GenerateResponse answer;
  EXPECT_TRUE(Generate(Request(1, "terse"), answer).ok());
  grpc::ClientContext listing;
  listing.set_deadline(absl::ToChronoTime(absl::Now() + kSoon));
  v1::ListAdaptersResponse listed;
  EXPECT_TRUE(admin_->ListAdapters(&listing, {}, &listed).ok());
  EXPECT_EQ(unloads(), 1);

  // Those in line end with their callers as well.
  for (grpc::ClientContext& context : unloading) context.TryCancel();
  for (std::thread& caller : callers) caller.join();
  Await([&] { return unloads() == 0; });
}

// ---- A disk that hangs ---------------------------------------------------------------------------

class HangingDiskTest : public ServicesTest {
 protected:
  HangingDiskTest() : ServicesTest(/*keeps_deltas=*/false) {}
};

TEST_F(HangingDiskTest, CallsThatReadAdaptersHoldUpNoOthers) {
  gate_.Open(backend_);
  std::atomic<int> reading = 0;
  absl::Notification go_on;
  SetReadHook([&](const std::string& path) {
    if (!path.ends_with("/tone")) return;
    ++reading;
    go_on.WaitForNotification();
  });
  // More than gRPC has threads; one of each kind among them.
  constexpr auto kLong = absl::Seconds(60);
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&] {
      v1::GetAdapterResponse response;
      const grpc::Status status = GetAdapter("tone", kLong, response);
      EXPECT_TRUE(status.ok()) << status.error_message();
      EXPECT_EQ(response.parameters_size(), 2);
    });
  }
  callers.emplace_back([&] {
    const grpc::Status status = Apply("tone", kLong);
    EXPECT_TRUE(status.ok()) << status.error_message();
  });
  callers.emplace_back([&] {
    grpc::ClientContext context;
    v1::LoadAdapterRequest request;
    request.set_name("again");
    request.set_path("tone");
    v1::LoadAdapterResponse response;
    const grpc::Status status = admin_->LoadAdapter(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
  });
  Await([&] { return reading >= 2; });  // the load reads by itself, the others share one reading

  constexpr auto kSoon = absl::Seconds(10);
  EXPECT_TRUE(CheckHealth(kSoon).ok());
  {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + kSoon));
    v1::ListAdaptersResponse response;
    EXPECT_TRUE(admin_->ListAdapters(&context, {}, &response).ok());
    EXPECT_EQ(response.adapters_size(), 3);
  }
  v1::GetAdapterResponse other;
  EXPECT_TRUE(GetAdapter("terse", kSoon, other).ok());
  EXPECT_EQ(other.parameters_size(), 2);
  v1::GenerateResponse answer;
  EXPECT_TRUE(Generate(Request(1), answer).ok());
  EXPECT_EQ(ReasonOf(GetAdapter("nobody", kSoon, other)), "ADAPTER_NOT_FOUND");
  EXPECT_FALSE(go_on.HasBeenNotified());
  go_on.Notify();
  for (std::thread& caller : callers) caller.join();
}

}  // namespace
}  // namespace shira
