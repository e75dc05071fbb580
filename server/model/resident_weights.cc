#include "server/model/resident_weights.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>

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

// A part of a parameter's name, the stack that it belongs to, and its place there.
struct StackRule {
  std::string_view part;
  std::string_view stack;
  int place;
};
constexpr std::array<StackRule, 5> kStackRules = {{
    {".q_proj.", ".qkv_proj.", 0},
    {".k_proj.", ".qkv_proj.", 1},
    {".v_proj.", ".qkv_proj.", 2},
    {".gate_proj.", ".gate_up_proj.", 0},
    {".up_proj.", ".gate_up_proj.", 1},
}};

// One matrix in memory, made of one parameter or of several by rows.
struct Stack {
  std::string name;
  bool is_vector = false;
  std::vector<std::pair<int, size_t>> parts;  // (place, position among the parameters)
};

std::vector<Stack> PlanStacks(const std::vector<ModelConfig::Parameter>& parameters) {
  std::vector<Stack> stacks;
  absl::flat_hash_map<std::string, size_t> by_name;
  for (size_t i = 0; i < parameters.size(); ++i) {
    std::string name = parameters[i].name;
    int place = 0;
    for (const StackRule& rule : kStackRules) {
      const size_t at = name.find(rule.part);
      if (at == std::string::npos) continue;
      name.replace(at, rule.part.size(), rule.stack);
      place = rule.place;
      break;
    }
    const auto [entry, is_new] = by_name.try_emplace(name, stacks.size());
    if (is_new) {
      stacks.push_back({.name = name, .is_vector = parameters[i].shape.size() == 1, .parts = {}});
    }
    stacks[entry->second].parts.push_back({place, i});
  }
  for (Stack& stack : stacks) std::sort(stack.parts.begin(), stack.parts.end());
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
  const std::vector<ModelConfig::Parameter> parameters = config.Parameters();
  const std::vector<Stack> stacks = PlanStacks(parameters);

  // Sizes first, then one block of memory, then the addresses in it.
  weights->parameters_.resize(parameters.size());
  std::vector<int64_t> stack_offsets;
  int64_t total_bytes = 0;
  for (const Stack& stack : stacks) {
    stack_offsets.push_back(total_bytes);
    int64_t stack_bytes = 0;
    for (const auto& [place, i] : stack.parts) {
      const std::vector<int64_t>& shape = parameters[i].shape;
      weights->parameters_[i] = {.name = parameters[i].name,
                                 .rows = shape.size() == 1 ? 1 : shape[0],
                                 .cols = shape.back(),
                                 .data = nullptr};
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
    for (const auto& [place, i] : stacks[s].parts) {
      ResidentParameter& parameter = weights->parameters_[i];
      parameter.data = next;
      next += parameter.elements() * element_bytes;
      if (stacks[s].is_vector) {
        matrix.rows = 1;
        matrix.cols += parameter.cols;
      } else {
        matrix.rows += parameter.rows;
        matrix.cols = parameter.cols;
      }
      // A stack of one bears the parameter's own name and is added below.
      if (stacks[s].parts.size() > 1) {
        weights->matrices_[parameter.name] = {parameter.data, parameter.rows, parameter.cols};
      }
    }
    weights->matrices_[stacks[s].name] = matrix;
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

ResidentWeights::Matrix ResidentWeights::Find(std::string_view name) const {
  const auto entry = matrices_.find(ToAbsl(name));
  return entry == matrices_.end() ? Matrix() : entry->second;
}

}  // namespace shira
