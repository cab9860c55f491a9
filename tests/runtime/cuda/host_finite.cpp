#include "host_platform.h"

#include <vector>

#include "finite.cu"

#define HOST_FINITE(name, Bits, EXPONENT)                                                      \
  extern "C" void name(const void* values, int* counts, int size, int images) {                \
    each_block(images, 1, 1, [=] {                                                             \
      std::vector<int> shared(THREADS, 1 << 20);                                               \
      count_broken<Bits, EXPONENT>(static_cast<const Bits*>(values), counts, size, &shared[0]); \
    });                                                                                        \
  }

HOST_FINITE(count_broken_float32, unsigned int, 0x7f800000u)
HOST_FINITE(count_broken_float16, unsigned short, 0x7c00u)
