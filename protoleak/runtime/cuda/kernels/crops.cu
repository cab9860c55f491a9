// Crop, antialiased bilinear resize to short side S and centre crop to S×S of N rectangles of one frame, as
// protoleak/images/preprocess.py does it with Pillow: horizontal then vertical pass, 22-bit fixed-point weights computed
// in double precision, rounding to 8 bits after each pass. So the result is the host's to the last bit.
//
// Two kernels: crop_weights computes each rectangle's weights once (double precision is slow on most GPUs); crop_rgb
// does the work. Compiled without contraction to fused multiply-add, like Pillow.
#include "platform.cuh"

#define TILE_WIDTH 32
#define TILE_HEIGHT 8
#define THREADS (TILE_WIDTH * TILE_HEIGHT)
#define ROWS 32  // source rows filtered at a time: bounds the shared memory whatever the scale
#define PRECISION_BITS 22

// A plan of a rectangle, in ints: LEFT and TOP of it, 6 spare; then for each axis first[S], count[S], weights[taps][S].
#define HEADER 8
#define LEFT 0
#define TOP 1

__device__ __forceinline__ long long axis_ints(int size, int taps) { return static_cast<long long>(taps + 2) * size; }
__device__ __forceinline__ long long plan_ints(int size, int taps) { return HEADER + 2 * axis_ints(size, taps); }

// Mirrors a coordinate at the frame's border, whose outermost pixel is repeated once, as often as needed: `mirrored` in
// protoleak/images/framing.py.
__device__ __forceinline__ int mirrored(int at, int length) {
  if (static_cast<unsigned int>(at) < static_cast<unsigned int>(length)) return at;
  const int period = 2 * length;
  at %= period;
  if (at < 0) at += period;
  return at < length ? at : period - 1 - at;
}

// One output pixel's filter: the triangle of width `scale` around its centre, cut at the crop's border, summing to 1.
// `taps` are enough for every rectangle that crops.py lets through; memory behind them isn't written for any other.
__device__ __forceinline__ void filter_weights(double scale, int out_at, int in_length, int taps, int size, int at,
                                               int* axis) {
  const double width = scale < 1.0 ? 1.0 : scale;
  const double centre = (out_at + 0.5) * scale;
  const double steepness = 1.0 / width;
  int first = static_cast<int>(centre - width + 0.5);
  if (first < 0) first = 0;
  int last = static_cast<int>(centre + width + 0.5);
  if (last > in_length) last = in_length;
  const int count = last - first < taps ? last - first : taps;
  axis[at] = first;
  axis[size + at] = count;
  double total = 0.0;
  for (int pass = 0; pass < 2; ++pass) {
#pragma unroll 1
    for (int tap = 0; tap < count; ++tap) {
      double distance = (tap + first - centre + 0.5) * steepness;
      if (distance < 0.0) distance = -distance;
      const double weight = distance < 1.0 ? 1.0 - distance : 0.0;
      if (pass == 0) {
        total += weight;
      } else {
        const double share = total != 0.0 ? weight / total : weight;
        axis[(2 + tap) * size + at] = static_cast<int>(0.5 + share * (1 << PRECISION_BITS));
      }
    }
  }
}

// rectangles [N,4]: left, top, width, height in whole pixels. Grid: (N).
__device__ __forceinline__ void plan_rectangle(const int* rectangles, int size, int taps, int* plans) {
  const int face = static_cast<int>(blockIdx.x);
  const int* rectangle = rectangles + 4 * face;
  int* plan = plans + face * plan_ints(size, taps);
  const int width = rectangle[2], height = rectangle[3];
  const bool upright = width <= height;
  const double product = static_cast<double>(size) * (upright ? height : width);
  const int stretched = static_cast<int>(product / (upright ? width : height));
  const int out_width = upright ? size : stretched, out_height = upright ? stretched : size;
  // Half to even, like Python's round().
  const int skip_x = static_cast<int>(rint((out_width - size) / 2.0));
  const int skip_y = static_cast<int>(rint((out_height - size) / 2.0));
  EACH_THREAD {
    if (thread == 0) plan[LEFT] = rectangle[0], plan[TOP] = rectangle[1];
#pragma unroll 1
    for (int at = thread; at < 2 * size; at += THREADS) {
      const bool horizontal = at < size;
      const int out_at = horizontal ? at : at - size;
      int* axis = plan + HEADER + (horizontal ? 0 : axis_ints(size, taps));
      const int length = horizontal ? width : height;
      const double scale = static_cast<double>(length) / (horizontal ? out_width : out_height);
      filter_weights(scale, out_at + (horizontal ? skip_x : skip_y), length, taps, size, out_at, axis);
    }
  }
}

struct Frame {
  const unsigned char* pixels;  // RGB interleaved
  long long pitch;              // bytes from row to row
  int width, height;
};

__device__ __forceinline__ int clipped(int value) { return value < 0 ? 0 : value > 255 ? 255 : value; }

// out uint8 [N,S,S,3], RGB. Grid: (⌈S/32⌉, ⌈S/8⌉, N).
__device__ __forceinline__ void crop_tile(const Frame& frame, const int* plans, int size, int taps, unsigned char* out,
                                          unsigned char (*rows)[3 * TILE_WIDTH], int (*sums)[THREADS]) {
  const int face = static_cast<int>(blockIdx.z);
  const int tile_x = static_cast<int>(blockIdx.x) * TILE_WIDTH, tile_y = static_cast<int>(blockIdx.y) * TILE_HEIGHT;
  const int* plan = plans + face * plan_ints(size, taps);
  const int* across = plan + HEADER;
  const int* down = across + axis_ints(size, taps);
  const int last_y = tile_y + TILE_HEIGHT < size ? tile_y + TILE_HEIGHT - 1 : size - 1;
  const int first_row = down[tile_y], end_row = down[last_y] + down[size + last_y];

  EACH_THREAD {
    for (int c = 0; c < 3; ++c) sums[c][thread] = 1 << (PRECISION_BITS - 1);
  }
  for (int start = first_row; start < end_row; start += ROWS) {
    EACH_THREAD {
      const int x = tile_x + thread % TILE_WIDTH, slot = thread % TILE_WIDTH;
      if (x < size) {
        const int first = across[x], count = across[size + x];
#pragma unroll 1
        for (int row = thread / TILE_WIDTH; row < ROWS && start + row < end_row; row += TILE_HEIGHT) {
          const unsigned char* line = frame.pixels + mirrored(plan[TOP] + start + row, frame.height) * frame.pitch;
          int sum[3] = {1 << (PRECISION_BITS - 1), 1 << (PRECISION_BITS - 1), 1 << (PRECISION_BITS - 1)};
#pragma unroll 1
          for (int tap = 0; tap < count; ++tap) {
            const int weight = __ldg(across + (2 + tap) * size + x);
            const unsigned char* pixel = line + 3 * mirrored(plan[LEFT] + first + tap, frame.width);
            for (int c = 0; c < 3; ++c) sum[c] += __ldg(pixel + c) * weight;
          }
          for (int c = 0; c < 3; ++c) {
            rows[row][c * TILE_WIDTH + slot] = static_cast<unsigned char>(clipped(sum[c] >> PRECISION_BITS));
          }
        }
      }
    }
    __syncthreads();
    EACH_THREAD {
      const int y = tile_y + thread / TILE_WIDTH, slot = thread % TILE_WIDTH;
      if (y < size) {
        const int first = down[y], count = down[size + y];
        const int from = first > start ? first : start;
        const int to = first + count < start + ROWS ? first + count : start + ROWS;
#pragma unroll 1
        for (int row = from; row < to; ++row) {
          const int weight = __ldg(down + (2 + row - first) * size + y);
          for (int c = 0; c < 3; ++c) sums[c][thread] += rows[row - start][c * TILE_WIDTH + slot] * weight;
        }
      }
    }
    __syncthreads();
  }
  EACH_THREAD {
    const int x = tile_x + thread % TILE_WIDTH, y = tile_y + thread / TILE_WIDTH;
    if (x < size && y < size) {
      unsigned char* pixel = out + ((static_cast<long long>(face) * size + y) * size + x) * 3;
      for (int c = 0; c < 3; ++c) pixel[c] = static_cast<unsigned char>(clipped(sums[c][thread] >> PRECISION_BITS));
    }
  }
}

#ifdef __CUDACC__
extern "C" __global__ void __launch_bounds__(THREADS, 4)
    crop_weights(const int* __restrict__ rectangles, int size, int taps, int* plans) {
  plan_rectangle(rectangles, size, taps, plans);
}

extern "C" __global__ void __launch_bounds__(THREADS, 4)
    crop_rgb(const unsigned char* __restrict__ pixels, long long pitch, int width, int height,
             const int* __restrict__ plans, int size, int taps, unsigned char* __restrict__ out) {
  __shared__ unsigned char rows[ROWS][3 * TILE_WIDTH];
  __shared__ int sums[3][THREADS];
  crop_tile(Frame{pixels, pitch, width, height}, plans, size, taps, out, rows, sums);
}
#endif
