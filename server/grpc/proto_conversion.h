// File: server/grpc/proto_conversion.h
//
// From the program's own types to the public API's messages. Pure functions.

#ifndef SHIRA_SERVER_GRPC_PROTO_CONVERSION_H_
#define SHIRA_SERVER_GRPC_PROTO_CONVERSION_H_

#include <cstdint>
#include <vector>

#include "absl/time/time.h"
#include "absl/types/span.h"
#include "adapters/sparse_adapter.h"
#include "adapters/switch/fusion_blend.h"
#include "adapters/switch/switch_engine.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"
#include "server/engine/generation.h"
#include "server/generation/answer.h"
#include "server/generation/backend.h"
#include "server/lifecycle/adapter_lifecycle.h"
#include "server/residency/state_handle.h"
#include "shira/v1/adapter_admin.pb.h"
#include "shira/v1/inference.pb.h"

namespace shira {

google::protobuf::Duration ToProto(absl::Duration duration);
google::protobuf::Timestamp ToProto(absl::Time time);
// What a client may send is not always in range: saturates.
absl::Duration FromProto(const google::protobuf::Duration& duration);

v1::AdapterIdentity ToProto(const AdapterRef& adapter);
v1::FinishReason ToProto(FinishReason reason);
v1::Timings ToProto(const GenerationTimings& timings);
v1::StreamGenerateResponse::Chunk ToProto(AnswerChunk chunk);
v1::GenerateSummary ToProto(AnswerSummary summary);
// A whole answer: `answers` by number, of which there are as many as the summary has ends, or fewer
// where the last ones are empty.
v1::GenerateResponse ToProto(std::vector<AnswerChunk> answers, AnswerSummary summary);

v1::AdapterState ToProto(AdapterState state);
v1::AdapterResidency ToProto(AdapterResidency residency);
// `model_elements`: of the whole model, for the density.
v1::Adapter ToProto(const AdapterInfo& info, int64_t model_elements);
v1::GetAdapterResponse::Parameter ToProto(const ParameterDelta& delta, float scale);

v1::Alias ToProto(const AliasInfo& alias);

v1::BlendOverlap ToProto(const FusionOverlap& overlap);

v1::ResidentState ToProto(const StateKey& key, absl::Span<const AdapterRef> adapters);
v1::VerifyWeightsResponse::Parameter ToProto(const ParameterHashes& hashes);

v1::GetModelResponse ToProto(const ModelInfo& model);

}  // namespace shira

#endif  // SHIRA_SERVER_GRPC_PROTO_CONVERSION_H_
