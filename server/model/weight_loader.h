// File: server/model/weight_loader.h
//
// Reads a base model's weights from disk into memory of our own, in the resident dtype, under
// Hugging Face names.

#ifndef SHIRA_SERVER_MODEL_WEIGHT_LOADER_H_
#define SHIRA_SERVER_MODEL_WEIGHT_LOADER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/dtype.h"
#include "base/parallel.h"
#include "server/model/model_config.h"

namespace shira {

// Where the loader puts one parameter. Row-major, elements in the resident dtype.
struct WeightDestination {
  std::byte* data = nullptr;
  int64_t rows = 0;  // 1 for a vector
  int64_t cols = 0;
};

// A model on disk: a Hugging Face folder (model.safetensors, or model.safetensors.index.json and
// its shards) or GGUF (one file, or the first of several). Memory-mapped while this object lives.
// Thread-compatible.
class WeightSource {
 public:
  // Opens by what `path` is: a folder, or a file that begins as GGUF does, whatever it is called.
  // Reads the config and checks that every tensor of config().Tensors() is there with its
  // shape. INVALID_ARGUMENT lists every tensor that is missing, of a wrong shape or of a dtype that
  // cannot be loaded, and every tensor left over (but for known non-parameters such as
  // rotary_emb.inv_freq, and an output matrix that equals the embeddings that it is tied to). Where
  // the two are there and differ, config() says untied, whatever config.json does; where the output
  // matrix is there alone, it is the embeddings. NOT_FOUND where there is no such model, shard or
  // part. `context_length` is the longest sequence that the model will run, which must not be more
  // than it has positions for; 0: as many.
  static absl::StatusOr<std::unique_ptr<WeightSource>> Open(const std::string& path,
                                                            int64_t context_length = 0);

  virtual ~WeightSource() = default;

  virtual const ModelConfig& config() const = 0;
  // The model's name for people: general.name of a GGUF, else ORG/NAME where it lies in the hub's
  // cache, else the last component of the path.
  virtual const std::string& name() const = 0;
  // The GGUF file behind this source, for its vocabulary and template; nullptr for a folder.
  virtual const GgufFile* gguf() const = 0;

  // Converts one parameter to `dtype` (kF32, kBF16 or kF16) at `destination`, whose size matches
  // the config. Dequantises in fp32 and rounds once, to nearest even; what llama.cpp's converters
  // changed in a GGUF (the order of rows of q and k, norms that are one larger) is put back as
  // Hugging Face has it. The result is bit-equal to what transformers loads from the same file.
  // INVALID_ARGUMENT names the first element that is NaN or infinite, or becomes so in `dtype`; the
  // destination's values then mean nothing.
  virtual absl::Status Read(std::string_view parameter, DType dtype, WeightDestination destination,
                            const ParallelFor& parallel_for) const = 0;
};

}  // namespace shira

#endif  // SHIRA_SERVER_MODEL_WEIGHT_LOADER_H_
