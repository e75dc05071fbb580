#include "adapters/switch/scatter.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "absl/base/attributes.h"
#include "absl/functional/function_ref.h"

namespace shira {
namespace {

// Elements are moved, never computed with: an unsigned integer of their size stands for each dtype.
template <typename Function>
auto WithElementType(size_t element_bytes, Function function) {
  if (element_bytes == 2) return function(uint16_t{});
  return function(uint32_t{});
}

// The entries of one block of a table, and the values that belong to them.
template <typename T, typename Offset>
struct BlockEntries {
  const Offset* offsets;  // [size], ascending, from the block's first element
  const T* values;        // [size]
  uint32_t size;
  uint32_t readable;  // offsets: those of the blocks behind it come next
};

// Iterates the blocks of a table as BlockEntries.
template <typename T, typename Offset>
class BlockReader {
 public:
  BlockReader(const IndexTable& table, absl::Span<const Offset> offsets, const std::byte* values)
      : blocks_(table.block_offsets().data()),
        entries_(static_cast<uint32_t>(offsets.size())),
        offsets_(offsets.data()),
        values_(reinterpret_cast<const T*>(values)) {}

  BlockEntries<T, Offset> operator[](int64_t block) const {
    const uint32_t begin = blocks_[block];
    return {offsets_ + begin, values_ + begin, blocks_[block + 1] - begin, entries_ - begin};
  }

 private:
  const uint32_t* blocks_;
  const uint32_t entries_;
  const Offset* offsets_;
  const T* values_;
};

// As many lines as memory's latency takes at its bandwidth; 16 to 32 are equally good.
constexpr uint32_t kPrefetchAhead = 32;

// Asks for the cache line of the element that is written kPrefetchAhead entries after `entry`, in
// this block or in the one behind it, which begins `stride` elements later (in a block of few
// entries it can be a line that is not needed). Entries are so far apart that nearly every one is a
// miss and that the hardware's own prefetchers help little; as many as this are on their way at a
// time. Inlined by force: GCC takes a function that only prefetches for one without effects, and
// drops its calls.
template <typename T, typename Offset>
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void PrefetchAhead(const T* elements, int64_t stride,
                                                       const BlockEntries<T, Offset>& entries,
                                                       uint32_t entry) {
  const uint32_t ahead = std::min(entry + kPrefetchAhead, entries.readable - 1);
  const T* block = ahead < entries.size ? elements : elements + stride;
  __builtin_prefetch(block + entries.offsets[ahead], /*rw=*/1, /*locality=*/3);
}

template <typename T, typename Offset>
void WriteBlock(T* elements, int64_t stride, const BlockEntries<T, Offset>& entries) {
  for (uint32_t i = 0; i < entries.size; ++i) {
    PrefetchAhead(elements, stride, entries, i);
    elements[entries.offsets[i]] = entries.values[i];
  }
}

// `a` if `condition` is 1, `b` if it is 0. Arithmetic: a compiler may make a branch of ?:.
template <typename T>
T Select(uint32_t condition, T a, T b) {
  return static_cast<T>(b ^ ((a ^ b) & -condition));
}

// Writes every entry of `write`, and the entries of `restore` that are not in it; each element
// once. Returns how many. Which of the two is next is a coin toss that no branch predictor learns,
// so there is none.
template <typename T, typename Offset>
int64_t WriteMergedBlock(T* elements, int64_t stride, const BlockEntries<T, Offset> restore,
                         const BlockEntries<T, Offset> write) {
  uint32_t r = 0;
  uint32_t w = 0;
  int64_t written = 0;
  while (r < restore.size && w < write.size) {
    PrefetchAhead(elements, stride, restore, r);
    PrefetchAhead(elements, stride, write, w);
    const Offset restored = restore.offsets[r];
    const Offset wanted = write.offsets[w];
    const uint32_t is_restored = restored < wanted;
    elements[Select(is_restored, restored, wanted)] =
        Select(is_restored, restore.values[r], write.values[w]);
    r += restored <= wanted;
    w += wanted <= restored;
    ++written;
  }
  written += (restore.size - r) + (write.size - w);
  for (; r < restore.size; ++r) elements[restore.offsets[r]] = restore.values[r];
  for (; w < write.size; ++w) elements[write.offsets[w]] = write.values[w];
  return written;
}

// One parameter's part of a transition. At least one side is set.
struct TransitionStep {
  std::byte* weights;  // the parameter's
  const CompiledParameter*
      restore;                     // state that loses its entries here; nullptr: nothing to restore
  const CompiledParameter* write;  // state that gains its entries here; nullptr: the base

  // Tables of equal shape have the same blocks.
  int64_t blocks() const { return (write != nullptr ? write : restore)->table->blocks(); }
  // Entries in blocks before `block`: ascending, so that a range of entries is a range of blocks.
  int64_t EntriesBefore(int64_t block) const {
    return (restore != nullptr ? restore->table->block_offsets()[block] : 0) +
           (write != nullptr ? write->table->block_offsets()[block] : 0);
  }
  int64_t entries() const { return EntriesBefore(blocks()); }
  // The first block that has at least `entries` entries before it.
  int64_t BlockAt(int64_t entries) const {
    int64_t low = 0;
    int64_t high = blocks();
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

void ForEachStep(absl::Span<std::byte* const> weights, const CompiledState& from,
                 const CompiledState& to, absl::FunctionRef<void(const TransitionStep&)> visit) {
  auto f = from.parameters.begin();
  auto t = to.parameters.begin();
  while (f != from.parameters.end() || t != to.parameters.end()) {
    const bool use_from =
        t == to.parameters.end() || (f != from.parameters.end() && f->parameter <= t->parameter);
    const bool use_to =
        f == from.parameters.end() || (t != to.parameters.end() && t->parameter <= f->parameter);
    TransitionStep step{weights[use_from ? f->parameter : t->parameter], use_from ? &*f : nullptr,
                        use_to ? &*t : nullptr};
    // Equal tables: every entry is overwritten, nothing is left to restore.
    if (use_from && use_to && f->table->digest() == t->table->digest()) step.restore = nullptr;
    visit(step);
    if (use_from) ++f;
    if (use_to) ++t;
  }
}

// One side of a step: all entries of a range of blocks.
template <typename T>
int64_t WriteBlocks(T* weights, const IndexTable& table, const std::byte* values, int64_t begin,
                    int64_t end) {
  return table.WithOffsets([&](auto offsets) -> int64_t {
    using Offset = typename decltype(offsets)::value_type;
    const BlockReader<T, Offset> blocks(table, offsets, values);
    const int64_t stride = table.block_elements();
    for (int64_t block = begin; block < end; ++block) {
      WriteBlock(weights + block * stride, stride, blocks[block]);
    }
    return table.block_offsets()[end] - table.block_offsets()[begin];
  });
}

// Both sides, in one pass over the weights.
template <typename T>
int64_t WriteMergedBlocks(T* weights, const CompiledParameter& restore,
                          const CompiledParameter& write, int64_t begin, int64_t end) {
  return write.table->WithOffsets([&](auto offsets) {
    using Offset = typename decltype(offsets)::value_type;
    const BlockReader<T, Offset> written(*write.table, offsets, write.fused.data());
    const BlockReader<T, Offset> restored(*restore.table, restore.table->template offsets<Offset>(),
                                          restore.originals->data());
    const int64_t stride = write.table->block_elements();
    int64_t count = 0;
    for (int64_t block = begin; block < end; ++block) {
      count += WriteMergedBlock(weights + block * stride, stride, restored[block], written[block]);
    }
    return count;
  });
}

template <typename T>
int64_t WriteStep(const TransitionStep& step, int64_t begin, int64_t end) {
  T* weights = reinterpret_cast<T*>(step.weights);
  if (step.restore == nullptr) {
    return WriteBlocks(weights, *step.write->table, step.write->fused.data(), begin, end);
  }
  if (step.write == nullptr) {
    return WriteBlocks(weights, *step.restore->table, step.restore->originals->data(), begin, end);
  }
  return WriteMergedBlocks(weights, *step.restore, *step.write, begin, end);
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

void CopyCommon(const IndexTable& from, const std::byte* from_buffer, const IndexTable& to,
                std::byte* to_buffer, size_t element_bytes) {
  to.WithOffsets([&](auto to_offsets) {
    const auto from_offsets = from.template offsets<typename decltype(to_offsets)::value_type>();
    for (int64_t block = 0; block < to.blocks(); ++block) {
      uint32_t f = from.block_offsets()[block];
      const uint32_t from_end = from.block_offsets()[block + 1];
      for (uint32_t t = to.block_offsets()[block]; t < to.block_offsets()[block + 1]; ++t) {
        while (f < from_end && from_offsets[f] < to_offsets[t]) ++f;
        if (f == from_end) break;
        if (from_offsets[f] != to_offsets[t]) continue;
        std::memcpy(to_buffer + t * element_bytes, from_buffer + f * element_bytes, element_bytes);
      }
    }
  });
}

int64_t WriteTransition(absl::Span<std::byte* const> weights, size_t element_bytes,
                        const CompiledState& from, const CompiledState& to,
                        const ParallelFor& parallel_for) {
  int64_t total = 0;
  ForEachStep(weights, from, to, [&](const TransitionStep& step) { total += step.entries(); });
  std::atomic<int64_t> written = 0;
  parallel_for(total, [&](int64_t begin, int64_t end) {
    int64_t first = 0;  // entries in the steps before this one
    int64_t written_here = 0;
    ForEachStep(weights, from, to, [&](const TransitionStep& step) {
      const int64_t last = first + step.entries();
      if (first < end && begin < last) {
        // A block belongs to the piece that its first entry is in.
        const int64_t block_begin = begin <= first ? 0 : step.BlockAt(begin - first);
        const int64_t block_end = end >= last ? step.blocks() : step.BlockAt(end - first);
        if (block_begin < block_end) {
          written_here += WithElementType(element_bytes, [&](auto type) {
            return WriteStep<decltype(type)>(step, block_begin, block_end);
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
