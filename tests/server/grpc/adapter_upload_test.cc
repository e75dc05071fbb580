// UploadAdapter over a real connection, with clients that do it wrong.

#include "server/grpc/adapter_upload.h"

#include <gmock/gmock.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/server_builder.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "base/strings.h"
#include "base/work_queue.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/logging/call_records.h"
#include "shira/v1/adapter_admin.grpc.pb.h"
#include "tests/server/grpc/error_reason.h"
#include "tests/server/lifecycle/lifecycle_fixture.h"

namespace shira {
namespace {

namespace fs = std::filesystem;
using ::shira::testing::ReasonOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr absl::Duration kIdleTimeout = absl::Milliseconds(300);

class UploadService final : public v1::AdapterAdmin::CallbackService {
 public:
  UploadService(AdapterLifecycle& lifecycle, WorkQueue& lane)
      : lifecycle_(lifecycle), lane_(lane) {}

  grpc::ServerReadReactor<v1::UploadAdapterRequest>* UploadAdapter(
      grpc::CallbackServerContext* context, v1::UploadAdapterResponse* response) override {
    return ReceiveUpload(&lifecycle_, lane_, records_, *context, kIdleTimeout,
                         [response](absl::StatusOr<AdapterLifecycle::LoadResult> loaded) {
                           if (!loaded.ok()) return loaded.status();
                           response->set_already_loaded(loaded->already_loaded);
                           response->mutable_adapter()->set_version(loaded->info.version);
                           return absl::OkStatus();
                         });
  }

 private:
  AdapterLifecycle& lifecycle_;
  WorkQueue& lane_;
  const CallRecords records_;
};

class AdapterUploadTest : public testing::LifecycleFixture {
 protected:
  using Stream = grpc::ClientWriter<v1::UploadAdapterRequest>;

  AdapterUploadTest() {
    AdapterLifecycle::Options options = Options();
    options.uploads = UploadStore::Options{store_.Path("uploads"), 1 << 20, 1 << 21};
    Restart(std::move(options));
    service_ = std::make_unique<UploadService>(*lifecycle_, lane_);
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(service_.get());
    server_ = builder.BuildAndStart();
    stub_ = v1::AdapterAdmin::NewStub(
        grpc::CreateChannel(StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials()));
    WriteAdapter("tone", 0.5f);
    for (const char* name : {"adapter_config.json", "adapter_model.safetensors"}) {
      std::ifstream file(root_.Path(StrCat("tone/", name)), std::ios::binary);
      const std::string content{std::istreambuf_iterator<char>(file), {}};
      auto& entry = *header_.mutable_header()->add_files();
      entry.set_name(name);
      entry.set_size_bytes(static_cast<int64_t>(content.size()));
      entry.set_sha256(Sha256::Of(content).Hex());
      bytes_ += content;
    }
    header_.mutable_header()->set_name("tone");
  }
  ~AdapterUploadTest() override { server_->Shutdown(); }

  static v1::UploadAdapterRequest Data(std::string_view bytes) {
    v1::UploadAdapterRequest message;
    message.set_data(std::string(bytes));
    return message;
  }
  // Calls `send` with an open stream, and ends it.
  grpc::Status Upload(const std::function<void(Stream&, grpc::ClientContext&)>& send) {
    grpc::ClientContext context;
    const std::unique_ptr<Stream> stream = stub_->UploadAdapter(&context, &response_);
    send(*stream, context);
    stream->WritesDone();
    return stream->Finish();
  }
  grpc::Status UploadWhole(size_t chunk) {
    return Upload([&](Stream& stream, grpc::ClientContext&) {
      stream.Write(header_);
      for (size_t i = 0; i < bytes_.size(); i += chunk) stream.Write(Data(bytes_.substr(i, chunk)));
    });
  }
  // Everything in the upload folder but the lock, once the server has noticed the end of the call.
  std::vector<std::string> Left() const {
    std::vector<std::string> names;
    for (int i = 0; i < 500; ++i) {
      names.clear();
      for (const auto& entry : fs::directory_iterator(store_.Path("uploads"))) {
        if (entry.path().filename() != ".lock") names.push_back(entry.path().filename());
      }
      if (names.empty()) break;
      absl::SleepFor(absl::Milliseconds(10));
    }
    return names;
  }

  const testing::TempFolder store_;
  v1::UploadAdapterRequest header_;
  v1::UploadAdapterResponse response_;
  std::string bytes_;  // of both files
  WorkQueue lane_{{.name = "uploads", .threads = 1}};
  std::unique_ptr<UploadService> service_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::AdapterAdmin::Stub> stub_;
};

TEST_F(AdapterUploadTest, TheStreamMayBeCutAnywhere) {
  for (const size_t chunk : {size_t{1}, size_t{7}, bytes_.size(), bytes_.size() * 2}) {
    const grpc::Status status = UploadWhole(chunk);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }
  EXPECT_TRUE(response_.already_loaded());
  EXPECT_EQ(Info("tone").state, AdapterState::kReady);
  EXPECT_EQ(std::distance(fs::directory_iterator(Info("tone").path), {}), 2);
}

TEST_F(AdapterUploadTest, AStreamThatEndsEarlyLeavesNothing) {
  const grpc::Status status = Upload([&](Stream& stream, grpc::ClientContext&) {
    stream.Write(header_);
    stream.Write(Data(bytes_.substr(0, bytes_.size() - 1)));
  });
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DATA_LOSS);
  EXPECT_EQ(ReasonOf(status), "UPLOAD_DAMAGED");
  EXPECT_THAT(Left(), IsEmpty());
  EXPECT_EQ(lifecycle_->Get("tone"), std::nullopt);
}

TEST_F(AdapterUploadTest, ACancelledStreamLeavesNothing) {
  for (const size_t sent : {size_t{0}, size_t{10}, bytes_.size()}) {
    const grpc::Status status = Upload([&](Stream& stream, grpc::ClientContext& context) {
      stream.Write(header_);
      stream.Write(Data(bytes_.substr(0, sent)));
      absl::SleepFor(absl::Milliseconds(20));
      context.TryCancel();
    });
    EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED);
    EXPECT_THAT(Left(), IsEmpty()) << sent;
  }
  // Given back right after the folder is gone.
  Await([&] { return lifecycle_->stats().upload_in_use_bytes == 0; });
}

TEST_F(AdapterUploadTest, AStreamThatStallsIsCancelled) {
  const auto is_there = [&] { return lifecycle_->stats().upload_in_use_bytes > 0; };
  const absl::Time start = absl::Now();
  const grpc::Status status = Upload([&](Stream& stream, grpc::ClientContext&) {
    stream.Write(header_);
    stream.Write(Data(bytes_.substr(0, 10)));
    while (!is_there()) absl::SleepFor(absl::Milliseconds(1));
    // Says nothing more, until the server gives up.
    while (is_there()) absl::SleepFor(absl::Milliseconds(1));
  });
  EXPECT_EQ(status.error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_GE(absl::Now() - start, kIdleTimeout);
  EXPECT_THAT(Left(), IsEmpty());
  EXPECT_EQ(lifecycle_->stats().upload_in_use_bytes, 0);
}

TEST_F(AdapterUploadTest, DamageOnTheWayIsFound) {
  bytes_.back() ^= 1;
  const grpc::Status status = UploadWhole(64);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DATA_LOSS);
  EXPECT_THAT(status.error_message(), HasSubstr("adapter_model.safetensors"));
  EXPECT_THAT(Left(), IsEmpty());
}

TEST_F(AdapterUploadTest, TheHeaderComesFirstAndOnce) {
  grpc::Status status =
      Upload([&](Stream& stream, grpc::ClientContext&) { stream.Write(Data("x")); });
  EXPECT_EQ(ReasonOf(status), "INVALID_UPLOAD");
  status = Upload([](Stream&, grpc::ClientContext&) {});
  EXPECT_EQ(ReasonOf(status), "INVALID_UPLOAD");
  status = Upload([&](Stream& stream, grpc::ClientContext&) {
    stream.Write(header_);
    stream.Write(header_);
  });
  EXPECT_EQ(ReasonOf(status), "INVALID_UPLOAD");
  EXPECT_THAT(Left(), IsEmpty());
}

TEST_F(AdapterUploadTest, LimitsAreCheckedBeforeTheFirstByte) {
  header_.mutable_header()->mutable_files(0)->set_size_bytes(int64_t{1} << 40);
  const grpc::Status status = UploadWhole(64);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(ReasonOf(status), "INVALID_UPLOAD");
  EXPECT_THAT(Left(), IsEmpty());
}

TEST_F(AdapterUploadTest, WhatTheReaderRefusesLeavesNoFile) {
  header_.mutable_header()->set_format("packed_shira");
  EXPECT_EQ(ReasonOf(UploadWhole(64)), "INVALID_ADAPTER");
  header_.mutable_header()->set_format("");
  header_.mutable_header()->set_expected_sha256(std::string(64, 'a'));
  EXPECT_EQ(ReasonOf(UploadWhole(64)), "ADAPTER_DIGEST_MISMATCH");
  header_.mutable_header()->set_expected_sha256("x");
  EXPECT_EQ(ReasonOf(UploadWhole(64)), "INVALID_ADAPTER");
  header_.mutable_header()->set_name("../tone");
  EXPECT_EQ(ReasonOf(UploadWhole(64)), "INVALID_UPLOAD");
  EXPECT_THAT(Left(), IsEmpty());
}

TEST_F(AdapterUploadTest, StreamsThatWaitForTheirClientsHoldNoThread) {
  constexpr int kWaiting = 40;
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<Stream>> streams;
  std::vector<v1::UploadAdapterResponse> responses(kWaiting);
  for (int i = 0; i < kWaiting; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    streams.push_back(stub_->UploadAdapter(contexts.back().get(), &responses[i]));
  }
  const grpc::Status status = UploadWhole(64);
  EXPECT_TRUE(status.ok()) << status.error_message();
  for (int i = 0; i < kWaiting; ++i) {
    contexts[i]->TryCancel();
    EXPECT_EQ(streams[i]->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  EXPECT_THAT(Left(), SizeIs(1));  // what was loaded
}

TEST_F(AdapterUploadTest, AFullLaneRefusesNewStreamsAndDelaysThoseThatHaveBegun) {
  absl::Notification go_on;
  const auto fill = [&] {
    absl::Notification begun;
    ASSERT_TRUE(lane_
                    .Add("other",
                         [&] {
                           begun.Notify();
                           go_on.WaitForNotification();
                         })
                    .ok());
    begun.WaitForNotification();
    for (int owner = 0; lane_.Add(StrCat("other", owner), [] {}).ok(); ++owner) {
    }
  };
  const auto has_begun = [&] { return lifecycle_->stats().upload_in_use_bytes > 0; };
  const grpc::Status status = Upload([&](Stream& stream, grpc::ClientContext&) {
    stream.Write(header_);
    while (!has_begun()) absl::SleepFor(absl::Milliseconds(1));
    fill();
    stream.Write(Data(bytes_));
    const grpc::Status refused = UploadWhole(64);
    EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_EQ(ReasonOf(refused), "SERVER_BUSY");
    // The server is what is slow, not the client.
    absl::SleepFor(kIdleTimeout * 2);
    go_on.Notify();
  });
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(Info("tone").state, AdapterState::kReady);
}

TEST_F(AdapterUploadTest, ManyAtATimeAreAllLoaded) {
  std::vector<std::thread> clients;
  for (int i = 0; i < 6; ++i) {
    clients.emplace_back([&, i] {
      v1::UploadAdapterRequest header = header_;
      header.mutable_header()->set_name(StrCat("tone", i));
      grpc::ClientContext context;
      v1::UploadAdapterResponse response;
      const auto stream = stub_->UploadAdapter(&context, &response);
      stream->Write(header);
      for (size_t at = 0; at < bytes_.size(); at += 16) stream->Write(Data(bytes_.substr(at, 16)));
      stream->WritesDone();
      const grpc::Status status = stream->Finish();
      EXPECT_TRUE(status.ok()) << status.error_message();
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_THAT(lifecycle_->List(), SizeIs(6));
}

TEST_F(AdapterUploadTest, WithoutAFolderThereAreNoUploads) {
  Restart(Options());
  UploadService without(*lifecycle_, lane_);
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(&without);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  stub_ = v1::AdapterAdmin::NewStub(
      grpc::CreateChannel(StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials()));
  const grpc::Status status = UploadWhole(64);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(ReasonOf(status), "UPLOADS_DISABLED");
  server->Shutdown();
}

}  // namespace
}  // namespace shira
