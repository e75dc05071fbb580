// File: tools/threads.h
//
// Loops on every core, for a program that has no thread pool.

#ifndef SHIRA_TOOLS_THREADS_H_
#define SHIRA_TOOLS_THREADS_H_

#include "base/parallel.h"

namespace shira::tools {

// Splits the range evenly over as many threads as there are cores. For bodies that take
// milliseconds: threads are started for each loop.
ParallelFor ThreadsFor();

}  // namespace shira::tools

#endif  // SHIRA_TOOLS_THREADS_H_
