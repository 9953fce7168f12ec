#include "ptx/wgmma.h"

#include <cstring>
#include <memory>
#include <vector>

#include "ptx/shuffle.h"
#include "simt/runtime.h"
#include "simt/wgmma_state.h"

namespace windowkv::simt {

// The accumulators of one warp that products in flight write. Their true values are kept here; the
// registers hold NaN until the last of those products is waited for.
struct WgmmaAccumulators {
  float* registers[kWarpSize];
  int per_lane;
  int in_flight = 0;
  std::vector<float> values;  // [lane][per_lane]
};

// One warp's part of a wgmma: 16 of its 64 rows.
struct WgmmaPart {
  ptx::WgmmaArguments arguments;
  uint32_t a_registers[kWarpSize][4];
  std::shared_ptr<WgmmaAccumulators> accumulators;
  // The 16-byte pieces of shared memory that the product reads.
  std::shared_ptr<std::vector<std::size_t>> pieces;
  Site site;
};

struct WgmmaWarp {
  bool fenced = false;
  std::vector<WgmmaPart> open;
  std::vector<std::vector<WgmmaPart>> groups;
  std::vector<std::shared_ptr<WgmmaAccumulators>> accumulators;
};

struct WgmmaState {
  WgmmaWarp warps[4];
};

bool wgmma_in_flight(const WgmmaState& state) {
  for (const WgmmaWarp& warp : state.warps) {
    if (!warp.accumulators.empty()) return true;
  }
  return false;
}

bool wgmma_owns(const WgmmaState& state, const Thread& thread, const void* pointer) {
  const auto* at = static_cast<const float*>(pointer);
  for (const auto& accumulators : state.warps[thread.warp->number % 4].accumulators) {
    const float* first = accumulators->registers[thread.lane];
    if (at >= first && at < first + accumulators->per_lane) return true;
  }
  return false;
}

}  // namespace windowkv::simt

namespace windowkv::inline WKV_MACHINE::ptx {
namespace {

using simt::WgmmaAccumulators;
using simt::WgmmaPart;
using simt::WgmmaState;
using simt::WgmmaWarp;

struct Issue {
  WgmmaArguments arguments;
  Where where;
};

// An operand in shared memory, as its descriptor describes it.
class Operand {
 public:
  Operand(const simt::Block& block, uint64_t descriptor, Major major)
      : window_(block.shared - simt::kReservedSharedBytes),
        start_(static_cast<uint32_t>(descriptor & 0x3fff) << 4),
        leading_(static_cast<uint32_t>(descriptor >> 16 & 0x3fff) << 4),
        stride_(static_cast<uint32_t>(descriptor >> 32 & 0x3fff) << 4),
        swizzle_(static_cast<Swizzle>((4 - (descriptor >> 62)) & 3)),
        major_(major) {}

  // Null, or what is wrong with the descriptor.
  static const char* check(uint64_t descriptor) {
    if (descriptor >> 49 & 7) return "the base offset is not 0";
    if (descriptor & 0xc000'c000'c000) return "reserved bits are set";
    const auto swizzle = static_cast<Swizzle>((4 - (descriptor >> 62)) & 3);
    const uint32_t start = static_cast<uint32_t>(descriptor & 0x3fff) << 4;
    const uint32_t row = static_cast<uint32_t>(swizzle_bytes(swizzle));
    if (swizzle != Swizzle::kNone && start % (8 * row) >= row) {
      return "the tile does not start at a multiple of 8 rows of the swizzle";
    }
    return nullptr;
  }

  // The shared-memory address of the piece of 8 elements that holds element (mn, k).
  uint32_t piece(uint32_t mn, uint32_t k) const {
    const uint32_t row = static_cast<uint32_t>(swizzle_bytes(swizzle_));
    uint32_t offset;
    if (major_ == Major::kK) {
      offset = swizzle_ == Swizzle::kNone ? mn % 8 * 16 + mn / 8 * stride_ + k / 8 * leading_
                                          : mn % 8 * row + mn / 8 * stride_ + k / 8 * 16;
    } else if (swizzle_ == Swizzle::kNone) {
      offset = k % 8 * 16 + mn / 8 * stride_ + k / 8 * leading_;
    } else {
      offset = mn / 8 * 16 % row + mn / 8 * 16 / row * leading_ + k % 8 * row + k / 8 * stride_;
    }
    return swizzled(swizzle_, start_ + offset);
  }

  uint16_t element(uint32_t mn, uint32_t k) const {
    uint16_t bits;
    const uint32_t within = major_ == Major::kK ? k % 8 : mn % 8;
    std::memcpy(&bits, window_ + piece(mn, k) + within * 2, 2);
    return bits;
  }

  // Eight elements, along k or along m and n.
  void load(uint32_t mn, uint32_t k, uint16_t (&bits)[8]) const {
    std::memcpy(bits, window_ + piece(mn, k), 16);
  }
  bool along_k() const { return major_ == Major::kK; }

  void collect(uint32_t first, uint32_t count, std::vector<std::size_t>& pieces) const {
    for (uint32_t mn = first; mn < first + count; mn += major_ == Major::kK ? 1 : 8) {
      for (uint32_t k = 0; k < 16; k += major_ == Major::kK ? 8 : 1) pieces.push_back(piece(mn, k));
    }
  }

 private:
  const std::byte* window_;
  uint32_t start_, leading_, stride_;
  Swizzle swizzle_;
  Major major_;
};

float widen(bool bfloat16, uint16_t bits) {
  return bfloat16 ? to_float(Bfloat16{bits}) : to_float(Half{bits});
}

// Row-major floats [16][count] of 16 k and `count` m or n.
void read_operand(const Operand& operand, bool bfloat16, uint32_t first, uint32_t count,
                  float* out) {
  uint16_t bits[8];
  if (operand.along_k()) {
    for (uint32_t mn = 0; mn < count; ++mn) {
      for (uint32_t k = 0; k < 16; k += 8) {
        operand.load(first + mn, k, bits);
        for (uint32_t i = 0; i < 8; ++i) out[(k + i) * count + mn] = widen(bfloat16, bits[i]);
      }
    }
  } else {
    for (uint32_t mn = 0; mn < count; mn += 8) {
      for (uint32_t k = 0; k < 16; ++k) {
        operand.load(first + mn, k, bits);
        for (uint32_t i = 0; i < 8; ++i) out[k * count + mn + i] = widen(bfloat16, bits[i]);
      }
    }
  }
}

void multiply(const simt::Block& block, unsigned warp, const WgmmaPart& part) {
  const WgmmaArguments& arguments = part.arguments;
  const auto n = static_cast<uint32_t>(arguments.n);
  float a[16 * 16];   // [k][row]
  float b[16 * 256];  // [k][column]
  if (arguments.a_registers != nullptr) {
    for (int lane = 0; lane < 32; ++lane) {
      const int g = lane / 4, t = 2 * (lane % 4);
      for (int i = 0; i < 4; ++i) {
        const int row = g + 8 * (i % 2), k = t + 8 * (i / 2);
        a[k * 16 + row] =
            widen(arguments.bfloat16, static_cast<uint16_t>(part.a_registers[lane][i]));
        a[(k + 1) * 16 + row] =
            widen(arguments.bfloat16, static_cast<uint16_t>(part.a_registers[lane][i] >> 16));
      }
    }
  } else {
    read_operand(Operand(block, arguments.a, arguments.major_a), arguments.bfloat16, warp * 16, 16,
                 a);
  }
  read_operand(Operand(block, arguments.b, arguments.major_b), arguments.bfloat16, 0, n, b);

  float row[256];
  WgmmaAccumulators& accumulators = *part.accumulators;
  for (int i = 0; i < 16; ++i) {
    // Lane 4 g + t holds columns 8 j + 2t, 8 j + 2t + 1 of rows g (first half) and g + 8 (second
    // half).
    const int g = i % 8, half = i / 8;
    const auto place = [&](uint32_t column) -> float& {
      const auto lane = static_cast<std::size_t>(g) * 4 + column % 8 / 2;
      return accumulators.values[lane * static_cast<std::size_t>(accumulators.per_lane) +
                                 column / 8 * 4 + static_cast<std::size_t>(half) * 2 + column % 2];
    };
    for (uint32_t j = 0; j < n; ++j) row[j] = arguments.accumulate ? place(j) : 0.0f;
    for (int k = 0; k < 16; ++k) {
      const float factor = a[k * 16 + i];
      for (uint32_t j = 0; j < n; ++j) row[j] += factor * b[static_cast<uint32_t>(k) * n + j];
    }
    for (uint32_t j = 0; j < n; ++j) place(j) = row[j];
  }
}

WgmmaState& state_of(simt::Block& block, unsigned warpgroup) {
  if (block.wgmma[warpgroup] == nullptr) block.wgmma[warpgroup] = std::make_shared<WgmmaState>();
  return *block.wgmma[warpgroup];
}

WgmmaWarp& warp_state(simt::Warp& warp) {
  return state_of(*warp.block, warp.number / 4).warps[warp.number % 4];
}

// The accumulators of a warp at these registers: those in flight already, or new ones.
std::shared_ptr<WgmmaAccumulators> take_accumulators(WgmmaWarp& state, const Issue* const* issues,
                                                     Where where) {
  for (const auto& known : state.accumulators) {
    if (known->registers[0] != issues[0]->arguments.d) continue;
    if (known->per_lane != issues[0]->arguments.n / 2) {
      simt::fail(where, "wgmma: accumulators in flight are used with another N");
    }
    return known;
  }
  if (!state.fenced) {
    simt::fail(where, "wgmma: no wgmma.fence since the accumulators were last written or read");
  }
  auto fresh = std::make_shared<WgmmaAccumulators>();
  fresh->per_lane = issues[0]->arguments.n / 2;
  const auto per_lane = static_cast<std::size_t>(fresh->per_lane);
  fresh->values.resize(per_lane * simt::kWarpSize);
  for (std::size_t lane = 0; lane < simt::kWarpSize; ++lane) {
    float* registers = issues[lane]->arguments.d;
    fresh->registers[lane] = registers;
    std::memcpy(&fresh->values[lane * per_lane], registers, per_lane * sizeof(float));
    std::memset(registers, 0xff, per_lane * sizeof(float));
    simt::checks::annotate_in_flight(registers, per_lane * sizeof(float));
  }
  state.accumulators.push_back(fresh);
  return fresh;
}

void issue(simt::Block& block, unsigned warpgroup, const void* const* arguments) {
  const auto of = [&](std::size_t thread) { return static_cast<const Issue*>(arguments[thread]); };
  const WgmmaArguments& first = of(0)->arguments;
  const Where where = of(0)->where;
  for (std::size_t n = 1; n < 128; ++n) {
    const WgmmaArguments& other = of(n)->arguments;
    if (other.a != first.a || other.b != first.b || other.accumulate != first.accumulate) {
      simt::fail(where, simt::format("wgmma: threads 0 and %zu of the warpgroup disagree about a "
                                     "descriptor or about accumulating",
                                     n));
    }
  }
  const char* wrong = Operand::check(first.b);
  if (wrong == nullptr && first.a_registers == nullptr) wrong = Operand::check(first.a);
  if (wrong != nullptr) simt::fail(where, simt::format("wgmma: descriptor: %s", wrong));

  // All pieces that any of the four warps reads; each warp's read ends at its own wait.
  auto pieces = std::make_shared<std::vector<std::size_t>>();
  Operand(block, first.b, first.major_b).collect(0, static_cast<uint32_t>(first.n), *pieces);
  if (first.a_registers == nullptr) Operand(block, first.a, first.major_a).collect(0, 64, *pieces);
  for (std::size_t piece : *pieces) {
    simt::require_shared(block.shared - simt::kReservedSharedBytes + piece, 16, 16, "wgmma operand",
                         where);
  }
  simt::Gang& gang = *block.gang;
  const auto base =
      static_cast<std::size_t>(block.shared - gang.shared) - simt::kReservedSharedBytes;
  WgmmaState& state = state_of(block, warpgroup);
  for (unsigned w = 0; w < 4; ++w) {
    simt::Warp& warp = block.warps[warpgroup * 4 + w];
    const simt::ThreadClock& clock = warp.threads[0].clock;
    for (std::size_t piece : *pieces) {
      if constexpr (simt::checks::kShadow) gang.shadow.read_begin(clock, base + piece, 16, where);
      if (w == 0) simt::checks::annotate_read(gang.shared + base + piece, 16);
    }
    const Issue* issues[simt::kWarpSize];
    for (std::size_t lane = 0; lane < simt::kWarpSize; ++lane) issues[lane] = of(w * 32 + lane);
    WgmmaPart part;
    part.arguments = first;
    part.site = where;
    part.pieces = pieces;
    if (first.a_registers != nullptr) {
      for (std::size_t lane = 0; lane < simt::kWarpSize; ++lane) {
        std::memcpy(part.a_registers[lane], issues[lane]->arguments.a_registers, 16);
      }
      if (!state.warps[w].fenced) {
        simt::fail(where, "wgmma: no wgmma.fence since the last wait, though a is in registers");
      }
    }
    part.accumulators = take_accumulators(state.warps[w], issues, where);
    ++part.accumulators->in_flight;
    state.warps[w].open.push_back(std::move(part));
  }
}

void finish(simt::Warp& warp, WgmmaWarp& state, const WgmmaPart& part) {
  simt::Gang& gang = *warp.block->gang;
  const auto base =
      static_cast<std::size_t>(warp.block->shared - gang.shared) - simt::kReservedSharedBytes;
  for (std::size_t piece : *part.pieces) {
    simt::checks::annotate_read(gang.shared + base + piece, 16);
    if constexpr (simt::checks::kShadow) {
      gang.shadow.read_end(gang.wgmma_actor(warp), warp.wgmma_epoch, base + piece, 16);
    }
  }
  multiply(*warp.block, warp.number % 4, part);

  WgmmaAccumulators& accumulators = *part.accumulators;
  if (--accumulators.in_flight != 0) return;
  const auto per_lane = static_cast<std::size_t>(accumulators.per_lane);
  for (std::size_t lane = 0; lane < simt::kWarpSize; ++lane) {
    float* registers = accumulators.registers[lane];
    simt::checks::annotate_landed(registers, per_lane * sizeof(float));
    for (std::size_t i = 0; i < per_lane; ++i) {
      uint32_t bits;
      std::memcpy(&bits, registers + i, 4);
      if (bits != 0xffffffff) {
        simt::fail(part.site,
                   simt::format("wgmma: lane %zu wrote accumulator %zu while the product "
                                "was in flight",
                                lane, i));
      }
    }
    std::memcpy(registers, &accumulators.values[lane * per_lane], per_lane * sizeof(float));
  }
  std::erase(state.accumulators, part.accumulators);
}

struct Wait {
  int pending;
};

void wait(simt::Warp& warp, uint32_t, const void* const* arguments) {
  WgmmaWarp& state = warp_state(warp);
  const auto pending = static_cast<std::size_t>(static_cast<const Wait*>(arguments[0])->pending);
  if (state.groups.size() <= pending) return;
  const std::size_t done = state.groups.size() - pending;
  ++warp.wgmma_epoch;
  for (std::size_t i = 0; i < done; ++i) {
    for (const WgmmaPart& part : state.groups[i]) finish(warp, state, part);
  }
  simt::checks::annotate_release(&state);
  state.groups.erase(state.groups.begin(),
                     state.groups.begin() + static_cast<std::ptrdiff_t>(done));
  state.fenced = false;
  if constexpr (simt::checks::kShadow) {
    // All lanes know now that the tensor cores of their warp have read what they were to read.
    simt::SyncClock sync;
    sync.reset(warp.block->gang->num_actors);
    sync.release_actor(warp.block->gang->wgmma_actor(warp), warp.wgmma_epoch);
    sync.publish();
    for (unsigned lane = 0; lane < simt::kWarpSize; ++lane) sync.acquire(warp.threads[lane].clock);
  }
}

}  // namespace

void wgmma_fence(Where where) {
  simt::meet_warp(
      {"wgmma.fence", true, false}, kFullWarp, nullptr,
      [](simt::Warp& warp, uint32_t, const void* const*) { warp_state(warp).fenced = true; },
      where);
}

void wgmma_commit(Where where) {
  simt::meet_warp(
      {"wgmma.commit_group", true, false}, kFullWarp, nullptr,
      [](simt::Warp& warp, uint32_t, const void* const*) {
        WgmmaWarp& state = warp_state(warp);
        state.groups.push_back(std::move(state.open));
        state.open.clear();
      },
      where);
}

void wgmma_issue(const WgmmaArguments& arguments, Where where) {
  const Issue mine{arguments, where};
  simt::meet_warpgroup("wgmma.mma_async", &mine, issue, where);
}

void wgmma_wait_groups(int pending_groups, Where where) {
  const Wait mine{pending_groups};
  WgmmaWarp& state = warp_state(*simt::self().warp);
  // Whichever lane comes last reads the operands for the warp; for ThreadSanitizer, what any lane
  // did for the product is over for all of them after the wait.
  simt::checks::annotate_release(&state);
  simt::meet_warp({"wgmma.wait_group", true, false}, kFullWarp, &mine, wait, where);
  simt::checks::annotate_acquire(&state);
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
