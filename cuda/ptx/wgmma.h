// The tensor cores of a warpgroup: d += a b with a 64 x 16 and b 16 x N, asynchronously.
//
// PTX: wgmma.mma_async.sync.aligned.m64n{N}k16.f32.{f16,bf16}.{f16,bf16}, wgmma.fence,
// wgmma.commit_group, wgmma.wait_group ("Asynchronous Warpgroup Level Matrix Instructions"). SM:
// 90a. Called by all 128 threads of a warpgroup (four warps, the first a multiple of four), from
// the same line.
//
// With w = warp of the group, g = lane / 4, t = lane % 4:
//   d[4 i + 0], [4 i + 1]: row 16 w + g, columns 8 i + 2t, 8 i + 2t + 1
//   d[4 i + 2], [4 i + 3]: row 16 w + g + 8, the same columns
//   a in registers: as in mma.m16n8k16, of the 16 rows of warp w.
//
// From the issue to the wait the accumulators, and the shared memory that the descriptors name,
// belong to the tensor cores: no other access. Products are exact; the order and rounding of the
// sums is not specified.

#pragma once

#include "ptx/machine.h"
#include "ptx/number.h"
#include "ptx/swizzle.h"
#include "ptx/thread.h"

namespace windowkv::inline WKV_MACHINE::ptx {

// The direction in which the elements of an operand in shared memory are adjacent: along k (a row
// of a, a column of b), or along m or n ("transposed" in PTX).
enum class Major { kK = 0, kMn = 1 };

// A matrix in shared memory ("Matrix Descriptor Format"). `tile` is a multiple of 16 bytes; with a
// swizzle, the tile that it lies in starts at a multiple of 8 rows of the swizzle, and moving on by
// 16 elements along a row is adding their bytes. All offsets are in bytes. An 8 x 16-byte block of
// the operand is a core matrix.
//
// K-major, swizzled: rows are swizzle_bytes long; stride_bytes from one group of 8 rows to the
// next;
//   leading_bytes is not used. Without swizzle: leading_bytes between the two core matrices along
//   k, stride_bytes between those along m or n.
// MN-major, swizzled: rows of k are swizzle_bytes long; leading_bytes to the next swizzle_bytes of
// m or n;
//   stride_bytes from one group of 8 k to the next. Without swizzle: stride_bytes between core
//   matrices along m or n, leading_bytes along k.
WKV_PTX uint64_t matrix_descriptor(const void* tile, Swizzle swizzle, int leading_bytes,
                                   int stride_bytes);

// Orders this warpgroup's accesses to registers before the wgmma that follow. Needed before the
// first one after the accumulators (or a in registers) were written by anything else.
WKV_PTX void wgmma_fence(Where where = {});

// Accumulators += a b, or = a b when `accumulate` is false. T: Half or Bfloat16; N: a multiple of 8
// up to 256 (instantiated: 8, 16, 32, 64, 80, 96, 112, 128, 160, 176, 192, 256).
template <class T, int N, Major kMajorA, Major kMajorB>
WKV_PTX void wgmma(float (&d)[N / 2], uint64_t a, uint64_t b, bool accumulate, Where where = {});
// The same with a in registers.
template <class T, int N, Major kMajorB>
WKV_PTX void wgmma(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, bool accumulate,
                   Where where = {});

// Closes the group of this warp's wgmma since the last commit.
WKV_PTX void wgmma_commit(Where where = {});
// Waits until at most N of this warp's latest groups are in flight.
template <int N>
WKV_PTX void wgmma_wait(Where where = {});

WKV_FN uint64_t matrix_descriptor(const void* tile, Swizzle swizzle, int leading_bytes,
                                  int stride_bytes) {
  // Bits 62-63 name the swizzle: 1 for 128 bytes, 2 for 64, 3 for 32.
  const uint64_t layout = (4 - static_cast<uint64_t>(swizzle)) & 3;
  return static_cast<uint64_t>((shared_address(tile) & 0x3ffff) >> 4) |
         static_cast<uint64_t>((leading_bytes & 0x3ffff) >> 4) << 16 |
         static_cast<uint64_t>((stride_bytes & 0x3ffff) >> 4) << 32 | layout << 62;
}

}  // namespace windowkv::inline WKV_MACHINE::ptx

#include WKV_MACHINE_HEADER(wgmma)
