#include "server/engine/request_queue.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/strings.h"

namespace shira {

absl::Status RequestQueue::CheckRoom() const {
  if (size() < capacity_) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      StrCat("the queue is full: ", size(), " generations wait; try again later"));
}

void RequestQueue::Push(std::unique_ptr<Sequence> sequence) {
  sequences_.push_back(std::move(sequence));
}

std::vector<SequenceView> RequestQueue::Views(SteadyTime now) const {
  std::vector<SequenceView> views;
  views.reserve(sequences_.size());
  for (const auto& sequence : sequences_) views.push_back(sequence->View(now));
  return views;
}

void RequestQueue::ForEach(absl::FunctionRef<void(const Sequence&)> visit) const {
  for (const auto& sequence : sequences_) visit(*sequence);
}

RequestQueue::Sequences::const_iterator RequestQueue::Position(SequenceId id) const {
  return std::find_if(sequences_.begin(), sequences_.end(),
                      [&](const auto& sequence) { return sequence->id() == id; });
}

Sequence* RequestQueue::Find(SequenceId id) const {
  const auto it = Position(id);
  return it == sequences_.end() ? nullptr : it->get();
}

std::unique_ptr<Sequence> RequestQueue::Take(SequenceId id) {
  const auto position = Position(id);
  if (position == sequences_.end()) return nullptr;
  const auto it = sequences_.begin() + std::distance(sequences_.cbegin(), position);
  std::unique_ptr<Sequence> taken = std::move(*it);
  sequences_.erase(it);
  return taken;
}

std::vector<std::unique_ptr<Sequence>> RequestQueue::TakeIf(
    absl::FunctionRef<bool(const Sequence&)> matches) {
  const auto first_taken =
      std::stable_partition(sequences_.begin(), sequences_.end(),
                            [&](const auto& sequence) { return !matches(*sequence); });
  std::vector<std::unique_ptr<Sequence>> taken(std::make_move_iterator(first_taken),
                                               std::make_move_iterator(sequences_.end()));
  sequences_.erase(first_taken, sequences_.end());
  return taken;
}

}  // namespace shira
