// print_rotary FOLDER CONTEXT DTYPE OUT
//     Writes what turns the heads of the model's first kind of layer, for positions below CONTEXT,
//     which is the longest sequence: cosines and sines, [positions, pairs] each, and, where the model
//     has them, scales of queries, [positions]. All are floats.

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <optional>
#include <vector>

#include "base/dtype.h"
#include "base/status_macros.h"
#include "server/model/model_config.h"
#include "server/model/rotary_embedding.h"

namespace {

absl::Status Run(char** argv) {
  SHIRA_ASSIGN_OR_RETURN(shira::ModelConfig config, shira::ReadHuggingFaceConfig(argv[1]));
  const int64_t context = std::atoll(argv[2]);
  SHIRA_RETURN_IF_ERROR(config.LimitContext(context));
  const std::optional<shira::DType> dtype = shira::ParseDType(argv[3]);
  if (!dtype) return absl::InvalidArgumentError(argv[3]);
  const auto angles =
      shira::RotaryEmbedding(config.ropes.front(), config.head_dim).Below(context, *dtype);
  std::ofstream file(argv[4], std::ios::binary);
  for (const std::vector<float>* values : {&angles.cos, &angles.sin, &angles.query_scales}) {
    file.write(reinterpret_cast<const char*>(values->data()),
               static_cast<std::streamsize>(values->size() * sizeof(float)));
  }
  return file.good() ? absl::OkStatus() : absl::DataLossError(argv[4]);
}

}  // namespace

int main(int argc, char** argv) {
  const absl::Status status =
      argc == 5 ? Run(argv) : absl::InvalidArgumentError("see the head of print_rotary_main.cc");
  if (status.ok()) return EXIT_SUCCESS;
  std::cerr << status << "\n";
  return EXIT_FAILURE;
}
