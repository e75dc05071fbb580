#include "server/engine/admission_policy.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <queue>
#include <tuple>
#include <utility>

namespace shira {
namespace {

int64_t LevelOf(const SequenceView& sequence, absl::Duration waited,
                const AdmissionLimits& limits) {
  absl::Duration rest;
  return sequence.priority + absl::IDivDuration(waited, limits.aging, &rest);
}

constexpr int64_t kMaxNotYet = 128;

// One client's requests, in the order in which it gets its turns.
class Line {
 public:
  explicit Line(const ClientShare& share) : share_(share) {}

  void Add(const SequenceView& sequence, size_t arrival) {
    waiting_.push_back({&sequence, arrival});
  }

  void Sort(const AdmissionLimits& limits) {
    const auto rank = [&](const Waiting& waiting) {
      const SequenceView& view = *waiting.sequence;
      return std::tuple(-LevelOf(view, view.queued, limits), view.time_left, waiting.arrival);
    };
    std::sort(waiting_.begin(), waiting_.end(),
              [&](const Waiting& a, const Waiting& b) { return rank(a) < rank(b); });
  }

  bool empty() const { return next_ == waiting_.size(); }

  // The line with the lowest is served next. REQUIRES: !empty().
  using Rank = std::tuple<int64_t, int64_t, int64_t, size_t>;
  Rank NextRank(const AdmissionLimits& limits) const {
    const Waiting& next = waiting_[next_];
    const absl::Duration unserved = std::min(next.sequence->queued, share_.unserved);
    return {-LevelOf(*next.sequence, unserved, limits), share_.rows, share_.last_turn,
            next.arrival};
  }

  // `turn`: how many had been served before.
  const SequenceView& Serve(int64_t turn) {
    const SequenceView& served = *waiting_[next_++].sequence;
    share_ = {
        .rows = share_.rows + served.rows, .last_turn = turn, .unserved = absl::ZeroDuration()};
    return served;
  }

 private:
  struct Waiting {
    const SequenceView* sequence;
    size_t arrival;
  };
  ClientShare share_;
  std::vector<Waiting> waiting_;
  size_t next_ = 0;
};

}  // namespace

std::vector<SequenceView> AdmissionOrder(const AdmissionSnapshot& snapshot,
                                         const AdmissionLimits& limits) {
  std::vector<Line> lines;
  absl::flat_hash_map<std::string_view, size_t> places;
  for (size_t i = 0; i < snapshot.queued.size(); ++i) {
    const SequenceView& view = snapshot.queued[i];
    const auto [place, is_new] = places.try_emplace(view.client, lines.size());
    if (is_new) {
      const auto share = snapshot.clients.find(view.client);
      lines.emplace_back(share == snapshot.clients.end() ? ClientShare() : share->second);
    }
    lines[place->second].Add(view, i);
  }

  using Entry = std::pair<Line::Rank, size_t>;  // of lines
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> next;
  for (size_t i = 0; i < lines.size(); ++i) {
    lines[i].Sort(limits);
    next.emplace(lines[i].NextRank(limits), i);
  }
  // Later than every turn of the snapshot.
  int64_t turn = std::numeric_limits<int64_t>::max() - static_cast<int64_t>(snapshot.queued.size());
  std::vector<SequenceView> order;
  order.reserve(snapshot.queued.size());
  while (!next.empty()) {
    const size_t place = next.top().second;
    next.pop();
    order.push_back(lines[place].Serve(turn++));
    if (!lines[place].empty()) next.emplace(lines[place].NextRank(limits), place);
  }
  return order;
}

Admissions PlanAdmissions(const AdmissionSnapshot& snapshot, const AdmissionLimits& limits,
                          absl::FunctionRef<Room(SequenceId)> reserve) {
  Admissions result;
  int64_t room = limits.max_rows - snapshot.running_rows;
  if (room <= 0) return result;
  int64_t not_yet = 0;
  std::vector<SequenceId> waiting;         // there was no room for them
  int64_t patience = limits.max_bypassed;  // how often all of them may still be passed
  for (const SequenceView& sequence : AdmissionOrder(snapshot, limits)) {
    if (room == 0 || (!waiting.empty() && patience <= 0)) break;
    const Room taken = sequence.rows <= room ? reserve(sequence.id) : Room::kNone;
    if (taken == Room::kTaken) {
      room -= sequence.rows;
      result.admitted.push_back(sequence.id);
      result.bypassed.insert(result.bypassed.end(), waiting.begin(), waiting.end());
      patience -= waiting.empty() ? 0 : 1;
      continue;
    }
    // Where so many find no room, asking the rest is a waste of the time between two steps.
    if (taken == Room::kNotYet) {
      if (++not_yet > kMaxNotYet) break;
      continue;
    }
    waiting.push_back(sequence.id);
    patience = std::min(patience, limits.max_bypassed - sequence.bypassed);
    if (static_cast<int64_t>(waiting.size()) > limits.max_bypassed) break;
  }
  return result;
}

}  // namespace shira
