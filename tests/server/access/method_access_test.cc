// The table against the descriptors of every service that the server has.

#include "server/access/method_access.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/strings.h"
#include "shira/v1/adapter_admin.pb.h"
#include "shira/v1/inference.pb.h"
#include "shira/v1/operations.pb.h"

namespace shira {
namespace {

void AddMethods(const google::protobuf::FileDescriptor* file, std::set<std::string>& methods) {
  ASSERT_NE(file, nullptr);
  for (int i = 0; i < file->service_count(); ++i) {
    const google::protobuf::ServiceDescriptor* service = file->service(i);
    for (int j = 0; j < service->method_count(); ++j) {
      methods.insert(StrCat("/", service->full_name(), "/", service->method(j)->name()));
    }
  }
}

std::set<std::string> MethodsOfTheApi() {
  std::set<std::string> methods;
  AddMethods(v1::GenerateRequest::descriptor()->file(), methods);
  AddMethods(v1::LoadAdapterRequest::descriptor()->file(), methods);
  AddMethods(v1::GetServerStatusRequest::descriptor()->file(), methods);
  return methods;
}

TEST(MethodAccessTest, EveryMethodOfTheApiHasItsRole) {
  for (const std::string& method : MethodsOfTheApi()) {
    ASSERT_TRUE(RolesFor(method).has_value()) << method << " is missing in method_access.cc";
    EXPECT_FALSE(RolesFor(method)->empty()) << method << " is open to everybody";
    EXPECT_TRUE(RolesFor(method)->Has(Role::kAdmin)) << method;
  }
}

TEST(MethodAccessTest, EveryLineOfTheTableIsAMethodThatThereIs) {
  std::set<std::string> known = MethodsOfTheApi();
  // gRPC's own have no descriptors here; they are three.
  known.insert({"/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch",
                "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"});
  // HTTP's, which its own test compares with its routes.
  known.insert({"/health", "/version", "/v1/models", "/v1/chat/completions", "/v1/completions",
                "/tokenize", "/detokenize", "/v1/load_lora_adapter", "/v1/unload_lora_adapter"});
  std::set<std::string> listed;
  for (const MethodAccess& entry : MethodAccessTable()) {
    EXPECT_TRUE(listed.insert(std::string(entry.method)).second) << entry.method << " twice";
  }
  EXPECT_EQ(listed, known);
}

TEST(MethodAccessTest, WhatIsNotInTheTableHasNoRole) {
  for (const char* method : {"", "/", "shira.v1.Inference/Generate", "/shira.v1.Inference/",
                             "/shira.v1.Inference/generate", "/shira.v1.Inference/Generate/"}) {
    EXPECT_FALSE(RolesFor(method).has_value()) << method;
  }
}

}  // namespace
}  // namespace shira
