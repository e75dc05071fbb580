#include "adapters/switch/scatter.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "absl/functional/function_ref.h"

namespace shira {
namespace {

// Elements are moved, never computed with: an unsigned integer of their size stands for each dtype.
template <typename Function>
auto WithElementType(size_t element_bytes, Function function) {
  if (element_bytes == 2) return function(uint16_t{});
  return function(uint32_t{});
}

// How many entries ahead the target's cache line is asked for. Entries are far apart, so nearly
// every one misses.
constexpr uint32_t kPrefetchDistance = 32;

// Walks the entries of rows [row_begin, row_end) of a table.
class EntryCursor {
 public:
  EntryCursor(const IndexTable& table, int64_t row_begin, int64_t row_end)
      : table_(table),
        row_(row_begin),
        entry_(table.row_offsets()[row_begin]),
        end_(table.row_offsets()[row_end]) {
    SkipEmptyRows();
  }

  bool done() const { return entry_ == end_; }
  uint32_t entry() const { return entry_; }
  int64_t position() const {
    return row_ * table_.cols() +
           (table_.narrow() ? table_.columns16()[entry_] : table_.columns32()[entry_]);
  }
  void Next() {
    ++entry_;
    SkipEmptyRows();
  }

 private:
  void SkipEmptyRows() {
    while (entry_ != end_ && entry_ == table_.row_offsets()[row_ + 1]) ++row_;
  }

  const IndexTable& table_;
  int64_t row_;
  uint32_t entry_;
  const uint32_t end_;
};

template <typename T>
void PrefetchForWrite(const T* address) {
  __builtin_prefetch(address, /*rw=*/1, /*locality=*/3);
}

template <typename T>
void ScatterRows(T* weights, const IndexTable& table, const T* values, int64_t row_begin,
                 int64_t row_end) {
  EntryCursor ahead(table, row_begin, row_end);
  for (uint32_t i = 0; i < kPrefetchDistance && !ahead.done(); ++i, ahead.Next()) {
    PrefetchForWrite(weights + ahead.position());
  }
  for (EntryCursor cursor(table, row_begin, row_end); !cursor.done(); cursor.Next()) {
    if (!ahead.done()) {
      PrefetchForWrite(weights + ahead.position());
      ahead.Next();
    }
    weights[cursor.position()] = values[cursor.entry()];
  }
}

// Visits the entries of both tables in ascending order of position; an entry of both once, with
// both set.
template <typename OnlyFrom, typename InTo>
void MergeRows(const IndexTable& from, const IndexTable& to, int64_t row_begin, int64_t row_end,
               OnlyFrom only_from, InTo in_to) {
  EntryCursor f(from, row_begin, row_end);
  EntryCursor t(to, row_begin, row_end);
  while (!f.done() || !t.done()) {
    if (t.done() || (!f.done() && f.position() < t.position())) {
      only_from(f.position(), f.entry());
      f.Next();
      continue;
    }
    const bool in_both = !f.done() && f.position() == t.position();
    in_to(t.position(), t.entry(), in_both, f.entry());
    if (in_both) f.Next();
    t.Next();
  }
}

// One parameter's part of a transition. At least one side is set.
struct TransitionStep {
  const ResidentParameter* parameter;
  const CompiledParameter*
      restore;                     // state that loses its entries here; nullptr: nothing to restore
  const CompiledParameter* write;  // state that gains its entries here; nullptr: the base

  int64_t rows() const { return parameter->rows; }
  // Entries in rows before `row`: ascending, so that a range of entries is a range of rows.
  int64_t EntriesBefore(int64_t row) const {
    return (restore != nullptr ? restore->table->row_offsets()[row] : 0) +
           (write != nullptr ? write->table->row_offsets()[row] : 0);
  }
  int64_t entries() const { return EntriesBefore(rows()); }
  // The first row that has at least `entries` entries before it.
  int64_t RowAt(int64_t entries) const {
    int64_t low = 0;
    int64_t high = rows();
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      if (EntriesBefore(middle) < entries) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }
};

void ForEachStep(const ParameterMap& parameters, const CompiledState& from, const CompiledState& to,
                 absl::FunctionRef<void(const TransitionStep&)> visit) {
  auto f = from.parameters.begin();
  auto t = to.parameters.begin();
  while (f != from.parameters.end() || t != to.parameters.end()) {
    const bool use_from =
        t == to.parameters.end() || (f != from.parameters.end() && f->parameter <= t->parameter);
    const bool use_to =
        f == from.parameters.end() || (t != to.parameters.end() && t->parameter <= f->parameter);
    TransitionStep step{&parameters.parameters()[use_from ? f->parameter : t->parameter],
                        use_from ? &*f : nullptr, use_to ? &*t : nullptr};
    // Equal tables: every entry is overwritten, nothing is left to restore.
    if (use_from && use_to && f->table->digest() == t->table->digest()) step.restore = nullptr;
    visit(step);
    if (use_from) ++f;
    if (use_to) ++t;
  }
}

template <typename T>
int64_t WriteRows(const TransitionStep& step, int64_t row_begin, int64_t row_end) {
  T* weights = reinterpret_cast<T*>(step.parameter->data);
  if (step.restore == nullptr || step.write == nullptr) {
    const bool restoring = step.write == nullptr;
    const CompiledParameter& side = restoring ? *step.restore : *step.write;
    const ElementBuffer& values = restoring ? *side.originals : side.fused;
    ScatterRows(weights, *side.table, reinterpret_cast<const T*>(values.data()), row_begin,
                row_end);
    return side.table->row_offsets()[row_end] - side.table->row_offsets()[row_begin];
  }
  const T* originals = reinterpret_cast<const T*>(step.restore->originals->data());
  const T* fused = reinterpret_cast<const T*>(step.write->fused.data());
  int64_t written = 0;
  MergeRows(
      *step.restore->table, *step.write->table, row_begin, row_end,
      [&](int64_t position, uint32_t entry) {
        weights[position] = originals[entry];
        ++written;
      },
      [&](int64_t position, uint32_t entry, bool, uint32_t) {
        weights[position] = fused[entry];
        ++written;
      });
  return written;
}

}  // namespace

void Gather(const std::byte* weights, size_t element_bytes, const IndexTable& table,
            std::byte* out) {
  WithElementType(element_bytes, [&](auto type) {
    using T = decltype(type);
    const T* from = reinterpret_cast<const T*>(weights);
    T* to = reinterpret_cast<T*>(out);
    table.ForEach([&](uint32_t entry, int64_t position) { to[entry] = from[position]; });
  });
}

void Scatter(std::byte* weights, size_t element_bytes, const IndexTable& table,
             const std::byte* values) {
  WithElementType(element_bytes, [&](auto type) {
    using T = decltype(type);
    ScatterRows(reinterpret_cast<T*>(weights), table, reinterpret_cast<const T*>(values), 0,
                table.rows());
  });
}

void CopyCommon(const IndexTable& from, const std::byte* from_buffer, const IndexTable& to,
                std::byte* to_buffer, size_t element_bytes) {
  MergeRows(
      from, to, 0, to.rows(), [](int64_t, uint32_t) {},
      [&](int64_t, uint32_t to_entry, bool in_both, uint32_t from_entry) {
        if (!in_both) return;
        std::memcpy(to_buffer + to_entry * element_bytes, from_buffer + from_entry * element_bytes,
                    element_bytes);
      });
}

int64_t WriteTransition(const ParameterMap& parameters, const CompiledState& from,
                        const CompiledState& to, const ParallelFor& parallel_for) {
  int64_t total = 0;
  ForEachStep(parameters, from, to, [&](const TransitionStep& step) { total += step.entries(); });
  std::atomic<int64_t> written = 0;
  parallel_for(total, [&](int64_t begin, int64_t end) {
    int64_t first = 0;  // entries in the steps before this one
    int64_t written_here = 0;
    ForEachStep(parameters, from, to, [&](const TransitionStep& step) {
      const int64_t last = first + step.entries();
      if (first < end && begin < last) {
        // A row belongs to the piece that its first entry is in.
        const int64_t row_begin = begin <= first ? 0 : step.RowAt(begin - first);
        const int64_t row_end = end >= last ? step.rows() : step.RowAt(end - first);
        if (row_begin < row_end) {
          written_here += WithElementType(parameters.element_bytes(), [&](auto type) {
            return WriteRows<decltype(type)>(step, row_begin, row_end);
          });
        }
      }
      first = last;
    });
    written.fetch_add(written_here, std::memory_order_relaxed);
  });
  return written.load();
}

}  // namespace shira
