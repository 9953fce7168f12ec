#include "ptx/registers.h"

#include "simt/runtime.h"

namespace windowkv::inline WKV_MACHINE::ptx {
namespace {

constexpr unsigned kRegisterFile = 64 * 1024;

// What a thread has as launched: the block's share of the register file, as the compiler rounds it.
unsigned launched(const simt::Gang& gang) {
  const unsigned share = kRegisterFile / ((gang.num_threads + 127) / 128 * 128) / 8 * 8;
  return share < 256 ? share : 256;
}

unsigned held(const simt::Block& block, unsigned warpgroup) {
  const unsigned registers = block.threads[warpgroup * 128].registers;
  return (registers != 0 ? registers : launched(*block.gang)) * 128;
}

unsigned free_registers(const simt::Block& block) {
  unsigned used = 0;
  for (unsigned w = 0; w < block.warpgroups.size(); ++w) used += held(block, w);
  return used < kRegisterFile ? kRegisterFile - used : 0;
}

}  // namespace

void set_registers(unsigned registers, bool take, Where where) {
  simt::Thread& thread = simt::self();
  simt::Block& block = *thread.block;
  const unsigned warpgroup = thread.number / 128;
  const char* name = take ? "setmaxnreg.inc" : "setmaxnreg.dec";
  const unsigned before = thread.registers != 0 ? thread.registers : launched(*thread.gang);
  if (take ? registers < before : registers > before) {
    simt::fail(where, simt::format("%s to %u registers: a thread of this block has %u", name,
                                   registers, before));
  }
  const auto nothing = [](simt::Block&, unsigned, const void* const*) {};
  simt::meet_warpgroup(name, nullptr, nothing, where);
  if (take) {
    // Each warp is granted its registers for itself; what the others of the group wait for is the
    // same.
    const auto missing = [&] {
      const unsigned wanted = registers * 128, own = held(block, warpgroup);
      return wanted > own && wanted - own > free_registers(block);
    };
    while (missing()) {
      block.register_waiters.push_back(&thread);
      simt::wait_blocked(name, where);
    }
  }
  thread.registers = registers;
  for (simt::Thread* waiter : block.register_waiters) simt::wake(*waiter);
  block.register_waiters.clear();
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
