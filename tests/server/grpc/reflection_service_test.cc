#include "server/grpc/reflection_service.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "google/rpc/error_details.pb.h"

namespace shira {
namespace {

using ::testing::Contains;
using ReflectionRequest = ReflectionService::Request;
using ReflectionResponse = ReflectionService::Response;

constexpr char kService[] = "grpc.reflection.v1alpha.ServerReflection";
constexpr char kFile[] = "grpc/reflection/v1alpha/reflection.proto";

std::vector<std::string> FilesOf(const ReflectionResponse& response) {
  std::vector<std::string> names;
  for (const std::string& bytes : response.file_descriptor_response().file_descriptor_proto()) {
    google::protobuf::FileDescriptorProto file;
    EXPECT_TRUE(file.ParseFromString(bytes));
    names.push_back(file.name());
  }
  return names;
}

class ReflectionServiceTest : public ::testing::Test {
 protected:
  const ReflectionService service_{{"a.B", "c.D"}};
};

TEST_F(ReflectionServiceTest, ServicesAreListedAsTheyWereGiven) {
  ReflectionRequest request;
  request.set_host("h");
  request.set_list_services("*");
  const ReflectionResponse response = service_.Answer(request);
  EXPECT_EQ(response.valid_host(), "h");
  EXPECT_EQ(response.original_request().list_services(), "*");
  ASSERT_EQ(response.list_services_response().service_size(), 2);
  EXPECT_EQ(response.list_services_response().service(1).name(), "c.D");
}

TEST_F(ReflectionServiceTest, AFileComesFirstAndThenWhatItImports) {
  ReflectionRequest request;
  request.set_file_containing_symbol(kService);
  EXPECT_EQ(FilesOf(service_.Answer(request)), std::vector<std::string>{kFile});
  request.set_file_by_filename(google::rpc::RetryInfo::descriptor()->file()->name());
  const std::vector<std::string> files = FilesOf(service_.Answer(request));
  ASSERT_FALSE(files.empty());
  EXPECT_EQ(files.front(), "google/rpc/error_details.proto");
  EXPECT_THAT(files, Contains("google/protobuf/duration.proto"));
}

TEST_F(ReflectionServiceTest, WhatIsNotThereIsAnErrorInTheAnswer) {
  ReflectionRequest request;
  EXPECT_EQ(service_.Answer(request).error_response().error_code(), 3);  // INVALID_ARGUMENT
  request.set_file_containing_symbol("no.Such");
  EXPECT_EQ(service_.Answer(request).error_response().error_code(), 5);  // NOT_FOUND
  request.mutable_file_containing_extension()->set_containing_type("no.Such");
  EXPECT_EQ(service_.Answer(request).error_response().error_code(), 5);
  request.set_all_extension_numbers_of_type("no.Such");
  EXPECT_EQ(service_.Answer(request).error_response().error_code(), 5);
  request.set_all_extension_numbers_of_type("google.protobuf.FileOptions");
  EXPECT_EQ(service_.Answer(request).all_extension_numbers_response().base_type_name(),
            "google.protobuf.FileOptions");
}

}  // namespace
}  // namespace shira
