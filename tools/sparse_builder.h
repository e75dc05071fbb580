// File: tools/sparse_builder.h
//
// A sparse adapter made of dense deltas, one parameter at a time, and the account of what that
// lost.

#ifndef SHIRA_TOOLS_SPARSE_BUILDER_H_
#define SHIRA_TOOLS_SPARSE_BUILDER_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "adapters/sparse_adapter.h"
#include "tools/adapter_output.h"
#include "tools/session.h"

namespace shira::tools {

class SparseBuilder {
 public:
  // Of one parameter. Energies are sums of squares.
  struct Account {
    std::string parameter;
    int64_t elements = 0;
    int64_t entries = 0;
    double energy = 0;
    double energy_kept = 0;

    // 1 where there was nothing to keep.
    double kept() const { return energy > 0 ? energy_kept / energy : 1; }
  };

  // REQUIRES: density in (0, 1].
  explicit SparseBuilder(double density) : density_(density) {}

  // Keeps the largest elements (tools/top_k.h). REQUIRES: no parameter twice.
  absl::Status Add(const std::string& parameter, int64_t rows, int64_t cols,
                   absl::Span<const float> dense);

  double density() const { return density_; }
  // In the order in which they were added.
  const std::vector<Account>& accounts() const { return accounts_; }
  Account total() const;

  // INVALID_ARGUMENT when every delta was zero everywhere. The builder is empty afterwards.
  absl::StatusOr<SparseAdapter> Finish();

 private:
  const double density_;
  std::vector<Account> accounts_;
  std::vector<ParameterDelta> deltas_;
};

// What a command adds to the account of its builder.
struct SparseResult {
  std::string base_model;  // SparseAdapter::base_model
  Json json;               // further members of the command's object, or null
  std::string text;        // behind the table
};

// The end of a command that built an adapter: writes it, unless `writer` is nullptr, then prints
// what was kept, per part of the model and in total, or as an object with "out", "density",
// "entries", "elements", "energy_kept", "parameters" and the result's own members.
absl::StatusOr<ExitCode> FinishSparse(Session& session, SparseBuilder& builder,
                                      const SparseResult& result, const AdapterWriter* writer,
                                      const OutputOptions& output);

}  // namespace shira::tools

#endif  // SHIRA_TOOLS_SPARSE_BUILDER_H_
