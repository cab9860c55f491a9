// Stands in for what NVRTC gives the kernels, so that a C++ compiler builds the same source for the host. Included
// before the kernels. Blocks and threads run one after another; each phase in the order that `reverse` says, so that a
// test can see whether a phase depends on the order of its threads, which on a GPU nobody promises.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#define __device__
#define __forceinline__ inline

struct Index {
  unsigned int x, y, z;
};

static Index blockIdx, gridDim;
static int reverse = 0;
static int misaligned_loads = 0;

#define EACH_THREAD \
  for (int turn = 0, thread = reverse ? THREADS - 1 : 0; turn < THREADS; ++turn, thread += reverse ? -1 : 1)

inline void __syncthreads() {}

struct alignas(16) float4 {
  float x, y, z, w;
};

struct alignas(16) uint4 {
  unsigned int x, y, z, w;
};

inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint4 make_uint4(unsigned int x, unsigned int y, unsigned int z, unsigned int w) { return {x, y, z, w}; }

// A GPU faults at an unaligned vector access; a processor doesn't, so it is counted.
template <typename T>
T __ldg(const T* from) {
  misaligned_loads += reinterpret_cast<std::uintptr_t>(from) % alignof(T) != 0;
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

// IEEE 754 binary16, rounding to nearest even, as cvt.rn.f16.f32 does.
inline unsigned short to_half(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, 4);
  const std::uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<unsigned short>(sign | 0x7fffu);
  if (magnitude >= 0x477ff000u) return static_cast<unsigned short>(sign | 0x7c00u);
  if (magnitude < 0x38800000u) {  // subnormal: units of 2^-24; nearbyint rounds to even
    float positive;
    std::memcpy(&positive, &magnitude, 4);
    return static_cast<unsigned short>(sign | static_cast<std::uint32_t>(std::nearbyint(positive * 16777216.0f)));
  }
  const std::uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
  return static_cast<unsigned short>(sign | (rounded - 0x38000000u) >> 13);
}

inline float from_half(unsigned short bits) {
  const float sign = bits & 0x8000u ? -1.0f : 1.0f;
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  if (exponent == 31) return mantissa ? NAN : sign * INFINITY;
  return sign * (exponent ? std::ldexp(1024.0f + mantissa, exponent - 25) : std::ldexp(1.0f * mantissa, -24));
}

template <typename Block>
void each_block(unsigned int x, unsigned int y, unsigned int z, Block block) {
  gridDim = {x, y, z};
  for (unsigned int k = 0; k < z; ++k) {
    for (unsigned int j = 0; j < y; ++j) {
      for (unsigned int i = 0; i < x; ++i) {
        blockIdx = {i, j, k};
        block();
      }
    }
  }
}

extern "C" void set_reverse(int value) { reverse = value; }
extern "C" int count_misaligned_loads() { return misaligned_loads; }
