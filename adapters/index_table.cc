#include "adapters/index_table.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"

namespace shira {
namespace {

template <typename T>
absl::Span<const std::byte> AsBytes(const std::vector<T>& values) {
  return {reinterpret_cast<const std::byte*>(values.data()), values.size() * sizeof(T)};
}

int64_t RowsPerBlock(int64_t cols) {
  int64_t rows = 1;
  while (rows < 16 && 2 * rows * cols <= 65536) rows *= 2;
  return rows;
}

}  // namespace

IndexTable::IndexTable(int64_t rows, int64_t cols)
    : rows_(rows), cols_(cols), rows_per_block_(RowsPerBlock(cols)) {
  block_offsets_.assign((rows + rows_per_block_ - 1) / rows_per_block_ + 1, 0);
}

// Fills a table in ascending order.
class IndexTable::Builder {
 public:
  static absl::StatusOr<Builder> Create(int64_t rows, int64_t cols, int64_t most_entries) {
    constexpr int64_t kMost = std::numeric_limits<uint32_t>::max();
    if (most_entries > kMost || cols > kMost) {
      return absl::InvalidArgumentError(
          absl::StrFormat("index table [%d, %d]: %d entries: expected entries and columns to fit "
                          "32 bits",
                          rows, cols, most_entries));
    }
    return Builder(rows, cols, most_entries);
  }

  void Add(int64_t block, int64_t offset) {
    ++table_->block_offsets_[block + 1];
    if (table_->narrow()) {
      table_->offsets16_.push_back(static_cast<uint16_t>(offset));
    } else {
      table_->offsets32_.push_back(static_cast<uint32_t>(offset));
    }
  }

  std::shared_ptr<const IndexTable> Finish() && {
    std::vector<uint32_t>& blocks = table_->block_offsets_;
    for (size_t block = 1; block < blocks.size(); ++block) blocks[block] += blocks[block - 1];
    table_->offsets16_.shrink_to_fit();
    table_->offsets32_.shrink_to_fit();
    table_->digest_ = Sha256()
                          .UpdateU64(table_->rows_)
                          .UpdateU64(table_->cols_)
                          .Update(AsBytes(blocks))
                          .Update(AsBytes(table_->offsets16_))
                          .Update(AsBytes(table_->offsets32_))
                          .Finish();
    return std::move(table_);
  }

 private:
  Builder(int64_t rows, int64_t cols, int64_t most_entries) : table_(new IndexTable(rows, cols)) {
    if (table_->narrow()) {
      table_->offsets16_.reserve(most_entries);
    } else {
      table_->offsets32_.reserve(most_entries);
    }
  }

  std::shared_ptr<IndexTable> table_;
};

absl::StatusOr<std::shared_ptr<const IndexTable>> IndexTable::Create(
    int64_t rows, int64_t cols, absl::Span<const int64_t> flat) {
  SHIRA_ASSIGN_OR_RETURN(Builder builder,
                         Builder::Create(rows, cols, static_cast<int64_t>(flat.size())));
  const int64_t block_elements = RowsPerBlock(cols) * cols;
  int64_t previous = -1;
  for (const int64_t position : flat) {
    if (position <= previous || position >= rows * cols) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "index table [%d, %d]: expected ascending positions below %d, found %d after %d", rows,
          cols, rows * cols, position, previous));
    }
    previous = position;
    builder.Add(position / block_elements, position % block_elements);
  }
  return std::move(builder).Finish();
}

absl::StatusOr<std::shared_ptr<const IndexTable>> IndexTable::Union(
    absl::Span<const std::shared_ptr<const IndexTable>> tables) {
  const IndexTable& first = *tables[0];
  if (std::all_of(tables.begin(), tables.end(),
                  [&](const auto& table) { return table->digest() == first.digest(); })) {
    return tables[0];
  }
  int64_t most_entries = 0;
  for (const auto& table : tables) most_entries += table->entries();
  most_entries = std::min(most_entries, first.rows() * first.cols());
  SHIRA_ASSIGN_OR_RETURN(Builder builder,
                         Builder::Create(first.rows(), first.cols(), most_entries));
  // One bit per element of a block: no comparing, so nothing for the branch predictor to miss.
  std::vector<uint64_t> present((first.block_elements() + 63) / 64);
  for (int64_t block = 0; block < first.blocks(); ++block) {
    for (const auto& table : tables) {
      table->ForEachInBlock(block, [&](uint32_t, auto offset) {
        present[offset / 64] |= uint64_t{1} << (offset % 64);
      });
    }
    for (size_t word = 0; word < present.size(); ++word) {
      for (uint64_t bits = std::exchange(present[word], 0); bits != 0; bits &= bits - 1) {
        builder.Add(block, static_cast<int64_t>(word * 64) + std::countr_zero(bits));
      }
    }
  }
  return std::move(builder).Finish();
}

int64_t IndexTable::memory_bytes() const {
  return static_cast<int64_t>(AsBytes(block_offsets_).size() + AsBytes(offsets16_).size() +
                              AsBytes(offsets32_).size());
}

std::shared_ptr<const IndexTable> IndexTablePool::Intern(std::shared_ptr<const IndexTable> table) {
  absl::MutexLock lock(&mutex_);
  const Sha256Digest digest = table->digest();
  return tables_.Intern(digest, std::move(table));
}

}  // namespace shira
