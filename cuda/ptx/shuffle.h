// Exchange of registers between the lanes of a warp.
//
// PTX: shfl.sync.{idx,up,down,bfly}.b32 d, a, b, c, mask ("Data Movement and Conversion
// Instructions: shfl.sync"). SM: 30. Called by every lane in `mask`, with the same mask; a lane may
// read only from a lane of the mask. `width` is a power of two up to 32: the warp is treated as 32
// / width segments. A source outside the segment gives the lane its own value (idx wraps around
// within the segment). No memory is ordered; see sync_warp.

#pragma once

#include "ptx/machine.h"

namespace windowkv::inline WKV_MACHINE::ptx {

inline constexpr uint32_t kFullWarp = 0xffffffff;

// T is a 4-byte type. From lane `source` modulo width.
template <class T>
WKV_PTX T shuffle(T value, int source, uint32_t mask = kFullWarp, int width = 32, Where where = {});
// From the lane `delta` below.
template <class T>
WKV_PTX T shuffle_up(T value, int delta, uint32_t mask = kFullWarp, int width = 32,
                     Where where = {});
// From the lane `delta` above.
template <class T>
WKV_PTX T shuffle_down(T value, int delta, uint32_t mask = kFullWarp, int width = 32,
                       Where where = {});
// From the lane whose number differs in the bits of `lane_mask`.
template <class T>
WKV_PTX T shuffle_xor(T value, int lane_mask, uint32_t mask = kFullWarp, int width = 32,
                      Where where = {});

}  // namespace windowkv::inline WKV_MACHINE::ptx

#include WKV_MACHINE_HEADER(shuffle)
