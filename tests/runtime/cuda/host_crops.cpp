#include "host_platform.h"

#include "crops.cu"

extern "C" void crop_weights(const void* boxes, int integers, int size, int taps, int* plans, int faces) {
  each_block(faces, 1, 1, [=] { plan_box(boxes, integers, size, taps, plans); });
}

template <bool Nv12>
static void run(const Frame& frame, const int* plans, int size, int taps, unsigned char* out, int faces) {
  static unsigned char rows[ROWS][3 * TILE_WIDTH];
  static int sums[3][THREADS];
  each_block((size + TILE_WIDTH - 1) / TILE_WIDTH, (size + TILE_HEIGHT - 1) / TILE_HEIGHT, faces, [&] {
    std::memset(rows, 0xa5, sizeof rows);  // what a kernel reads without having written it shows
    std::memset(sums, 0x5a, sizeof sums);
    crop_tile<Nv12>(frame, plans, size, taps, out, rows, sums);
  });
}

#define HOST_CROP(name, Nv12)                                                                                        \
  extern "C" void name(const unsigned char* pixels, const unsigned char* chroma, long long pitch,                    \
                       long long chroma_pitch, int width, int height, int luma, int red_v, int green_u, int green_v, \
                       int blue_u, const int* plans, int size, int taps, unsigned char* out, int faces) {            \
    const Frame frame{pixels, chroma, pitch, chroma_pitch, width, height, luma, red_v, green_u, green_v, blue_u};    \
    run<Nv12>(frame, plans, size, taps, out, faces);                                                                 \
  }

HOST_CROP(crop_bgr, false)
HOST_CROP(crop_nv12, true)
