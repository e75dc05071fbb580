#include "server/model/patch_plan.h"

#include <algorithm>

namespace shira {
namespace {

bool SamePositions(const CompiledParameter& a, const CompiledParameter& b) {
  return a.table == b.table || a.table->digest() == b.table->digest();
}

// Calls visit(parameter, table, values) for each patch, ascending by parameter, the originals of a
// parameter first.
template <typename Visit>
void ForEachPatch(const CompiledState& resident, const CompiledState& state, Visit visit) {
  auto undo = resident.parameters.begin();
  const auto undo_end = resident.parameters.end();
  const auto visit_undo = [&] {
    visit(undo->parameter, undo->table.get(), undo->originals->data());
    ++undo;
  };
  for (const CompiledParameter& fuse : state.parameters) {
    while (undo != undo_end && undo->parameter < fuse.parameter) visit_undo();
    if (undo != undo_end && undo->parameter == fuse.parameter) {
      if (SamePositions(*undo, fuse)) {
        ++undo;
      } else {
        visit_undo();
      }
    }
    visit(fuse.parameter, fuse.table.get(), fuse.fused.data());
  }
  while (undo != undo_end) visit_undo();
}

}  // namespace

void PatchPlan::Make(const DecoderWeights& weights, const CompiledState& resident,
                     const CompiledState& state) {
  begins_.assign(weights.places + 1, 0);
  patches_.clear();
  if (resident.key == state.key) return;
  // Counted, then put where they belong: a stack's parameters need not follow each other.
  ForEachPatch(resident, state, [&](int64_t parameter, const IndexTable*, const std::byte*) {
    ++begins_[weights.parts[parameter].place + 1];
  });
  for (int64_t i = 0; i < weights.places; ++i) begins_[i + 1] += begins_[i];
  patches_.resize(begins_.back());
  ForEachPatch(resident, state,
               [&](int64_t parameter, const IndexTable* table, const std::byte* values) {
                 const DecoderWeights::Part& part = weights.parts[parameter];
                 patches_[begins_[part.place]++] = {
                     .first_row = part.first, .table = table, .values = values};
               });
  // Each place's begin has moved to its end, which is the next one's begin.
  for (int64_t i = weights.places; i > 0; --i) begins_[i] = begins_[i - 1];
  begins_[0] = 0;
}

}  // namespace shira
