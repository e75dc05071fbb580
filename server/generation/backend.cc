#include "server/generation/backend.h"

#include "server/generation/error_details.h"

namespace shira {

absl::StatusOr<const Backend*> BackendGate::Enter() const {
  switch (state_.load()) {
    case State::kOpen:
      return backend_.load();
    case State::kLoading:
      return WithReason(absl::UnavailableError("the model is loading: try again soon"),
                        "MODEL_LOADING");
    case State::kClosed:
      break;
  }
  return WithReason(absl::UnavailableError("the server drains: try another replica"),
                    "SERVER_DRAINING");
}

}  // namespace shira
