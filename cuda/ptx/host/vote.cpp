#include "ptx/vote.h"

#include <algorithm>
#include <bit>

#include "simt/runtime.h"

namespace windowkv::inline WKV_MACHINE::ptx {
namespace {

struct Arguments {
  VoteKind kind;
  uint32_t value;
  uint32_t* result;
};

constexpr const char* kNames[] = {"vote.sync",          "match.any.sync", "redux.sync.add",
                                  "redux.sync.min",     "redux.sync.max", "redux.sync.min.s32",
                                  "redux.sync.max.s32", "redux.sync.and", "redux.sync.or",
                                  "redux.sync.xor"};

uint32_t combine(VoteKind kind, uint32_t a, uint32_t b) {
  switch (kind) {
    case VoteKind::kAdd:
      return a + b;
    case VoteKind::kMin:
      return std::min(a, b);
    case VoteKind::kMax:
      return std::max(a, b);
    case VoteKind::kMinSigned:
      return static_cast<uint32_t>(std::min(static_cast<int32_t>(a), static_cast<int32_t>(b)));
    case VoteKind::kMaxSigned:
      return static_cast<uint32_t>(std::max(static_cast<int32_t>(a), static_cast<int32_t>(b)));
    case VoteKind::kAnd:
      return a & b;
    case VoteKind::kOr:
      return a | b;
    default:
      return a ^ b;
  }
}

void count(simt::Warp&, uint32_t mask, const void* const* arguments) {
  const auto of = [&](uint32_t lane) { return static_cast<const Arguments*>(arguments[lane]); };
  const uint32_t first = static_cast<uint32_t>(std::countr_zero(mask));
  const VoteKind kind = of(first)->kind;
  uint32_t reduced = of(first)->value;
  uint32_t votes = 0;
  for (uint32_t lane = first; lane < 32; ++lane) {
    if (!(mask >> lane & 1)) continue;
    if (of(lane)->value != 0) votes |= 1u << lane;
    if (lane != first) reduced = combine(kind, reduced, of(lane)->value);
  }
  for (uint32_t lane = 0; lane < 32; ++lane) {
    if (!(mask >> lane & 1)) continue;
    uint32_t result = kind == VoteKind::kBallot ? votes : reduced;
    if (kind == VoteKind::kMatch) {
      result = 0;
      for (uint32_t other = 0; other < 32; ++other) {
        if ((mask >> other & 1) && of(other)->value == of(lane)->value) result |= 1u << other;
      }
    }
    *of(lane)->result = result;
  }
}

}  // namespace

uint32_t vote_bits(VoteKind kind, uint32_t value, uint32_t mask, Where where) {
  uint32_t result = 0;
  const Arguments arguments{kind, value, &result};
  simt::meet_warp({kNames[static_cast<int>(kind)], false, false}, mask, &arguments, count, where);
  return result;
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
