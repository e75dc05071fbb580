#include "server/model/weight_loader.h"

#include <cmath>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "server/model/encoded_matrix.h"
#include "server/model/gguf_parts.h"
#include "server/model/model_files.h"

namespace shira {
namespace {

// What of a tensor of the files has a parameter, or a part of its rows.
struct PlannedPart {
  std::string name;
  EncodedMatrix matrix;
  // Where its rows are among the parameter's: the first one, and from one to the next.
  int64_t first_row = 0;
  int64_t row_step = 1;
};

// How Read() gets one parameter.
struct ReadPlan {
  std::vector<PlannedPart> parts;  // of equally many rows
  GgufRows rows = GgufRows::kSame;

  int64_t total_rows() const {
    int64_t rows = 0;
    for (const PlannedPart& part : parts) rows += part.matrix.rows;
    return rows;
  }
  int64_t cols() const { return parts.front().matrix.cols; }
};

std::string ShapeText(const std::vector<int64_t>& shape) {
  return StrCat("[", absl::StrJoin(shape, ", "), "]");
}

// The row of a part that is the part's row `row` in the parameter.
int64_t SourceRowOf(GgufRows rows, const ModelConfig& config, int64_t row) {
  const int64_t head_dim = config.head_dim;
  const int64_t within = row % head_dim;
  switch (rows) {
    case GgufRows::kSame:
    case GgufRows::kEvenBeforeOdd:  // each part has its rows in order
      break;
    case GgufRows::kInterleavedHalves: {
      const int64_t half = head_dim / 2;
      return row - within + 2 * (within % half) + within / half;
    }
    case GgufRows::kStackedHeads: {
      const int64_t block = row / head_dim;
      return (block % 3 * config.num_heads + block / 3) * head_dim + within;
    }
  }
  return row;
}

// What of two tensors has a parameter in MXFP4. nullopt, with the reason in `problems`, where they are
// not what the parameter needs.
std::optional<EncodedMatrix> PlanMxfp4(const TensorSpec& parameter,
                                       const ModelFiles::Source& source, const StoredTensor& blocks,
                                       const StoredTensor& scales, ProblemList& problems) {
  const int64_t elements = GgmlBlockOf(GgmlType::kMXFP4).elements;
  bool is_valid = true;
  const auto check = [&](const std::string& name, const StoredTensor& tensor,
                         const std::vector<int64_t>& shape) {
    if (tensor.type_name == DTypeName(DType::kU8) && tensor.shape == shape) return;
    is_valid = false;
    problems.Add("tensor '", name, "' has the type ", tensor.type_name, " and the shape ",
                 ShapeText(tensor.shape), "; expected U8 and ", ShapeText(shape));
  };
  check(source.name, blocks, source.shape);
  check(source.scales, scales, {source.shape.begin(), source.shape.end() - 1});
  if (parameter.cols() % elements != 0) {
    is_valid = false;
    problems.Add("tensor '", source.name, "' has rows of ", parameter.cols(),
                 " elements, which is no whole number of MXFP4 blocks of ", elements);
  }
  if (!is_valid) return std::nullopt;
  const int64_t first_block = source.part->first_row * (parameter.cols() / elements);
  return EncodedMatrix{.type = GgmlType::kMXFP4,
                       .data = blocks.data.data() + first_block * elements / 2,
                       .rows = parameter.rows(),
                       .cols = parameter.cols(),
                       .scales = scales.data.data() + first_block};
}

// What of a tensor has the rows of a parameter, or those of them that one of `tensors` tensors has.
// nullopt, with the reason in `problems`, where it is not what the parameter needs.
std::optional<EncodedMatrix> PlanPart(const ModelFiles& files, const TensorSpec& parameter,
                                      const ModelFiles::Source& source, int64_t tensors,
                                      const StoredTensor& tensor, ProblemList& problems) {
  const std::string& stored_name = source.name;
  if (!tensor.type) {
    problems.Add("tensor '", stored_name, "' has the type ", tensor.type_name,
                 "; expected F32, F16 or BF16");
    return std::nullopt;
  }
  const std::vector<int64_t>& shape = source.shape;
  if (tensor.shape != shape) {
    problems.Add("tensor '", stored_name, "' has the shape ", ShapeText(tensor.shape),
                 "; expected ", ShapeText(shape));
    return std::nullopt;
  }
  const GgmlBlock block = GgmlBlockOf(*tensor.type);
  const bool is_vector = parameter.is_vector();
  EncodedMatrix matrix = {.type = *tensor.type,
                          .data = tensor.data.data(),
                          .rows = is_vector ? 1 : parameter.rows() / tensors,
                          .cols = is_vector ? parameter.cols() / tensors : parameter.cols(),
                          .offset = files.stored_offset(parameter)};
  if (source.part != nullptr) {
    matrix.data += source.part->first_row * shape.back() / block.elements * block.bytes;
    matrix.transposed = source.part->transposed;
  }
  if (!is_vector || files.stored_rows(parameter) == GgufRows::kSame) return matrix;
  // Its elements move one by one, like rows of one element.
  if (block.elements != 1) {
    problems.Add("tensor '", stored_name, "' has the type ", tensor.type_name,
                 "; a bias must not be quantised");
    return std::nullopt;
  }
  std::swap(matrix.rows, matrix.cols);
  return matrix;
}

class MappedWeightSource : public WeightSource {
 public:
  MappedWeightSource(std::string path, ModelFiles files, std::map<std::string, ReadPlan> plans)
      : path_(std::move(path)), files_(std::move(files)), plans_(std::move(plans)) {}

  const ModelConfig& config() const override { return files_.config; }
  const std::string& name() const override { return files_.name; }
  const GgufFile* gguf() const override { return files_.gguf.get(); }

  absl::Status Read(std::string_view parameter, DType dtype, WeightDestination destination,
                    const ParallelFor& parallel_for) const override {
    const auto found = plans_.find(std::string(parameter));
    if (found == plans_.end()) {
      return absl::NotFoundError(StrCat(files_.name, " has no parameter '", parameter, "'"));
    }
    if (dtype != DType::kF32 && dtype != DType::kBF16 && dtype != DType::kF16) {
      return absl::InvalidArgumentError(
          StrCat("weights cannot be ", DTypeName(dtype), "; expected F32, BF16 or F16"));
    }
    const ReadPlan& plan = found->second;
    const int64_t rows = plan.total_rows();
    const int64_t cols = plan.cols();
    const bool fits = cols == 1 || rows == 1 ? destination.rows * destination.cols == rows * cols
                                             : destination.rows == rows && destination.cols == cols;
    if (destination.data == nullptr || !fits) {
      return absl::InvalidArgumentError(StrCat("the destination of '", parameter, "' is ",
                                               destination.rows, " by ", destination.cols,
                                               "; expected ", rows, " by ", cols));
    }
    const auto source_row = [&](int64_t row) { return SourceRowOf(plan.rows, files_.config, row); };
    const int64_t row_bytes = cols * static_cast<int64_t>(DTypeSize(dtype));
    for (const PlannedPart& part : plan.parts) {
      const std::optional<int64_t> bad =
          DecodeMatrix(part.matrix, source_row, dtype,
                       destination.data + part.first_row * row_bytes, parallel_for, part.row_step);
      if (!bad) continue;
      const int64_t row = *bad / cols, col = *bad % cols;
      const int64_t position = (part.first_row + row * part.row_step) * cols + col;
      return NotFinite(parameter, part.name, dtype, position / destination.cols,
                       position % destination.cols,
                       DecodeElementAt(part.matrix, source_row(row), col));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status NotFinite(std::string_view parameter, const std::string& stored_name, DType dtype,
                         int64_t row, int64_t col, float stored) const {
    return absl::InvalidArgumentError(
        StrCat(path_, ": tensor '", parameter, "'",
               stored_name == parameter ? "" : StrCat(" ('", stored_name, "')"), ", row ", row,
               ", column ", col, ": expected a finite number, found ", stored,
               std::isfinite(stored) ? StrCat(", which overflows ", DTypeName(dtype),
                                              ": choose another dtype for the weights")
                                     : ""));
  }

  const std::string path_;
  const ModelFiles files_;
  const std::map<std::string, ReadPlan> plans_;  // by parameter; point into files_
};

absl::StatusOr<ModelFiles> OpenModelFiles(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return OpenHuggingFaceFolder(path);
  if (!std::filesystem::exists(path, error)) {
    return absl::NotFoundError(StrCat(path, ": no such model"));
  }
  // A file that is called so and is none has its own error.
  if (IsGgufFile(path) || absl::EndsWithIgnoreCase(path, ".gguf")) return OpenGgufModel(path);
  return absl::InvalidArgumentError(
      StrCat(path, ": expected a Hugging Face folder or a GGUF file"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<WeightSource>> WeightSource::Open(const std::string& path,
                                                                 int64_t context_length) {
  SHIRA_ASSIGN_OR_RETURN(ModelFiles files, OpenModelFiles(path));
  if (context_length != 0) {
    SHIRA_RETURN_IF_ERROR(files.config.LimitContext(context_length));
  }
  std::map<std::string, ReadPlan> plans;
  std::set<std::string> used;
  std::set<std::string> refused;  // one that holds several parameters is refused once
  const auto find = [&](const std::string& name) -> const StoredTensor* {
    const auto tensor = files.tensors.find(name);
    if (tensor == files.tensors.end()) {
      files.problems.Add("tensor '", name, "' is missing");
      return nullptr;
    }
    used.insert(name);
    return &tensor->second;
  };
  for (const TensorSpec& parameter : files.config.Tensors()) {
    ReadPlan plan = {.parts = {}, .rows = files.stored_rows(parameter)};
    const std::vector<ModelFiles::Source> sources = files.sources_of(parameter);
    const auto count = static_cast<int64_t>(sources.size());
    for (int64_t i = 0; i < count; ++i) {
      const ModelFiles::Source& source = sources[i];
      if (refused.count(source.name) != 0) continue;
      std::optional<EncodedMatrix> matrix;
      if (const StoredTensor* tensor = find(source.name); tensor != nullptr) {
        if (source.scales.empty()) {
          matrix = PlanPart(files, parameter, source, count, *tensor, files.problems);
        } else if (const StoredTensor* scales = find(source.scales); scales != nullptr) {
          matrix = PlanMxfp4(parameter, source, *tensor, *scales, files.problems);
        }
      }
      if (!matrix) {
        refused.insert(source.name);
        continue;
      }
      const bool alternate = plan.rows == GgufRows::kEvenBeforeOdd;
      plan.parts.push_back({.name = source.name,
                            .matrix = *matrix,
                            .first_row = alternate ? i : i * matrix->rows,
                            .row_step = alternate ? count : 1});
    }
    plans.emplace(parameter.name, std::move(plan));
  }
  for (const auto& [name, tensor] : files.tensors) {
    if (used.count(name) == 0) {
      files.problems.Add("tensor '", name, "' belongs to no parameter of this model");
    }
  }
  SHIRA_RETURN_IF_ERROR(files.problems.ToStatus(absl::StatusCode::kInvalidArgument, path));
  return std::make_unique<MappedWeightSource>(path, std::move(files), std::move(plans));
}

}  // namespace shira
