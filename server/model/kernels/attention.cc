#include "server/model/kernels/attention.h"

#include <algorithm>
#include <tuple>

namespace shira {
namespace {

// The next address that vectors can be stored to: at most 15 floats on.
float* Aligned(float* floats) {
  return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(floats) + 63) / 64 * 64);
}

}  // namespace

// A tile of a prompt, or a piece of a decoding row.
struct Attention::Unit {
  int64_t row = 0;
  int64_t kv_head = 0;
  int64_t cost = 0;    // in pairs of query and position
  int64_t first = 0;   // token of the tile
  int64_t tokens = 0;  // of the tile; 0 for decoding, where what follows is used
  int64_t piece = 0;
  int64_t pending = 0;  // place of the counter of (row, kv_head)
  int64_t parts =
      0;  // floats into the aligned parts_: [pieces, group, part_size] of (row, kv_head)
};

Attention::Attention(const AttentionShape& shape) : shape_(shape) {}
Attention::~Attention() = default;

void Attention::PlanRow(int64_t index, const AttentionRow& row) {
  const int64_t tile_tokens = AttentionTileTokens(shape_);
  for (int64_t head = 0; head < shape_.num_kv_heads; ++head) {
    Unit unit;
    unit.row = index;
    unit.kv_head = head;
    if (row.tokens > 1) {
      for (; unit.first < row.tokens; unit.first += tile_tokens) {
        unit.tokens = std::min(tile_tokens, row.tokens - unit.first);
        unit.cost = unit.tokens * (row.start + unit.first + unit.tokens);
        units_.push_back(unit);
      }
      continue;
    }
    const int64_t pieces = AttentionPieces(row.start + 1);
    unit.pending = static_cast<int64_t>(pieces_.size());
    unit.parts = part_floats_;
    pieces_.push_back(pieces);
    part_floats_ += pieces * shape_.queries_per_kv_head() * AttentionPartSize(shape_);
    for (; unit.piece < pieces; ++unit.piece) {
      unit.cost = std::min(kAttentionPiece, row.start + 1 - unit.piece * kAttentionPiece);
      units_.push_back(unit);
    }
  }
}

void Attention::Plan(absl::Span<const AttentionRow> rows) {
  units_.clear();
  pieces_.clear();
  part_floats_ = 0;
  for (size_t i = 0; i < rows.size(); ++i) PlanRow(static_cast<int64_t>(i), rows[i]);
  // The longest first, so that no thread is left with one at the end.
  std::sort(units_.begin(), units_.end(), [](const Unit& a, const Unit& b) {
    return std::tuple(-a.cost, a.row, a.piece, a.kv_head, a.first) <
           std::tuple(-b.cost, b.row, b.piece, b.kv_head, b.first);
  });
  products_ = 0;
  for (const Unit& unit : units_) {
    products_ += unit.cost * shape_.queries_per_kv_head() * shape_.head_dim;
  }
  // Generously, so that a growing context does not allocate at every piece.
  if (part_floats_ + 16 > static_cast<int64_t>(parts_.size())) parts_.resize(2 * part_floats_ + 16);
  if (pieces_.size() > pending_.size()) {
    pending_ = std::vector<std::atomic<int64_t>>(2 * pieces_.size());
  }
}

void Attention::RunUnit(absl::Span<const AttentionRow> rows, const Unit& unit, const Unit* next) {
  const AttentionRow& row = rows[unit.row];
  if (unit.tokens > 0) return AttendTile(shape_, row, unit.kv_head, unit.first, unit.tokens);
  const auto piece_of = [&](const Unit& of) {
    return RowPiece{.row = &rows[of.row], .kv_head = of.kv_head, .piece = of.piece};
  };
  RowPiece then;
  if (next != nullptr) then = piece_of(*next);
  float* parts = Aligned(parts_.data()) + unit.parts;
  AttendPiece(shape_, piece_of(unit), next == nullptr ? nullptr : &then,
              parts + unit.piece * shape_.queries_per_kv_head() * AttentionPartSize(shape_));
  // Whoever is last sees what all others have stored: each subtraction releases its own part and
  // acquires those of the subtractions before.
  if (pending_[unit.pending].fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  FinishPieces(shape_, row, unit.kv_head, parts);
}

void Attention::Run(absl::Span<const AttentionRow> rows, const ParallelFor& parallel_for) {
  for (size_t i = 0; i < pieces_.size(); ++i) {
    pending_[i].store(pieces_[i], std::memory_order_relaxed);
  }
  const int64_t units = static_cast<int64_t>(units_.size());
  std::atomic<int64_t> next{0};
  // Units differ in length, so each thread takes the next one when it is ready for it, or rather
  // one earlier: what it reads next is fetched meanwhile. A unit's result does not depend on who
  // computes it.
  const auto take = [&]() -> const Unit* {
    const int64_t i = next.fetch_add(1, std::memory_order_relaxed);
    return i < units ? &units_[i] : nullptr;
  };
  const auto run_units = [&](int64_t, int64_t) {
    const Unit* unit = take();
    while (unit != nullptr) {
      const Unit* following = take();
      RunUnit(rows, *unit, following);
      unit = following;
    }
  };
  // Waking the other threads costs as much as this many products.
  constexpr int64_t kWorthThreads = 50'000;
  if (products_ < kWorthThreads) {
    run_units(0, units);
  } else {
    parallel_for(units, run_units);
  }
}

}  // namespace shira
