// File: adapters/index_table.h
//
// Which elements of one parameter an adapter touches: sorted positions, without values. Tables are
// shared: PEFT's default masks of equal shape, r and seed are equal, so most adapters of a tenant
// need one table in memory, found by its digest.

#ifndef SHIRA_ADAPTERS_INDEX_TABLE_H_
#define SHIRA_ADAPTERS_INDEX_TABLE_H_

#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "base/sha256.h"
#include "base/weak_pool.h"

namespace shira {

// Immutable. The matrix is cut into blocks of whole rows, as many as 16-bit offsets reach (at most
// 16): block b starts at flat position b * block_elements(), and an entry is stored as its offset
// from there. So an entry takes 2 bytes whatever the number of rows, a block is a unit of work that
// fits a cache, and nothing is decoded. Rows beyond 65,536 columns are a block each, with 32-bit
// offsets.
class IndexTable {
 public:
  // `flat` holds row * cols + col for each element. INVALID_ARGUMENT unless it is strictly
  // ascending and below rows * cols, and its size and cols fit 32 bits. REQUIRES: rows and cols are
  // positive.
  static absl::StatusOr<std::shared_ptr<const IndexTable>> Create(int64_t rows, int64_t cols,
                                                                  absl::Span<const int64_t> flat);

  // Every position that is in one of the tables: the first of them if all are equal.
  // INVALID_ARGUMENT if they are more than 2^32 - 1. REQUIRES: at least one table; equal shapes.
  static absl::StatusOr<std::shared_ptr<const IndexTable>> Union(
      absl::Span<const std::shared_ptr<const IndexTable>> tables);

  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  int64_t entries() const { return block_offsets_.back(); }

  int64_t blocks() const { return static_cast<int64_t>(block_offsets_.size()) - 1; }
  int64_t rows_per_block() const { return rows_per_block_; }  // the last block may have fewer
  int64_t block_elements() const { return rows_per_block_ * cols_; }
  // [blocks + 1]: block b's entries are [block_offsets()[b], block_offsets()[b + 1]).
  absl::Span<const uint32_t> block_offsets() const { return block_offsets_; }

  // The entries' offsets from their block's start, [entries], ascending within a block. Empty if
  // Offset is not the width of this table's shape: WithOffsets() chooses.
  template <typename Offset>
  absl::Span<const Offset> offsets() const {
    static_assert(std::is_same_v<Offset, uint16_t> || std::is_same_v<Offset, uint32_t>);
    if constexpr (std::is_same_v<Offset, uint16_t>) {
      return offsets16_;
    } else {
      return offsets32_;
    }
  }

  // Calls visit(offsets<uint16_t>()) or visit(offsets<uint32_t>()) and returns what it does.
  template <typename Visit>
  auto WithOffsets(Visit visit) const {
    return narrow() ? visit(offsets<uint16_t>()) : visit(offsets<uint32_t>());
  }

  // Over shape and positions: equal digests mean equal tables.
  const Sha256Digest& digest() const { return digest_; }
  int64_t memory_bytes() const;

  // Calls visit(entry, offset from the block's start) for one block, in ascending order.
  template <typename Visit>
  void ForEachInBlock(int64_t block, Visit visit) const {
    WithOffsets([&](auto offsets) {
      for (uint32_t i = block_offsets_[block]; i < block_offsets_[block + 1]; ++i) {
        visit(i, offsets[i]);
      }
    });
  }

  // Calls visit(entry, position from the first row's start) for the rows [first_row, last_row), in
  // ascending order.
  template <typename Visit>
  void ForEachInRows(int64_t first_row, int64_t last_row, Visit visit) const {
    const int64_t first = first_row * cols_;
    const int64_t last = last_row * cols_;
    for (int64_t block = first_row / rows_per_block_; block * block_elements() < last; ++block) {
      const int64_t start = block * block_elements();
      ForEachInBlock(block, [&](uint32_t i, auto offset) {
        const int64_t position = start + offset;
        if (position >= first && position < last) visit(i, position - first);
      });
    }
  }

  // Calls visit(entry, flat position) in ascending order.
  template <typename Visit>
  void ForEach(Visit visit) const {
    for (int64_t block = 0; block < blocks(); ++block) {
      const int64_t start = block * block_elements();
      ForEachInBlock(block, [&](uint32_t i, auto offset) { visit(i, start + offset); });
    }
  }

 private:
  class Builder;

  IndexTable(int64_t rows, int64_t cols);
  bool narrow() const { return cols_ <= 65536; }

  const int64_t rows_;
  const int64_t cols_;
  const int64_t rows_per_block_;
  std::vector<uint32_t> block_offsets_;
  // Exactly one of the two is used.
  std::vector<uint16_t> offsets16_;
  std::vector<uint32_t> offsets32_;
  Sha256Digest digest_;
};

// Keeps one copy of equal tables for as long as it is in use. Thread-safe.
class IndexTablePool {
 public:
  // The pooled table equal to `table`: `table` itself if it is the first of its kind.
  std::shared_ptr<const IndexTable> Intern(std::shared_ptr<const IndexTable> table);

 private:
  absl::Mutex mutex_;
  WeakPool<Sha256Digest, IndexTable> tables_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace shira

#endif  // SHIRA_ADAPTERS_INDEX_TABLE_H_
