// z_t[n,t] = latent_factor[t]·z0[n] + noise_term[t] for all timesteps at once, with the low-frequency half of z0
// behind it: the same mathematics as protoleak/runtime/noising.py, where it is documented.
//
// One block reads one plane of z0 once, projects it in shared memory and writes it for every timestep. The noise term
// is the same for the whole batch, so it comes from the read-only cache. Compiled without contraction to fused
// multiply-add: the first half of the channels is then equal to NumPy's result to the last bit.
#include "platform.cuh"

#define THREADS 256

// V values from global memory, 16 bytes at a time where V is more than 1.
template <int V>
__device__ __forceinline__ void load(const float* from, float (&values)[V]) {
  if constexpr (V == 1) {
    values[0] = __ldg(from);
  } else {
#pragma unroll
    for (int i = 0; i < V; i += 4) {
      const float4 four = __ldg(reinterpret_cast<const float4*>(from + i));
      values[i] = four.x, values[i + 1] = four.y, values[i + 2] = four.z, values[i + 3] = four.w;
    }
  }
}

template <int V>
__device__ __forceinline__ void load(const unsigned short* from, float (&values)[V]) {
  if constexpr (V == 1) {
    values[0] = from_half(__ldg(from));
  } else {
#pragma unroll
    for (int i = 0; i < V; i += 8) {
      const uint4 eight = __ldg(reinterpret_cast<const uint4*>(from + i));
      const unsigned int words[4] = {eight.x, eight.y, eight.z, eight.w};
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        values[i + j] = from_half(static_cast<unsigned short>(words[j / 2] >> (j % 2 * 16)));
      }
    }
  }
}

// V values from shared memory, so that neighbouring threads don't wait for the same bank.
template <int V>
__device__ __forceinline__ void load_shared(const float* from, float (&values)[V]) {
  if constexpr (V == 1) {
    values[0] = *from;
  } else {
#pragma unroll
    for (int i = 0; i < V; i += 4) {
      const float4 four = *reinterpret_cast<const float4*>(from + i);
      values[i] = four.x, values[i + 1] = four.y, values[i + 2] = four.z, values[i + 3] = four.w;
    }
  }
}

template <int V>
__device__ __forceinline__ void store(float* to, const float (&values)[V]) {
  if constexpr (V == 1) {
    *to = values[0];
  } else {
#pragma unroll
    for (int i = 0; i < V; i += 4) {
      *reinterpret_cast<float4*>(to + i) = make_float4(values[i], values[i + 1], values[i + 2], values[i + 3]);
    }
  }
}

template <int V>
__device__ __forceinline__ void store(unsigned short* to, const float (&values)[V]) {
  if constexpr (V == 1) {
    *to = to_half(values[0]);
  } else {
#pragma unroll
    for (int i = 0; i < V; i += 8) {
      unsigned int words[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        words[j] = to_half(values[i + 2 * j]) | static_cast<unsigned int>(to_half(values[i + 2 * j + 1])) << 16;
      }
      *reinterpret_cast<uint4*>(to + i) = make_uint4(words[0], words[1], words[2], words[3]);
    }
  }
}

// One image plane's values of every timestep: factor·value + noise, to the plane of the same place in z_t.
template <typename Out, int V>
__device__ __forceinline__ void write_timesteps(const float (&values)[V], const float* noise, const float* factor,
                                                Out* z_t, int timesteps, long long timestep_stride) {
#pragma unroll 1
  for (int t = 0; t < timesteps; ++t) {
    const float scale = __ldg(factor + t);
    float noised[V];
    load(noise + t * timestep_stride, noised);
#pragma unroll
    for (int v = 0; v < V; ++v) noised[v] = values[v] * scale + noised[v];
    store(z_t + t * timestep_stride, noised);
  }
}

// z0 [N,C,h,w] → z_t [N,T,C',h,w]. V divides w. Grid: (N·C, blocks per plane); blocks per plane is ⌈h·w / (V·THREADS)⌉,
// or 1 where there is a low-frequency half (components > 0). Shared memory then: (h·w + 2·components·w) floats.
// noise_term [T,C',h,w]; basis [h,components] with P_h = basis·basisᵀ; projection [w,w] = P_wᵀ.
template <typename In, typename Out, int V>
__device__ __forceinline__ void noise_plane(const In* z0, const float* noise_term, const float* factor,
                                            const float* basis, const float* projection, Out* z_t, int channels,
                                            int height, int width, int timesteps, int components, float* shared) {
  const int area = height * width;
  const int image = static_cast<int>(blockIdx.x) / channels;
  const int channel = static_cast<int>(blockIdx.x) % channels;
  const int out_channels = components ? 2 * channels : channels;
  const long long timestep_stride = static_cast<long long>(out_channels) * area;
  const In* plane = z0 + static_cast<long long>(blockIdx.x) * area;
  const float* noise = noise_term + static_cast<long long>(channel) * area;
  Out* out = z_t + (static_cast<long long>(image) * timesteps * out_channels + channel) * area;
  const long long low_half = static_cast<long long>(channels) * area;
  const int step = THREADS * V;

  if (!components) {
    EACH_THREAD {
      const int at = (static_cast<int>(blockIdx.y) * THREADS + thread) * V;
      if (at < area) {
        float values[V];
        load(plane + at, values);
        write_timesteps(values, noise + at, factor, out + at, timesteps, timestep_stride);
      }
    }
    return;
  }

  float* staged = shared;           // [h,w]
  float* narrowed = shared + area;                  // [components,w]: basisᵀ·z0
  float* projected = narrowed + components * width;  // [components,w]: that times P_wᵀ
  EACH_THREAD {
    for (int at = thread * V; at < area; at += step) {
      float values[V];
      load(plane + at, values);
      store(staged + at, values);
    }
  }
  __syncthreads();
  EACH_THREAD {
    for (int at = thread; at < components * width; at += THREADS) {
      const int component = at / width, column = at % width;
      float sum = 0.0f;
#pragma unroll 4
      for (int row = 0; row < height; ++row) {
        sum += __ldg(basis + row * components + component) * staged[row * width + column];
      }
      narrowed[at] = sum;
    }
  }
  __syncthreads();
  EACH_THREAD {
    for (int at = thread; at < components * width; at += THREADS) {
      const int component = at / width, column = at % width;
      float sum = 0.0f;
#pragma unroll 4
      for (int from = 0; from < width; ++from) {
        sum += narrowed[component * width + from] * __ldg(projection + from * width + column);
      }
      projected[at] = sum;
    }
  }
  __syncthreads();
  EACH_THREAD {
    for (int at = thread * V; at < area; at += step) {
      const int row = at / width, column = at % width;
      float values[V], low[V];
      load_shared(staged + at, values);
#pragma unroll
      for (int v = 0; v < V; ++v) low[v] = 0.0f;
#pragma unroll 2
      for (int component = 0; component < components; ++component) {
        const float weight = __ldg(basis + row * components + component);
        float across[V];
        load_shared(projected + component * width + column, across);
#pragma unroll
        for (int v = 0; v < V; ++v) low[v] += weight * across[v];
      }
      write_timesteps(values, noise + at, factor, out + at, timesteps, timestep_stride);
      write_timesteps(low, noise + low_half + at, factor, out + low_half + at, timesteps, timestep_stride);
    }
  }
}

#ifdef __CUDACC__
#define NOISING_KERNEL(name, In, Out, V)                                                                             \
  extern "C" __global__ void __launch_bounds__(THREADS, 4)                                                           \
      name(const In* __restrict__ z0, const float* __restrict__ noise_term, const float* __restrict__ factor,        \
           const float* __restrict__ basis, const float* __restrict__ projection, Out* __restrict__ z_t,             \
           int channels, int height, int width, int timesteps, int components) {                                     \
    extern __shared__ float4 shared[];                                                                               \
    noise_plane<In, Out, V>(z0, noise_term, factor, basis, projection, z_t, channels, height, width, timesteps,      \
                            components, reinterpret_cast<float*>(shared));                                           \
  }

NOISING_KERNEL(noise_float32_float32, float, float, 1)
NOISING_KERNEL(noise_float32_float16, float, unsigned short, 1)
NOISING_KERNEL(noise_float16_float32, unsigned short, float, 1)
NOISING_KERNEL(noise_float16_float16, unsigned short, unsigned short, 1)
NOISING_KERNEL(noise_float32_float32_wide, float, float, 4)
NOISING_KERNEL(noise_float32_float16_wide, float, unsigned short, 8)
NOISING_KERNEL(noise_float16_float32_wide, unsigned short, float, 8)
NOISING_KERNEL(noise_float16_float16_wide, unsigned short, unsigned short, 8)
#endif
