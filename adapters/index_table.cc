#include "adapters/index_table.h"

#include <limits>
#include <utility>

#include "absl/strings/str_format.h"

namespace shira {
namespace {

template <typename T>
absl::Span<const std::byte> AsBytes(const std::vector<T>& values) {
  return {reinterpret_cast<const std::byte*>(values.data()), values.size() * sizeof(T)};
}

}  // namespace

absl::StatusOr<std::shared_ptr<const IndexTable>> IndexTable::Create(
    int64_t rows, int64_t cols, absl::Span<const int64_t> flat) {
  if (flat.size() > std::numeric_limits<uint32_t>::max()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("index table: %d entries do not fit 32 bits", flat.size()));
  }
  std::shared_ptr<IndexTable> table(new IndexTable());
  table->rows_ = rows;
  table->cols_ = cols;
  table->row_offsets_.assign(rows + 1, 0);
  if (table->narrow()) {
    table->columns16_.reserve(flat.size());
  } else {
    table->columns32_.reserve(flat.size());
  }
  int64_t previous = -1;
  for (const int64_t position : flat) {
    if (position <= previous || position >= rows * cols) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "index table [%d, %d]: expected ascending positions below %d, found %d after %d", rows,
          cols, rows * cols, position, previous));
    }
    previous = position;
    ++table->row_offsets_[position / cols + 1];
    if (table->narrow()) {
      table->columns16_.push_back(static_cast<uint16_t>(position % cols));
    } else {
      table->columns32_.push_back(static_cast<uint32_t>(position % cols));
    }
  }
  for (int64_t row = 0; row < rows; ++row) {
    table->row_offsets_[row + 1] += table->row_offsets_[row];
  }
  table->digest_ = Sha256()
                       .UpdateU64(rows)
                       .UpdateU64(cols)
                       .Update(AsBytes(table->row_offsets_))
                       .Update(AsBytes(table->columns16_))
                       .Update(AsBytes(table->columns32_))
                       .Finish();
  return std::shared_ptr<const IndexTable>(std::move(table));
}

int64_t IndexTable::memory_bytes() const {
  return static_cast<int64_t>(AsBytes(row_offsets_).size() + AsBytes(columns16_).size() +
                              AsBytes(columns32_).size());
}

std::shared_ptr<const IndexTable> IndexTablePool::Intern(std::shared_ptr<const IndexTable> table) {
  absl::MutexLock lock(&mutex_);
  std::weak_ptr<const IndexTable>& slot = tables_[table->digest()];
  if (std::shared_ptr<const IndexTable> pooled = slot.lock()) return pooled;
  slot = table;
  // Entries of tables that nobody uses any more would gather; sweeping when the map has doubled
  // keeps the cost constant per call.
  if (tables_.size() > 2 * swept_size_ + 64) {
    absl::erase_if(tables_, [](const auto& entry) { return entry.second.expired(); });
    swept_size_ = tables_.size();
  }
  return table;
}

}  // namespace shira
