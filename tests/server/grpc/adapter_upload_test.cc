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

#include "base/strings.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/grpc/status_conversion.h"
#include "shira/v1/adapter_admin.grpc.pb.h"
#include "tests/server/lifecycle/lifecycle_fixture.h"

namespace shira {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr absl::Duration kIdleTimeout = absl::Milliseconds(300);

class UploadService final : public v1::AdapterAdmin::Service {
 public:
  explicit UploadService(AdapterLifecycle& lifecycle) : lifecycle_(lifecycle) {}

  grpc::Status UploadAdapter(grpc::ServerContext* context,
                             grpc::ServerReader<v1::UploadAdapterRequest>* stream,
                             v1::UploadAdapterResponse* response) override {
    const auto loaded = ReceiveUpload(lifecycle_, *context, *stream, kIdleTimeout);
    if (!loaded.ok()) return ToGrpcStatus(loaded.status());
    response->set_already_loaded(loaded->already_loaded);
    response->mutable_adapter()->set_version(loaded->info.version);
    return grpc::Status::OK;
  }

 private:
  AdapterLifecycle& lifecycle_;
};

std::string ReasonOf(const grpc::Status& status) {
  google::rpc::Status details;
  details.ParseFromString(status.error_details());
  google::rpc::ErrorInfo info;
  for (const auto& detail : details.details()) {
    if (detail.UnpackTo(&info)) return info.reason();
  }
  return "";
}

class AdapterUploadTest : public testing::LifecycleFixture {
 protected:
  using Stream = grpc::ClientWriter<v1::UploadAdapterRequest>;

  AdapterUploadTest() {
    AdapterLifecycle::Options options = Options();
    options.uploads = UploadStore::Options{store_.Path("uploads"), 1 << 20, 1 << 21};
    Restart(std::move(options));
    service_ = std::make_unique<UploadService>(*lifecycle_);
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
  EXPECT_EQ(lifecycle_->stats().upload_in_use_bytes, 0);
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
  UploadService without(*lifecycle_);
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
