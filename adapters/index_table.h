// File: adapters/index_table.h
//
// Which elements of one parameter an adapter touches: compressed sparse rows, sorted, without
// values. Tables are shared: PEFT's default masks of equal shape, r and seed are equal, so most
// adapters of a tenant need one table in memory, found by its digest.

#ifndef SHIRA_ADAPTERS_INDEX_TABLE_H_
#define SHIRA_ADAPTERS_INDEX_TABLE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "base/sha256.h"

namespace shira {

// Immutable.
class IndexTable {
 public:
  // `flat` holds row * cols + col for each element. INVALID_ARGUMENT unless it is strictly
  // ascending and below rows * cols, and its size fits 32 bits. REQUIRES: rows and cols are
  // positive.
  static absl::StatusOr<std::shared_ptr<const IndexTable>> Create(int64_t rows, int64_t cols,
                                                                  absl::Span<const int64_t> flat);

  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  int64_t entries() const { return row_offsets_.back(); }

  // [rows + 1]: row r's entries are [row_offsets()[r], row_offsets()[r + 1]).
  absl::Span<const uint32_t> row_offsets() const { return row_offsets_; }
  // [entries], ascending within a row. Exactly one of the two is used: 16 bits wherever every
  // column fits.
  absl::Span<const uint16_t> columns16() const { return columns16_; }
  absl::Span<const uint32_t> columns32() const { return columns32_; }
  bool narrow() const { return cols_ <= 65536; }

  // Over shape and positions: equal digests mean equal tables.
  const Sha256Digest& digest() const { return digest_; }
  int64_t memory_bytes() const;

  // Calls visit(entry, flat position) in ascending order. For code off the hot path.
  template <typename Visit>
  void ForEach(Visit visit) const {
    for (int64_t row = 0; row < rows_; ++row) {
      for (uint32_t i = row_offsets_[row]; i < row_offsets_[row + 1]; ++i) {
        visit(i, row * cols_ + (narrow() ? columns16_[i] : columns32_[i]));
      }
    }
  }

 private:
  IndexTable() = default;

  int64_t rows_ = 0;
  int64_t cols_ = 0;
  std::vector<uint32_t> row_offsets_;
  std::vector<uint16_t> columns16_;
  std::vector<uint32_t> columns32_;
  Sha256Digest digest_;
};

// Keeps one copy of equal tables for as long as somebody uses it. Thread-safe.
class IndexTablePool {
 public:
  // The pooled table equal to `table`: `table` itself if it is the first of its kind.
  std::shared_ptr<const IndexTable> Intern(std::shared_ptr<const IndexTable> table);

 private:
  absl::Mutex mutex_;
  absl::flat_hash_map<Sha256Digest, std::weak_ptr<const IndexTable>> tables_
      ABSL_GUARDED_BY(mutex_);
  size_t swept_size_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace shira

#endif  // SHIRA_ADAPTERS_INDEX_TABLE_H_
