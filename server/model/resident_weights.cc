#include "server/model/resident_weights.h"

#include <sys/mman.h>

#include "base/status_macros.h"
#include "base/strings.h"

namespace shira {
namespace {

constexpr int64_t kAlignment = 64;
// Large pages spare the scatter and the streaming reads most of their address look-ups.
constexpr int64_t kLargePage = int64_t{2} << 20;

int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// One matrix in memory, made of one tensor or of several by rows.
struct Stack {
  TensorPlace place;
  std::vector<size_t> parts;  // positions among the tensors
};

// In the order in which the list first names them.
std::vector<Stack> PlanStacks(const std::vector<TensorSpec>& tensors) {
  std::vector<Stack> stacks;
  std::map<TensorPlace, size_t> by_place;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const auto [entry, is_new] = by_place.try_emplace(tensors[i].place, stacks.size());
    if (is_new) stacks.push_back({.place = tensors[i].place, .parts = {}});
    stacks[entry->second].parts.push_back(i);
  }
  return stacks;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ResidentWeights>> ResidentWeights::Allocate(
    const ModelConfig& config, DType dtype) {
  SHIRA_RETURN_IF_ERROR(config.Validate());
  if (dtype != DType::kF32 && dtype != DType::kBF16 && dtype != DType::kF16) {
    return absl::InvalidArgumentError(
        StrCat("resident weights: expected F32, BF16 or F16, found ", DTypeName(dtype)));
  }
  auto weights = std::unique_ptr<ResidentWeights>(new ResidentWeights(config, dtype));
  const int64_t element_bytes = static_cast<int64_t>(DTypeSize(dtype));
  const std::vector<TensorSpec> tensors = config.Tensors();
  const std::vector<Stack> stacks = PlanStacks(tensors);

  // Sizes first, then one block of memory, then the addresses in it.
  for (const TensorSpec& tensor : tensors) {
    weights->parameters_.push_back(
        {.name = tensor.name, .rows = tensor.rows(), .cols = tensor.cols(), .data = nullptr});
    weights->places_.push_back(tensor.place);
  }
  std::vector<int64_t> stack_offsets;
  int64_t total_bytes = 0;
  for (const Stack& stack : stacks) {
    stack_offsets.push_back(total_bytes);
    int64_t stack_bytes = 0;
    for (const size_t i : stack.parts) {
      stack_bytes += weights->parameters_[i].elements() * element_bytes;
    }
    weights->bytes_ += stack_bytes;
    total_bytes += RoundUp(stack_bytes, kAlignment);
  }

  const int64_t block_bytes = RoundUp(total_bytes, kLargePage);
  weights->memory_.reset(static_cast<std::byte*>(std::aligned_alloc(kLargePage, block_bytes)));
  if (weights->memory_ == nullptr) {
    return absl::ResourceExhaustedError(StrCat("resident weights: no memory for ", block_bytes,
                                               " bytes; a 16-bit dtype needs the least"));
  }
  madvise(weights->memory_.get(), block_bytes, MADV_HUGEPAGE);  // advice: may fail

  for (size_t s = 0; s < stacks.size(); ++s) {
    Matrix matrix = {.data = weights->memory_.get() + stack_offsets[s], .rows = 0, .cols = 0};
    std::byte* next = matrix.data;
    for (const size_t i : stacks[s].parts) {
      ResidentParameter& parameter = weights->parameters_[i];
      parameter.data = next;
      next += parameter.elements() * element_bytes;
      if (tensors[i].is_vector()) {
        matrix.rows = 1;
        matrix.cols += parameter.cols;
      } else {
        matrix.rows += parameter.rows;
        matrix.cols = parameter.cols;
      }
    }
    weights->matrices_[stacks[s].place] = matrix;
  }
  return weights;
}

absl::StatusOr<std::unique_ptr<ResidentWeights>> ResidentWeights::Load(
    const WeightSource& source, DType dtype, const ParallelFor& parallel_for,
    const Progress& progress) {
  SHIRA_ASSIGN_OR_RETURN(std::unique_ptr<ResidentWeights> weights,
                         Allocate(source.config(), dtype));
  int64_t done_bytes = 0;
  for (const ResidentParameter& parameter : weights->parameters_) {
    SHIRA_RETURN_IF_ERROR(source.Read(
        parameter.name, dtype,
        {.data = parameter.data, .rows = parameter.rows, .cols = parameter.cols}, parallel_for));
    done_bytes += parameter.elements() * static_cast<int64_t>(DTypeSize(dtype));
    if (progress) progress(done_bytes, weights->bytes());
  }
  return weights;
}

ResidentWeights::Matrix ResidentWeights::At(const TensorPlace& place) const {
  const auto entry = matrices_.find(place);
  return entry == matrices_.end() ? Matrix() : entry->second;
}

}  // namespace shira
