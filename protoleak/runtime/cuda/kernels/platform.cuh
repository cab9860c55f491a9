// What the kernels need of the platform. With NVRTC it stands below; a C++ compiler for the host is given
// tests/cuda/host_platform.h in its place, so that the same kernels run, and are checked, without a GPU.
//
// A kernel is written as phases: EACH_THREAD { … } is one phase, __syncthreads() stands between two. On the GPU
// EACH_THREAD is what the one thread does; on the host it is a loop over the threads of the block. So nothing that a
// thread computed may live in a local variable from one phase to the next: it goes through shared memory.
//
// No CUDA header is included: the compiler then needs no include path, which a plain install of NVRTC doesn't give.
#pragma once

#ifdef __CUDACC__

#define EACH_THREAD if (const int thread = static_cast<int>(threadIdx.x); true)

// Halves travel as their 16 bits.
__device__ __forceinline__ unsigned short to_half(float value) {
  unsigned short bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}

__device__ __forceinline__ float from_half(unsigned short bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}

#endif
