// File: server/descriptor_limit.h
//
// How many connections the process has file descriptors for.

#ifndef SHIRA_SERVER_DESCRIPTOR_LIMIT_H_
#define SHIRA_SERVER_DESCRIPTOR_LIMIT_H_

#include <cstdint>

namespace shira {

// A quarter of the descriptors stays for files and everything else.
int64_t DescriptorsFor(int64_t connections);
int64_t ConnectionsFor(int64_t descriptors);

// Raises the limit of this process to at least `wanted`, or as far as the system permits, and
// returns what it is then.
int64_t RaiseDescriptorLimit(int64_t wanted);

}  // namespace shira

#endif  // SHIRA_SERVER_DESCRIPTOR_LIMIT_H_
