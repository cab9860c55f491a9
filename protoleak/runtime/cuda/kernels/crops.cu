// Crop, antialiased bilinear resize to short side S and centre crop to S×S of N boxes of one frame, as Pillow and
// protoleak/runtime/preprocess.py do it: horizontal then vertical pass, 22-bit fixed-point weights computed in double
// precision, rounding to 8 bits after each pass. So the result is Pillow's to the last bit, but for boxes more than about
// twice as high as wide: Pillow 13 filters those vertically first, which can differ by one grey level.
//
// Two kernels: crop_weights computes each box's geometry and weights once (double precision is slow on most GPUs);
// crop_bgr and crop_nv12 do the work. Compiled without contraction to fused multiply-add, like Pillow.
#include "platform.cuh"

#define TILE_WIDTH 32
#define TILE_HEIGHT 8
#define THREADS (TILE_WIDTH * TILE_HEIGHT)
#define ROWS 32  // source rows filtered at a time: bounds the shared memory whatever the scale
#define PRECISION_BITS 22

// A plan of a box, in ints: STATUS, LEFT, TOP, WIDTH, HEIGHT of the enclosing crop, 3 spare; then for each axis
// first[S], count[S], weights[taps][S].
#define HEADER 8
#define STATUS 0
#define LEFT 1
#define TOP 2
#define WIDTH 3
#define HEIGHT 4
#define STATUS_FINE 0
#define STATUS_EMPTY 1
#define STATUS_TOO_LARGE 2

__device__ __forceinline__ long long axis_ints(int size, int taps) { return static_cast<long long>(taps + 2) * size; }
__device__ __forceinline__ long long plan_ints(int size, int taps) { return HEADER + 2 * axis_ints(size, taps); }

// Mirrors a coordinate at the frame's border without repeating the outermost pixel, as often as needed.
__device__ __forceinline__ int reflected(int at, int length) {
  if (static_cast<unsigned int>(at) < static_cast<unsigned int>(length)) return at;
  if (length == 1) return 0;
  const int period = 2 * (length - 1);
  at %= period;
  if (at < 0) at += period;
  return at < length ? at : period - at;
}

// One output pixel's filter: the triangle of width `scale` around its centre, cut at the crop's border, summing to 1.
__device__ __forceinline__ void filter_weights(double from, double scale, int out_at, int in_length, int taps, int size,
                                               int at, int* axis, int* status) {
  const double width = scale < 1.0 ? 1.0 : scale;
  const double centre = from + (out_at + 0.5) * scale;
  const double steepness = 1.0 / width;
  int first = static_cast<int>(centre - width + 0.5);
  if (first < 0) first = 0;
  int last = static_cast<int>(centre + width + 0.5);
  if (last > in_length) last = in_length;
  int count = last - first;
  if (count > taps) {
    *status = STATUS_TOO_LARGE;
    count = 0;
  }
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

// boxes [N,4]: left, top, right, bottom in pixels, float32, or int32 with `integers`. Grid: (N).
__device__ __forceinline__ void plan_box(const void* boxes, int integers, int size, int taps, int* plans) {
  const int face = static_cast<int>(blockIdx.x);
  int* plan = plans + face * plan_ints(size, taps);
  float box[4];
  for (int i = 0; i < 4; ++i) {
    box[i] = integers ? static_cast<float>(static_cast<const int*>(boxes)[4 * face + i])
                      : static_cast<const float*>(boxes)[4 * face + i];
  }
  // NaN fails every comparison; 2^24 is where float32 stops counting pixels one by one.
  bool fine = box[2] > box[0] && box[3] > box[1];
  for (int i = 0; i < 4; ++i) fine = fine && fabsf(box[i]) < 16777216.0f;
  if (!fine) box[0] = box[1] = 0.0f, box[2] = box[3] = 1.0f;
  const int left = static_cast<int>(floorf(box[0])), top = static_cast<int>(floorf(box[1]));
  const int width = static_cast<int>(ceilf(box[2])) - left, height = static_cast<int>(ceilf(box[3])) - top;
  EACH_THREAD {
    if (thread == 0) {
      plan[STATUS] = fine ? STATUS_FINE : STATUS_EMPTY;
      plan[LEFT] = left, plan[TOP] = top, plan[WIDTH] = width, plan[HEIGHT] = height;
    }
  }
  __syncthreads();
  if (!fine) return;
  const double wide = box[2] - box[0], high = box[3] - box[1];
  const bool upright = wide <= high;
  const int stretched = static_cast<int>(upright ? size * high / wide : size * wide / high);
  const int out_width = upright ? size : stretched, out_height = upright ? stretched : size;
  // Half to even, like Python's round().
  const int skip_x = static_cast<int>(rint((out_width - size) / 2.0));
  const int skip_y = static_cast<int>(rint((out_height - size) / 2.0));
  EACH_THREAD {
#pragma unroll 1
    for (int at = thread; at < 2 * size; at += THREADS) {
      const bool horizontal = at < size;
      const int out_at = horizontal ? at : at - size;
      int* axis = plan + HEADER + (horizontal ? 0 : axis_ints(size, taps));
      // Pillow keeps the box in float32 and goes on in double precision.
      const float from = horizontal ? box[0] - left : box[1] - top;
      const float to = horizontal ? box[2] - left : box[3] - top;
      const double scale = static_cast<double>(to - from) / (horizontal ? out_width : out_height);
      filter_weights(from, scale, out_at + (horizontal ? skip_x : skip_y), horizontal ? width : height, taps, size,
                     out_at, axis, plan + STATUS);
    }
  }
}

struct Frame {
  const unsigned char* pixels;  // BGR interleaved, or the luma plane of NV12
  const unsigned char* chroma;  // U and V interleaved, half resolution; unused for BGR
  long long pitch, chroma_pitch;  // bytes from row to row
  int width, height;
  int luma, red_v, green_u, green_v, blue_u;  // 16-bit fixed point, from crops.py
};

__device__ __forceinline__ int clipped(int value) { return value < 0 ? 0 : value > 255 ? 255 : value; }

template <bool Nv12>
__device__ __forceinline__ void read_rgb(const Frame& frame, int x, int y, int (&rgb)[3]) {
  if constexpr (Nv12) {
    const unsigned char* chroma = frame.chroma + (y / 2) * frame.chroma_pitch + (x / 2) * 2;
    const int luma = (__ldg(frame.pixels + y * frame.pitch + x) - 16) * frame.luma + (1 << 15);
    const int u = __ldg(chroma) - 128, v = __ldg(chroma + 1) - 128;
    rgb[0] = clipped((luma + frame.red_v * v) >> 16);
    rgb[1] = clipped((luma + frame.green_u * u + frame.green_v * v) >> 16);
    rgb[2] = clipped((luma + frame.blue_u * u) >> 16);
  } else {
    const unsigned char* pixel = frame.pixels + y * frame.pitch + 3 * x;
    rgb[0] = __ldg(pixel + 2), rgb[1] = __ldg(pixel + 1), rgb[2] = __ldg(pixel);
  }
}

// out uint8 [N,S,S,3], RGB. Grid: (⌈S/32⌉, ⌈S/8⌉, N). A box whose status isn't fine gives zeros.
template <bool Nv12>
__device__ __forceinline__ void crop_tile(const Frame& frame, const int* plans, int size, int taps, unsigned char* out,
                                          unsigned char (*rows)[3 * TILE_WIDTH], int (*sums)[THREADS]) {
  const int face = static_cast<int>(blockIdx.z);
  const int tile_x = static_cast<int>(blockIdx.x) * TILE_WIDTH, tile_y = static_cast<int>(blockIdx.y) * TILE_HEIGHT;
  const int* plan = plans + face * plan_ints(size, taps);
  const int* across = plan + HEADER;
  const int* down = across + axis_ints(size, taps);
  const bool fine = plan[STATUS] == STATUS_FINE;
  const int last_y = tile_y + TILE_HEIGHT < size ? tile_y + TILE_HEIGHT - 1 : size - 1;
  const int first_row = fine ? down[tile_y] : 0;
  const int end_row = fine ? down[last_y] + down[size + last_y] : 0;

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
          const int y = reflected(plan[TOP] + start + row, frame.height);
          int sum[3] = {1 << (PRECISION_BITS - 1), 1 << (PRECISION_BITS - 1), 1 << (PRECISION_BITS - 1)};
#pragma unroll 1
          for (int tap = 0; tap < count; ++tap) {
            const int weight = __ldg(across + (2 + tap) * size + x);
            int rgb[3];
            read_rgb<Nv12>(frame, reflected(plan[LEFT] + first + tap, frame.width), y, rgb);
            for (int c = 0; c < 3; ++c) sum[c] += rgb[c] * weight;
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
    crop_weights(const void* __restrict__ boxes, int integers, int size, int taps, int* plans) {
  plan_box(boxes, integers, size, taps, plans);
}

#define CROP_KERNEL(name, Nv12)                                                                                      \
  extern "C" __global__ void __launch_bounds__(THREADS, 4)                                                           \
      name(const unsigned char* __restrict__ pixels, const unsigned char* __restrict__ chroma, long long pitch,      \
           long long chroma_pitch, int width, int height, int luma, int red_v, int green_u, int green_v, int blue_u, \
           const int* __restrict__ plans, int size, int taps, unsigned char* __restrict__ out) {                     \
    __shared__ unsigned char rows[ROWS][3 * TILE_WIDTH];                                                             \
    __shared__ int sums[3][THREADS];                                                                                 \
    const Frame frame{pixels, chroma, pitch, chroma_pitch, width, height, luma, red_v, green_u, green_v, blue_u};    \
    crop_tile<Nv12>(frame, plans, size, taps, out, rows, sums);                                                      \
  }

CROP_KERNEL(crop_bgr, false)
CROP_KERNEL(crop_nv12, true)
#endif
