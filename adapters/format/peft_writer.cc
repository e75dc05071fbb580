#include "adapters/format/peft_writer.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "base/atomic_file.h"
#include "base/atomic_folder.h"
#include "base/float_types.h"
#include "base/problem_list.h"
#include "base/safetensors_writer.h"
#include "base/status_macros.h"
#include "base/strings.h"
#include "nlohmann/json.hpp"

namespace shira {
namespace {

constexpr absl::string_view kWeightSuffix = ".weight";
// Known by its name alone: the one matrix of a model that is no nn.Linear.
constexpr absl::string_view kEmbeddings = "embed_tokens.weight";

std::string ModulePath(const ParameterDelta& delta) {
  return std::string(absl::StripSuffix(delta.parameter, kWeightSuffix));
}

// What PEFT calls r, and the parameter that needs it.
struct Rank {
  int64_t r = 0;
  const ParameterDelta* reason = nullptr;
};

Rank SmallestRank(const SparseAdapter& adapter) {
  Rank rank;
  for (const ParameterDelta& delta : adapter.deltas) {
    const int64_t step = delta.table->rows() + delta.table->cols();
    const int64_t r = (delta.table->entries() + step - 1) / step;
    if (r > rank.r) rank = {r, &delta};
  }
  return rank;
}

int64_t EntriesAt(int64_t r, const IndexTable& table) { return r * (table.rows() + table.cols()); }

// The value as it will be in the file.
float Written(float value, float scale, DType dtype) {
  return dtype == DType::kF32 ? value * scale : ToFloat(FromFloat<BFloat16>(value * scale));
}

absl::Status CheckPeftCanHold(const SparseAdapter& adapter, const Rank& rank, DType dtype) {
  ProblemList problems;
  if (adapter.rounds_values) {
    problems.Add(
        "its values are rounded to the weights' dtype before they are added, and PEFT's "
        "SHiRA adds them as they are");
  }
  for (const ParameterDelta& delta : adapter.deltas) {
    const IndexTable& table = *delta.table;
    if (!absl::EndsWith(delta.parameter, kWeightSuffix) ||
        absl::EndsWith(delta.parameter, kEmbeddings)) {
      problems.Add(delta.parameter, ": no weight of an nn.Linear");
    } else if (delta.kind == ValueKind::kReplacement) {
      problems.Add(delta.parameter, ": its values take the place of weights, and PEFT's are added");
    } else if (EntriesAt(rank.r, table) > table.rows() * table.cols()) {
      problems.Add(delta.parameter, " [", table.rows(), ", ", table.cols(), "]: r = ", rank.r,
                   " would give it ", EntriesAt(rank.r, table), " entries but it has ",
                   table.rows() * table.cols(), " elements (", rank.reason->parameter,
                   " needs that r for its ", rank.reason->table->entries(), " entries)");
    }
    for (const float value : delta.values) {
      if (std::isfinite(Written(value, adapter.scale, dtype))) continue;
      problems.Add(delta.parameter, ": the value ", value, ", times the adapter's scale of ",
                   adapter.scale, ", is too large for ", DTypeName(dtype));
      break;
    }
  }
  return problems.ToStatus(absl::StatusCode::kFailedPrecondition,
                           "PEFT's SHiRA, with r * (rows + columns) entries in every parameter, "
                           "cannot hold this adapter");
}

// One parameter as the file holds it.
struct Entries {
  std::vector<int32_t> rows;
  std::vector<int32_t> cols;
  std::vector<float> values;
};

Entries FilledUp(const ParameterDelta& delta, float scale, int64_t count) {
  const int64_t cols = delta.table->cols();
  Entries entries;
  entries.rows.reserve(count);
  entries.cols.reserve(count);
  entries.values.reserve(count);
  const auto add = [&](int64_t position, float value) {
    entries.rows.push_back(static_cast<int32_t>(position / cols));
    entries.cols.push_back(static_cast<int32_t>(position % cols));
    entries.values.push_back(value);
  };
  int64_t missing = count - delta.table->entries();
  int64_t next = 0;  // the first position that was not looked at
  const auto fill_until = [&](int64_t end) {
    for (; next < end && missing > 0; ++next, --missing) add(next, -0.0f);
  };
  delta.table->ForEach([&](uint32_t entry, int64_t position) {
    fill_until(position);
    add(position, delta.values[entry] * scale);
    next = position + 1;
  });
  fill_until(delta.table->rows() * cols);
  return entries;
}

absl::Status WriteTensors(const SparseAdapter& adapter, int64_t r, DType dtype,
                          const std::string& path) {
  std::vector<TensorDeclaration> declarations;
  for (const ParameterDelta& delta : adapter.deltas) {
    const int64_t count = EntriesAt(r, *delta.table);
    const std::string prefix = "base_model.model." + ModulePath(delta);
    declarations.push_back({prefix + ".shira_indices", DType::kI32, {2, count}});
    declarations.push_back({prefix + ".shira_weight", dtype, {count}});
  }
  SHIRA_ASSIGN_OR_RETURN(SafetensorsWriter writer,
                         SafetensorsWriter::Create(path, declarations, {{"format", "pt"}}));
  for (const ParameterDelta& delta : adapter.deltas) {
    const Entries entries = FilledUp(delta, adapter.scale, EntriesAt(r, *delta.table));
    SHIRA_RETURN_IF_ERROR(writer.WriteNumbers(entries.rows));
    SHIRA_RETURN_IF_ERROR(writer.WriteNumbers(entries.cols));
    if (dtype == DType::kF32) {
      SHIRA_RETURN_IF_ERROR(writer.WriteNumbers(entries.values));
    } else {
      std::vector<BFloat16> rounded(entries.values.size());
      std::transform(entries.values.begin(), entries.values.end(), rounded.begin(),
                     FromFloat<BFloat16>);
      SHIRA_RETURN_IF_ERROR(writer.WriteNumbers(rounded));
    }
  }
  return writer.Finish();
}

absl::Status WriteConfig(const SparseAdapter& adapter, int64_t r, const std::string& path) {
  nlohmann::ordered_json config = {
      {"auto_mapping", nullptr},
      {"base_model_name_or_path", nullptr},
      {"fan_in_fan_out", false},
      {"inference_mode", true},
      {"init_weights", true},
      // Any name but "random" keeps PEFT from making a mask that the file replaces anyway.
      {"mask_type", "stored"},
      {"modules_to_save", nullptr},
      {"peft_type", "SHIRA"},
      {"r", r},
      {"random_seed", nullptr},
      {"revision", nullptr},
      {"target_modules", nlohmann::ordered_json::array()},
      {"task_type", "CAUSAL_LM"},
  };
  if (!adapter.base_model.empty()) config["base_model_name_or_path"] = adapter.base_model;
  // Whole paths: by a shared last name PEFT would also adapt layers that the file leaves alone.
  for (const ParameterDelta& delta : adapter.deltas) {
    config["target_modules"].push_back(ModulePath(delta));
  }
  return WriteFileAtomically(
      path, config.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

}  // namespace

absl::Status WritePeftShira(const SparseAdapter& adapter, const std::string& path,
                            const AdapterWriteOptions& options) {
  if (options.values != DType::kF32 && options.values != DType::kBF16) {
    return absl::InvalidArgumentError(
        StrCat("values are written as F32 or BF16, not ", DTypeName(options.values)));
  }
  const Rank rank = SmallestRank(adapter);
  SHIRA_RETURN_IF_ERROR(CheckPeftCanHold(adapter, rank, options.values));
  SHIRA_ASSIGN_OR_RETURN(AtomicFolder folder, AtomicFolder::Create(path, options.replace));
  SHIRA_RETURN_IF_ERROR(folder.WithPath(WriteTensors(
      adapter, rank.r, options.values, folder.staging() + "/adapter_model.safetensors")));
  SHIRA_RETURN_IF_ERROR(
      folder.WithPath(WriteConfig(adapter, rank.r, folder.staging() + "/adapter_config.json")));
  return folder.Commit();
}

}  // namespace shira
