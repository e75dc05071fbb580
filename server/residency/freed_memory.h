// File: server/residency/freed_memory.h

#ifndef SHIRA_SERVER_RESIDENCY_FREED_MEMORY_H_
#define SHIRA_SERVER_RESIDENCY_FREED_MEMORY_H_

namespace shira {

// Gives memory that was freed back to the system. An adapter is many buffers of a few KB, and what
// is read of its file some of MBs, all of which the allocator keeps for itself when they are freed,
// in an arena for each thread that ever needed some. Takes a few ms; other threads wait for it at
// most where they allocate.
void ReturnFreedMemory();

}  // namespace shira

#endif  // SHIRA_SERVER_RESIDENCY_FREED_MEMORY_H_
