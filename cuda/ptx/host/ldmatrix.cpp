#include "ptx/ldmatrix.h"

#include <cstring>

#include "ptx/shuffle.h"
#include "simt/runtime.h"

namespace windowkv::inline WKV_MACHINE::ptx {
namespace {

struct Arguments {
  uint32_t* loaded;
  const uint32_t* stored;
  const void* row;
  int count;
  bool transposed;
  Where where;
};

// The place of element (row, column) of matrix `matrix`: which lane's register, which half.
struct Place {
  int lane;
  int half;
};
Place place(int row, int column, bool transposed) {
  if (transposed) std::swap(row, column);
  return {row * 4 + column / 2, column % 2};
}

void load(simt::Warp& warp, uint32_t, const void* const* arguments) {
  const auto of = [&](int lane) { return static_cast<const Arguments*>(arguments[lane]); };
  const int count = of(0)->count;
  for (int matrix = 0; matrix < count; ++matrix) {
    for (int row = 0; row < 8; ++row) {
      const Arguments& giver = *of(matrix * 8 + row);
      simt::require_shared(giver.row, 16, 16, "ldmatrix", giver.where);
      simt::access_read(warp.threads[matrix * 8 + row], giver.row, 16, giver.where);
      uint16_t values[8];
      std::memcpy(values, giver.row, 16);
      for (int column = 0; column < 8; ++column) {
        const Place at = place(row, column, giver.transposed);
        uint32_t& target = of(at.lane)->loaded[matrix];
        target = at.half == 0 ? (target & 0xffff0000) | values[column]
                              : (target & 0xffff) | static_cast<uint32_t>(values[column]) << 16;
      }
    }
  }
}

void store(simt::Warp& warp, uint32_t, const void* const* arguments) {
  const auto of = [&](int lane) { return static_cast<const Arguments*>(arguments[lane]); };
  const int count = of(0)->count;
  for (int matrix = 0; matrix < count; ++matrix) {
    for (int row = 0; row < 8; ++row) {
      const Arguments& giver = *of(matrix * 8 + row);
      simt::require_shared(giver.row, 16, 16, "stmatrix", giver.where);
      simt::access_write(warp.threads[matrix * 8 + row], giver.row, 16, giver.where);
      uint16_t values[8];
      for (int column = 0; column < 8; ++column) {
        const Place at = place(row, column, giver.transposed);
        values[column] = static_cast<uint16_t>(of(at.lane)->stored[matrix] >> (16 * at.half));
      }
      std::memcpy(const_cast<void*>(giver.row), values, 16);
    }
  }
}

}  // namespace

void load_matrices(uint32_t* fragment, int count, bool transposed, const void* row, Where where) {
  static constexpr const char* kNames[] = {"ldmatrix.x1", "ldmatrix.x2", "", "ldmatrix.x4"};
  const Arguments arguments{fragment, nullptr, row, count, transposed, where};
  simt::meet_warp({kNames[count - 1], true, false}, kFullWarp, &arguments, load, where);
}

void store_matrices(void* row, const uint32_t* fragment, int count, bool transposed, Where where) {
  static constexpr const char* kNames[] = {"stmatrix.x1", "stmatrix.x2", "", "stmatrix.x4"};
  const Arguments arguments{nullptr, fragment, row, count, transposed, where};
  simt::meet_warp({kNames[count - 1], true, false}, kFullWarp, &arguments, store, where);
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
