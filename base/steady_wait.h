// File: base/steady_wait.h
//
// Waiting on an absl::Mutex with a time limit. absl's own waits with a limit go by the wall clock:
// set back by hours, they take hours longer.
//
//   absl::MutexLock lock(&mutex_);
//   if (!AwaitUntil(mutex_, absl::Condition(&done_), SteadyNow() + timeout)) return TooLate();

#ifndef SHIRA_BASE_STEADY_WAIT_H_
#define SHIRA_BASE_STEADY_WAIT_H_

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/steady_clock.h"

namespace shira {

// Waits until the condition holds or SteadyNow() reaches `deadline`; whether it holds. As with
// Mutex::AwaitWithTimeout(), others may have the mutex meanwhile, and `condition` is looked at with
// it held. The first call that has to wait starts a thread of the process.
bool AwaitUntil(absl::Mutex& mutex, const absl::Condition& condition, SteadyTime deadline)
    ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);

}  // namespace shira

#endif  // SHIRA_BASE_STEADY_WAIT_H_
