#include "server/residency/memory_charge.h"

#include <utility>

#include "absl/container/flat_hash_set.h"

namespace shira {
namespace {

class PartsBuilder {
 public:
  explicit PartsBuilder(int64_t own_bytes) { parts_.own_bytes = own_bytes; }

  void Add(std::shared_ptr<const void> object, int64_t bytes) {
    if (seen_.insert(object.get()).second) parts_.shared.push_back({std::move(object), bytes});
  }

  MemoryParts Finish() { return std::move(parts_); }

 private:
  MemoryParts parts_;
  absl::flat_hash_set<const void*> seen_;
};

}  // namespace

int64_t MemoryParts::full_bytes() const {
  int64_t bytes = own_bytes;
  for (const Shared& part : shared) bytes += part.bytes;
  return bytes;
}

MemoryParts PartsOf(const SparseAdapter& adapter) {
  int64_t own = adapter.memory_bytes();
  for (const ParameterDelta& delta : adapter.deltas) own -= delta.table->memory_bytes();
  PartsBuilder parts(own);
  for (const ParameterDelta& delta : adapter.deltas) {
    parts.Add(delta.table, delta.table->memory_bytes());
  }
  return parts.Finish();
}

MemoryParts PartsOf(const CompiledState& state) {
  int64_t own = state.memory_bytes();
  for (const CompiledParameter& parameter : state.parameters) {
    own -= parameter.table->memory_bytes() + static_cast<int64_t>(parameter.originals->size());
  }
  PartsBuilder parts(own);
  for (const CompiledParameter& parameter : state.parameters) {
    parts.Add(parameter.table, parameter.table->memory_bytes());
    parts.Add(parameter.originals, static_cast<int64_t>(parameter.originals->size()));
  }
  return parts.Finish();
}

MemoryCharge MemoryLedger::Charge(const MemoryParts& parts, MemoryBudget::Reservation own) {
  MemoryCharge charge;
  charge.shared.reserve(parts.shared.size());
  for (const MemoryParts::Shared& part : parts.shared) {
    const void* address = part.object.get();
    std::shared_ptr<const MemoryCharge::SharedPart> charged = shared_.Find(address);
    if (charged == nullptr) {
      charged = shared_.Intern(
          address, std::make_shared<const MemoryCharge::SharedPart>(
                       MemoryCharge::SharedPart{budget_->Count(part.bytes), part.object}));
    }
    charge.shared.push_back(std::move(charged));
  }
  own.Resize(parts.own_bytes);
  charge.own = std::move(own);
  return charge;
}

int64_t MemoryLedger::UnchargedBytes(const MemoryParts& parts) const {
  int64_t bytes = parts.own_bytes;
  for (const MemoryParts::Shared& part : parts.shared) {
    if (shared_.Find(part.object.get()) == nullptr) bytes += part.bytes;
  }
  return bytes;
}

int64_t MemoryLedger::shared_bytes() const {
  int64_t bytes = 0;
  shared_.ForEach([&](const MemoryCharge::SharedPart& part) { bytes += part.reservation.bytes(); });
  return bytes;
}

}  // namespace shira
