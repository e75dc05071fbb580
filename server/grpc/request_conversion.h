// File: server/grpc/request_conversion.h
//
// From the public API's messages to the program's own types. Pure functions that check nothing:
// what is wrong with a request is found in server/generation.

#ifndef SHIRA_SERVER_GRPC_REQUEST_CONVERSION_H_
#define SHIRA_SERVER_GRPC_REQUEST_CONVERSION_H_

#include <google/protobuf/repeated_ptr_field.h>

#include <vector>

#include "server/catalog/adapter_selection.h"
#include "server/generation/generate_request.h"
#include "shira/v1/inference.pb.h"

namespace shira {

GenerateRequest FromProto(const v1::GenerateRequest& request);

Conversation FromProto(const v1::ChatInput& chat);

std::vector<AdapterSelectionTerm> FromProto(
    const google::protobuf::RepeatedPtrField<v1::WeightedAdapter>& adapters);

}  // namespace shira

#endif  // SHIRA_SERVER_GRPC_REQUEST_CONVERSION_H_
