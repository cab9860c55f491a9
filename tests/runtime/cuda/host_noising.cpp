#include "host_platform.h"

#include <vector>

#include "noising.cu"

template <typename In, typename Out, int V>
static void run(const void* z0, const float* noise_term, const float* factor, const float* basis,
                const float* projection, void* z_t, int channels, int height, int width, int timesteps,
                int components, int blocks, int blocks_per_plane) {
  each_block(blocks, blocks_per_plane, 1, [=] {
    // New in each block and not a number anywhere: what a kernel reads without having written it shows.
    const std::size_t floats = static_cast<std::size_t>(width) * (height + 2 * components);
    std::vector<float4> shared(floats / 4 + 1, float4{NAN, NAN, NAN, NAN});
    noise_plane<In, Out, V>(static_cast<const In*>(z0), noise_term, factor, basis, projection, static_cast<Out*>(z_t),
                            channels, height, width, timesteps, components, &shared[0].x);
  });
}

#define HOST_NOISING(name, In, Out, V)                                                                               \
  extern "C" void name(const void* z0, const float* noise_term, const float* factor, const float* basis,             \
                       const float* projection, void* z_t, int channels, int height, int width, int timesteps,       \
                       int components, int blocks, int blocks_per_plane) {                                           \
    run<In, Out, V>(z0, noise_term, factor, basis, projection, z_t, channels, height, width, timesteps, components,  \
                    blocks, blocks_per_plane);                                                                       \
  }

HOST_NOISING(noise_float32_float32, float, float, 1)
HOST_NOISING(noise_float32_float16, float, unsigned short, 1)
HOST_NOISING(noise_float16_float32, unsigned short, float, 1)
HOST_NOISING(noise_float16_float16, unsigned short, unsigned short, 1)
HOST_NOISING(noise_float32_float32_wide, float, float, 4)
HOST_NOISING(noise_float32_float16_wide, float, unsigned short, 8)
HOST_NOISING(noise_float16_float32_wide, unsigned short, float, 8)
HOST_NOISING(noise_float16_float16_wide, unsigned short, unsigned short, 8)

extern "C" unsigned short half_of(float value) { return to_half(value); }
extern "C" float float_of(unsigned short bits) { return from_half(bits); }
