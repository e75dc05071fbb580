#include "server/grpc/reflection_service.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <deque>
#include <set>

namespace shira {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptor;
using grpc::reflection::v1alpha::ErrorResponse;
using grpc::reflection::v1alpha::ExtensionNumberResponse;
using grpc::reflection::v1alpha::FileDescriptorResponse;
using Request = ReflectionService::Request;
using Response = ReflectionService::Response;

// The file and everything that it imports, each once.
void Describe(const FileDescriptor& file, FileDescriptorResponse& response) {
  std::set<const FileDescriptor*> seen = {&file};
  std::deque<const FileDescriptor*> next = {&file};
  for (; !next.empty(); next.pop_front()) {
    google::protobuf::FileDescriptorProto proto;
    next.front()->CopyTo(&proto);
    proto.SerializeToString(response.add_file_descriptor_proto());
    for (int i = 0; i < next.front()->dependency_count(); ++i) {
      const FileDescriptor* import = next.front()->dependency(i);
      if (seen.insert(import).second) next.push_back(import);
    }
  }
}

void SetError(grpc::StatusCode code, std::string message, Response& response) {
  ErrorResponse& error = *response.mutable_error_response();
  error.set_error_code(code);
  error.set_error_message(std::move(message));
}

// nullptr: there is none.
const FileDescriptor* FindFile(const Request& request) {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  switch (request.message_request_case()) {
    case Request::kFileByFilename:
      return pool.FindFileByName(request.file_by_filename());
    case Request::kFileContainingSymbol:
      return pool.FindFileContainingSymbol(request.file_containing_symbol());
    default: {
      const auto& wanted = request.file_containing_extension();
      const auto* type = pool.FindMessageTypeByName(wanted.containing_type());
      const auto* extension =
          type == nullptr ? nullptr : pool.FindExtensionByNumber(type, wanted.extension_number());
      return extension == nullptr ? nullptr : extension->file();
    }
  }
}

void ListExtensions(const std::string& type_name, Response& response) {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  const auto* type = pool.FindMessageTypeByName(type_name);
  if (type == nullptr) {
    return SetError(grpc::StatusCode::NOT_FOUND, "unknown message", response);
  }
  ExtensionNumberResponse& numbers = *response.mutable_all_extension_numbers_response();
  numbers.set_base_type_name(type_name);
  std::vector<const google::protobuf::FieldDescriptor*> extensions;
  pool.FindAllExtensions(type, &extensions);
  for (const auto* extension : extensions) numbers.add_extension_number(extension->number());
}

// One client's requests, one after the other. Belongs to gRPC, until OnDone().
class Stream final : public grpc::ServerBidiReactor<Request, Response> {
 public:
  explicit Stream(const ReflectionService& service) : service_(service) { StartRead(&request_); }

  void OnReadDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::OK);
    response_ = service_.Answer(request_);
    StartWrite(&response_);
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return Finish(grpc::Status::CANCELLED);
    StartRead(&request_);
  }
  void OnDone() override { delete this; }

 private:
  const ReflectionService& service_;
  Request request_;
  Response response_;
};

}  // namespace

grpc::ServerBidiReactor<Request, Response>* ReflectionService::ServerReflectionInfo(
    grpc::CallbackServerContext* /*context*/) {
  return new Stream(*this);
}

Response ReflectionService::Answer(const Request& request) const {
  Response response;
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  switch (request.message_request_case()) {
    case Request::kListServices:
      for (const std::string& name : services_) {
        response.mutable_list_services_response()->add_service()->set_name(name);
      }
      break;
    case Request::kFileByFilename:
    case Request::kFileContainingSymbol:
    case Request::kFileContainingExtension:
      if (const FileDescriptor* file = FindFile(request); file != nullptr) {
        Describe(*file, *response.mutable_file_descriptor_response());
      } else {
        SetError(grpc::StatusCode::NOT_FOUND, "unknown file or symbol", response);
      }
      break;
    case Request::kAllExtensionNumbersOfType:
      ListExtensions(request.all_extension_numbers_of_type(), response);
      break;
    case Request::MESSAGE_REQUEST_NOT_SET:
      SetError(grpc::StatusCode::INVALID_ARGUMENT, "the request is empty", response);
      break;
  }
  return response;
}

}  // namespace shira
