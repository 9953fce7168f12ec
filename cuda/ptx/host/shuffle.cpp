#include "ptx/shuffle.h"

#include "simt/runtime.h"

namespace windowkv::inline WKV_MACHINE::ptx {
namespace {

struct Arguments {
  uint32_t value;
  uint32_t* result;
  int operand;
  int width;
  ShuffleKind kind;
  Where where;
};

constexpr const char* kNames[] = {"shfl.sync.idx", "shfl.sync.up", "shfl.sync.down",
                                  "shfl.sync.bfly"};

void exchange(simt::Warp&, uint32_t mask, const void* const* arguments) {
  for (int lane = 0; lane < 32; ++lane) {
    if (!(mask >> lane & 1)) continue;
    const auto& mine = *static_cast<const Arguments*>(arguments[lane]);
    const int first = lane & ~(mine.width - 1);
    int source = lane;
    bool inside = true;
    switch (mine.kind) {
      case ShuffleKind::kIndex:
        source = first + (mine.operand & (mine.width - 1));
        break;
      case ShuffleKind::kUp:
        source = lane - mine.operand;
        inside = source >= first;
        break;
      case ShuffleKind::kDown:
        source = lane + mine.operand;
        inside = source < first + mine.width;
        break;
      case ShuffleKind::kXor:
        // A lane of a lower segment may be read, one of a higher segment may not.
        source = lane ^ mine.operand;
        inside = source < first + mine.width;
        break;
    }
    if (!inside) source = lane;
    if (!(mask >> source & 1)) {
      simt::fail(mine.where,
                 simt::format("%s: lane %d reads from lane %d, which is not in the mask "
                              "0x%08x",
                              kNames[static_cast<int>(mine.kind)], lane, source, mask));
    }
    *mine.result = static_cast<const Arguments*>(arguments[source])->value;
  }
}

}  // namespace

uint32_t shuffle_bits(ShuffleKind kind, uint32_t value, int operand, uint32_t mask, int width,
                      Where where) {
  const char* name = kNames[static_cast<int>(kind)];
  if (width <= 0 || width > 32 || (width & (width - 1)) != 0) {
    simt::fail(where, simt::format("%s: width %d is not a power of two up to 32", name, width));
  }
  if (kind != ShuffleKind::kIndex && (operand < 0 || operand > 31)) {
    simt::fail(where, simt::format("%s: %d is not in [0, 31]", name, operand));
  }
  uint32_t result = value;
  const Arguments arguments{value, &result, operand, width, kind, where};
  simt::meet_warp({name, false, false}, mask, &arguments, exchange, where);
  return result;
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
