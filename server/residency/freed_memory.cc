#include "server/residency/freed_memory.h"

#include <malloc.h>

namespace shira {

void ReturnFreedMemory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

}  // namespace shira
