// File: server/grpc/message_admission.h
//
// Makes a gRPC server ask MessageMemory before it receives a message. gRPC receives a message as a
// whole before anything else sees it, so this has to be asked inside of it
// (cmake/patches/bounded-messages.patch).

#ifndef SHIRA_SERVER_GRPC_MESSAGE_ADMISSION_H_
#define SHIRA_SERVER_GRPC_MESSAGE_ADMISSION_H_

#include <grpcpp/server_builder.h>

#include <memory>

#include "server/network/message_memory.h"

namespace shira {

// Only our gRPC asks (grpc_build.h): the system's receives whatever comes.
void AskBeforeReceiving(std::shared_ptr<MessageMemory> memory, grpc::ServerBuilder& builder);

}  // namespace shira

#endif  // SHIRA_SERVER_GRPC_MESSAGE_ADMISSION_H_
