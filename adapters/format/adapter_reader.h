// File: adapters/format/adapter_reader.h
//
// From a path to a validated SparseAdapter. Formats are an explicit table; each has one reader in a
// file of its own.
//
//   AdapterReader reader(model_identity, limits);
//   SHIRA_ASSIGN_OR_RETURN(std::shared_ptr<const SparseAdapter> adapter,
//   reader.Read("/srv/adapters/tone"));

#ifndef SHIRA_ADAPTERS_FORMAT_ADAPTER_READER_H_
#define SHIRA_ADAPTERS_FORMAT_ADAPTER_READER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "adapters/format/adapter_files.h"
#include "adapters/index_table.h"
#include "adapters/sparse_adapter.h"
#include "base/dtype.h"
#include "base/sha256.h"

namespace shira {

struct RawAdapter;

// What an adapter has to fit.
struct BaseModelIdentity {
  struct Shape {
    int64_t rows = 0;
    int64_t cols = 0;

    // Whether a tensor of this shape holds the whole parameter.
    bool Fits(const std::vector<int64_t>& tensor) const {
      return tensor == std::vector<int64_t>{rows, cols} ||
             (rows == 1 && tensor == std::vector<int64_t>{cols});
    }
  };
  // Every resident parameter by its Hugging Face name; a vector has one row.
  std::map<std::string, Shape> parameters;
  // Second names of those that the model uses in two places: {"lm_head.weight",
  // "model.embed_tokens.weight"} where the embeddings are the output matrix too.
  std::map<std::string, std::string> tied;
  // Other names that files have for whole parameters, with their own: {"model.layers.0.mlp.gate.weight",
  // "model.layers.0.block_sparse_moe.gate.weight"}.
  std::map<std::string, std::string> renamed;
  // Names of tensors that hold several parameters, with the first of those: the weights of all experts
  // of a mixture. Adapters change parameters alone.
  std::map<std::string, std::string> fused;
  // Names that this model is known by ("HuggingFaceTB/SmolLM2-135M-Instruct"); may be empty, and
  // then names are not compared.
  std::vector<std::string> names;
  // The resident dtype, for formats whose values are rounded to it. Unknown: they are kept.
  std::optional<DType> dtype;
  // SwitchEngine::base_digest(). Unknown: not compared.
  std::optional<Sha256Digest> digest;
  // SwitchEngine::base_hash() of parameters, in `dtype`. Unknown: whole tensors are not compared.
  std::map<std::string, Sha256Digest> hashes;
};

struct AdapterLimits {
  uint64_t max_file_bytes = uint64_t{4} << 30;
  int64_t max_entries = int64_t{1} << 31;
};

// Thread-safe. Equal index tables of the adapters that one reader has made are shared.
class AdapterReader {
 public:
  AdapterReader(BaseModelIdentity base, AdapterLimits limits);

  // Reads the adapter at `path` (a folder or a file; docs/adapter_format.md). The files are copied
  // into memory before they are checked, so that they cannot change between check and use.
  //   NOT_FOUND            nothing there, or a file is missing in the folder
  //   UNIMPLEMENTED        a format, or an option of a format, that no reader knows (says which are
  //                        known)
  //   FAILED_PRECONDITION  the file names another base model
  //   DATA_LOSS            the content contradicts the file's own digest
  //   INVALID_ARGUMENT     beyond the limits, no parameter matched, a parameter or shape unknown to
  //                        the model, an index out of range or not integral, a duplicate index, a
  //                        NaN or infinity, a tensor that is left over or missing, a wrong dtype,
  //                        what no state of tied weights is equal to, malformed files. Every
  //                        problem is listed (long lists are cut, with their number).
  // Whole tensors that equal the base are no part of the adapter.
  absl::StatusOr<std::shared_ptr<const SparseAdapter>> Read(const std::string& path) const;

  // The same from files in memory; their paths name them in errors.
  absl::StatusOr<std::shared_ptr<const SparseAdapter>> Parse(const AdapterFiles& files) const;

  const BaseModelIdentity& base() const { return base_; }
  // Where the tables of its adapters are shared, for adapters that are made otherwise.
  IndexTablePool& tables() const { return tables_; }

 private:
  // FAILED_PRECONDITION when the adapter says that it belongs to other weights.
  absl::Status CheckBase(const RawAdapter& raw, const AdapterFiles& files) const;

  const BaseModelIdentity base_;
  const AdapterLimits limits_;
  mutable IndexTablePool tables_;
};

}  // namespace shira

#endif  // SHIRA_ADAPTERS_FORMAT_ADAPTER_READER_H_
