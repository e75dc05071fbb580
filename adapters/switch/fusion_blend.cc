#include "adapters/switch/fusion_blend.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "adapters/switch/fusion_thinning.h"
#include "base/status_macros.h"

namespace shira {
namespace {

// One operand in one parameter.
struct Part {
  const FusionOperand* operand;
  const ParameterDelta* delta;
};

// The delta d(i) before thinning; exact, since the product of two floats fits a double.
double DeltaOf(const Part& part, size_t entry) {
  return static_cast<double>(part.operand->adapter->scale) * part.delta->values[entry];
}

std::vector<int64_t> FlatPositions(const IndexTable& table) {
  std::vector<int64_t> flat(table.entries());
  table.ForEach([&](int64_t entry, int64_t position) { flat[entry] = position; });
  return flat;
}

absl::StatusOr<std::shared_ptr<const IndexTable>> UnionTable(absl::Span<const Part> parts) {
  std::vector<std::shared_ptr<const IndexTable>> tables;
  for (const Part& part : parts) tables.push_back(part.delta->table);
  return IndexTable::Union(tables);
}

// For each entry of `table` its place in `positions`, which hold all of its positions.
std::vector<uint32_t> PlacesOf(const IndexTable& table, absl::Span<const int64_t> positions) {
  std::vector<uint32_t> places(table.entries());
  uint32_t place = 0;
  table.ForEach([&](int64_t entry, int64_t position) {
    while (positions[place] != position) ++place;
    places[entry] = place;
  });
  return places;
}

KeepMask Thin(const FusionOptions& options, const Part& part) {
  switch (InfoOf(options.rule).thinning) {
    case FusionThinning::kNone:
      break;
    case FusionThinning::kLargest:
      return KeepLargest(part.delta->values, options.density);
    case FusionThinning::kRandom:
      return KeepRandom(*part.delta->table, options.density, options.seed,
                        part.operand->adapter->digest, part.delta->parameter);
  }
  return KeepMask(part.delta->values.size(), 1);
}

// The elements of one parameter that some part touches, and what becomes of them.
class ParameterFusion {
 public:
  // `parts` are in canonical order; at least one. `table` is their union.
  ParameterFusion(const FusionOptions& options, absl::Span<const Part> parts,
                  const IndexTable& table)
      : info_(InfoOf(options.rule)), parts_(parts), positions_(FlatPositions(table)) {
    for (const Part& part : parts) {
      places_.push_back(PlacesOf(*part.delta->table, positions_));
      keeps_.push_back(Thin(options, part));
    }
    // Only random thinning keeps the expected sum by scaling up.
    if (info_.thinning == FusionThinning::kRandom) divisor_ = options.density;
  }

  absl::Span<const int64_t> positions() const { return positions_; }

  FusionOverlap Overlap() const {
    enum : uint8_t { kTouched = 1, kShared = 2, kPositive = 4, kNegative = 8 };
    std::vector<uint8_t> seen(positions_.size(), 0);
    FusionOverlap overlap;
    for (size_t p = 0; p < parts_.size(); ++p) {
      overlap.operand_entries += static_cast<int64_t>(places_[p].size());
      for (size_t entry = 0; entry < places_[p].size(); ++entry) {
        const double weighted = parts_[p].operand->weight * DeltaOf(parts_[p], entry);
        overlap.operand_energy += weighted * weighted;
        uint8_t& element = seen[places_[p][entry]];
        element |= (element & kTouched) != 0 ? kShared : kTouched;
        if (weighted > 0.0) element |= kPositive;
        if (weighted < 0.0) element |= kNegative;
      }
    }
    overlap.union_entries = static_cast<int64_t>(seen.size());
    constexpr uint8_t kConflict = kPositive | kNegative;  // takes two operands
    for (const uint8_t element : seen) {
      overlap.shared_entries += (element & kShared) != 0;
      overlap.sign_conflicts += (element & kConflict) == kConflict;
    }
    return overlap;
  }

  // The combined values, by position.
  std::vector<double> Combine() const {
    switch (info_.combination) {
      case FusionCombination::kSum:
        return WeightedSum();
      case FusionCombination::kElectedMean:
        return ElectedMean();
      case FusionCombination::kLargest:
        return Largest();
    }
    return {};
  }

 private:
  // Calls visit(place, weight, d(i)) for every kept entry, operand after operand.
  template <typename Visit>
  void ForEachKept(Visit visit) const {
    for (size_t p = 0; p < parts_.size(); ++p) {
      const double weight = parts_[p].operand->weight;
      for (size_t entry = 0; entry < places_[p].size(); ++entry) {
        if (keeps_[p][entry] == 0) continue;
        visit(places_[p][entry], weight, DeltaOf(parts_[p], entry) / divisor_);
      }
    }
  }

  std::vector<double> WeightedSum() const {
    std::vector<double> sums(positions_.size(), 0.0);
    ForEachKept(
        [&](uint32_t place, double weight, double delta) { sums[place] += weight * delta; });
    return sums;
  }

  std::vector<double> ElectedMean() const {
    std::vector<double> votes(positions_.size(), 0.0);
    ForEachKept([&](uint32_t place, double /*weight*/, double delta) { votes[place] += delta; });
    std::vector<double> sums(positions_.size(), 0.0);
    std::vector<uint32_t> counts(positions_.size(), 0);
    ForEachKept([&](uint32_t place, double weight, double delta) {
      if (votes[place] >= 0.0 ? !(delta > 0.0) : !(delta < 0.0)) return;
      sums[place] += weight * delta;
      ++counts[place];
    });
    for (size_t i = 0; i < sums.size(); ++i) sums[i] /= std::max<uint32_t>(counts[i], 1);
    return sums;
  }

  std::vector<double> Largest() const {
    std::vector<double> largest(positions_.size(), 0.0);
    ForEachKept([&](uint32_t place, double weight, double delta) {
      if (std::abs(weight * delta) > std::abs(largest[place])) largest[place] = weight * delta;
    });
    return largest;
  }

  const FusionRuleInfo& info_;
  const absl::Span<const Part> parts_;
  const std::vector<int64_t> positions_;       // of the union, ascending
  std::vector<std::vector<uint32_t>> places_;  // by part and entry: where in positions_
  std::vector<KeepMask> keeps_;                // by part
  double divisor_ = 1.0;                       // of every kept delta
};

// One parameter of the result; nullopt if no element is left. Completes `overlap`.
absl::StatusOr<std::optional<ParameterDelta>> FuseParameter(const FusionOptions& options,
                                                            const std::string& parameter,
                                                            absl::Span<const Part> parts,
                                                            FusionOverlap& overlap) {
  SHIRA_ASSIGN_OR_RETURN(const std::shared_ptr<const IndexTable> table, UnionTable(parts));
  const ParameterFusion fusion(options, parts, *table);
  overlap = fusion.Overlap();
  const std::vector<double> combined = fusion.Combine();
  const bool drop_zeros = InfoOf(options.rule).thinning != FusionThinning::kNone;
  ParameterDelta delta;
  delta.parameter = parameter;
  std::vector<int64_t> positions;
  for (size_t i = 0; i < combined.size(); ++i) {
    const auto value = static_cast<float>(combined[i]);
    if (!std::isfinite(value)) {
      const int64_t position = fusion.positions()[i];
      return absl::InvalidArgumentError(absl::StrFormat(
          "%s, row %d, column %d: expected a value within fp32's range, found %g: use smaller "
          "weights",
          parameter, position / table->cols(), position % table->cols(), combined[i]));
    }
    if (drop_zeros && value == 0.0f) continue;
    positions.push_back(fusion.positions()[i]);
    delta.values.push_back(value);
    overlap.result_energy += static_cast<double>(value) * value;
  }
  overlap.result_entries = static_cast<int64_t>(positions.size());
  if (positions.empty()) return std::nullopt;
  if (overlap.result_entries == table->entries()) {
    delta.table = table;
  } else {
    SHIRA_ASSIGN_OR_RETURN(delta.table,
                           IndexTable::Create(table->rows(), table->cols(), positions));
  }
  return delta;
}

// The parts of every parameter, in the operands' order.
absl::StatusOr<std::map<std::string, std::vector<Part>>> PartsByParameter(
    absl::Span<const FusionOperand> operands) {
  std::map<std::string, std::vector<Part>> parameters;
  for (const FusionOperand& operand : operands) {
    for (const ParameterDelta& delta : operand.adapter->deltas) {
      if (delta.kind == ValueKind::kReplacement) {
        return absl::InvalidArgumentError(absl::StrFormat(
            "adapter '%s' replaces values of %s: only deltas, which are added to the weights, can "
            "be blended",
            operand.name, delta.parameter));
      }
      std::vector<Part>& parts = parameters[delta.parameter];
      if (!parts.empty()) {
        const FusionOperand& other = *parts[0].operand;
        const IndexTable& expected = *parts[0].delta->table;
        if (delta.table->rows() != expected.rows() || delta.table->cols() != expected.cols()) {
          return absl::FailedPreconditionError(
              absl::StrFormat("%s: adapter '%s' has the shape [%d, %d], adapter '%s' has [%d, %d]",
                              delta.parameter, other.name, expected.rows(), expected.cols(),
                              operand.name, delta.table->rows(), delta.table->cols()));
        }
      }
      parts.push_back({&operand, &delta});
    }
  }
  return parameters;
}

void Add(const FusionOverlap& overlap, FusionOverlap& total) {
  total.operand_entries += overlap.operand_entries;
  total.union_entries += overlap.union_entries;
  total.shared_entries += overlap.shared_entries;
  total.sign_conflicts += overlap.sign_conflicts;
  total.result_entries += overlap.result_entries;
  total.operand_energy += overlap.operand_energy;
  total.result_energy += overlap.result_energy;
}

}  // namespace

absl::StatusOr<FusionResult> Blend(const FusionOptions& options,
                                   std::vector<FusionOperand> operands, IndexTablePool& tables) {
  std::vector<StateTerm> terms;
  for (const FusionOperand& operand : operands) {
    terms.push_back({operand.adapter->digest, operand.weight});
  }
  auto blend = std::make_shared<SparseAdapter>();
  SHIRA_ASSIGN_OR_RETURN(blend->digest, BlendDigest(options, std::move(terms)));
  std::sort(operands.begin(), operands.end(), [](const FusionOperand& a, const FusionOperand& b) {
    return a.adapter->digest < b.adapter->digest;
  });
  SHIRA_ASSIGN_OR_RETURN(const auto parameters, PartsByParameter(operands));
  FusionReport report;
  for (const auto& [parameter, parts] : parameters) {
    FusionReport::Parameter& entry = report.parameters.emplace_back();
    entry.name = parameter;
    SHIRA_ASSIGN_OR_RETURN(std::optional<ParameterDelta> delta,
                           FuseParameter(options, parameter, parts, entry.overlap));
    Add(entry.overlap, report.total);
    if (!delta.has_value()) continue;
    delta->table = tables.Intern(std::move(delta->table));
    blend->deltas.push_back(*std::move(delta));
  }
  if (blend->deltas.empty()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("rule %s with density %g leaves no entry: use a larger density",
                        InfoOf(options.rule).name, options.density));
  }
  blend->format = kBlendFormat;
  blend->base_model = operands[0].adapter->base_model;
  for (const FusionOperand& operand : operands) {
    if (operand.adapter->base_model != blend->base_model) blend->base_model.clear();
  }
  return FusionResult{std::move(blend), std::move(report)};
}

}  // namespace shira
