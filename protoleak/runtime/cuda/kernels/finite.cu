// counts[n] = how many values of image n are NaN or infinite. z0 stays on the GPU, and a network may turn a NaN into a
// number (max(NaN, 0) is 0 there), so that its outputs alone don't show whether they are evidence.
#include "platform.cuh"

#define THREADS 256

// Grid: one block per image. `values` are the bits of `size` floats per image; those whose exponent is all ones are no
// numbers. Shared memory: THREADS ints.
template <typename Bits, Bits EXPONENT>
__device__ __forceinline__ void count_broken(const Bits* values, int* counts, int size, int* shared) {
  const Bits* image = values + static_cast<long long>(blockIdx.x) * size;
  EACH_THREAD {
    int broken = 0;
#pragma unroll 4
    for (int at = thread; at < size; at += THREADS) broken += (__ldg(image + at) & EXPONENT) == EXPONENT;
    shared[thread] = broken;
  }
  __syncthreads();
  EACH_THREAD {
    if (thread == 0) {
      int broken = 0;
#pragma unroll 4
      for (int from = 0; from < THREADS; ++from) broken += shared[from];
      counts[blockIdx.x] = broken;
    }
  }
}

#ifdef __CUDACC__
#define FINITE_KERNEL(name, Bits, EXPONENT)                                                              \
  extern "C" __global__ void __launch_bounds__(THREADS, 4)                                               \
      name(const Bits* __restrict__ values, int* __restrict__ counts, int size) {                        \
    extern __shared__ int shared[];                                                                      \
    count_broken<Bits, EXPONENT>(values, counts, size, shared);                                          \
  }

FINITE_KERNEL(count_broken_float32, unsigned int, 0x7f800000u)
FINITE_KERNEL(count_broken_float16, unsigned short, 0x7c00u)
#endif
