#include "ptx/mbarrier.h"

#include "ptx/host/pending.h"
#include "simt/runtime.h"

namespace windowkv::inline WKV_MACHINE::ptx {
namespace {

// What an initialised mbarrier's eight bytes hold here: an ordinary store over it is noticed.
constexpr uint64_t kMagic = 0x6d62617272696572;

constexpr int kMaxCount = (1 << 20) - 1;

void complete_phase(simt::Mbarrier& state) {
  if (state.pending != 0 || state.transaction_bytes != 0) return;
  ++state.phase;
  state.pending = state.count;
  state.sync.publish();
  for (simt::Thread* waiter : state.waiting) simt::wake(*waiter);
  state.waiting.clear();
}

void arrive(simt::Mbarrier& state, const char* what, Where where) {
  simt::Thread& thread = simt::self();
  if (state.pending == 0) {
    simt::fail(where, simt::format("%s: more than the %u arrivals that this phase of the mbarrier "
                                   "initialised at %s takes, while it waits for %lld bytes",
                                   what, state.count, simt::to_string(state.site).c_str(),
                                   static_cast<long long>(state.transaction_bytes)));
  }
  if constexpr (simt::checks::kShadow) state.sync.release(thread.clock);
  simt::checks::annotate_release(&state);
  --state.pending;
  complete_phase(state);
}

void expect(simt::Mbarrier& state, int bytes, Where where) {
  if (bytes < 0 || bytes > kMaxCount) {
    simt::fail(where, simt::format("mbarrier.expect_tx: %d bytes are not in [0, 2^20)", bytes));
  }
  state.transaction_bytes += bytes;
}

// Loads that end in a barrier land only when somebody waits for it: as late as they may.
void make_loads_eligible(simt::Mbarrier& state) {
  for (auto& load : state.loads) {
    if (load->eligible) continue;
    load->eligible = true;
    simt::self().gang->eligible.push_back({&state, load});
  }
}

std::string describe(const simt::Thread& thread) {
  const auto& state = *static_cast<const simt::Mbarrier*>(thread.wait_object);
  return simt::format(
      "mbarrier at byte %zu of block %u: phase %llu lacks %u of %u arrivals and %lld "
      "bytes",
      thread.gang->offset_in_block(state.offset), state.block->rank,
      static_cast<unsigned long long>(state.phase), state.pending, state.count,
      static_cast<long long>(state.transaction_bytes));
}

}  // namespace

simt::Mbarrier& find_mbarrier(const Mbarrier& barrier, const char* what, Where where) {
  simt::Gang& gang = *simt::self().gang;
  simt::require_shared(&barrier, 8, 8, what, where, false);
  const auto found = gang.mbarriers.find(&barrier);
  if (found == gang.mbarriers.end()) {
    simt::fail(where, simt::format("%s: no mbarrier has been initialised here", what));
  }
  if constexpr (simt::checks::kShadow) {
    const simt::Mbarrier& state = found->second;
    const simt::ThreadClock& clock = simt::self().clock;
    if (state.creator != &simt::self() &&
        clock.base[state.creator->clock.actor] < state.creation_epoch) {
      simt::fail(where, simt::format("%s: the mbarrier was initialised at %s, with no barrier in "
                                     "between that shows it to this thread",
                                     what, simt::to_string(state.site).c_str()));
    }
  }
  simt::access_atomic(simt::self(), &barrier, 8, where);
  if (barrier.opaque != kMagic) {
    simt::fail(where, simt::format("%s: something has been stored over the mbarrier", what));
  }
  return found->second;
}

void add_pending_load(simt::Mbarrier& state, std::function<void()> land, Where where) {
  auto load = std::make_shared<simt::PendingLoad>();
  load->land = std::move(land);
  load->site = where;
  state.loads.push_back(load);
  if (!state.waiting.empty()) make_loads_eligible(state);
}

void complete_bytes(simt::Mbarrier& state, int64_t bytes, const simt::Site& site) {
  state.transaction_bytes -= bytes;
  if (state.transaction_bytes < 0) {
    simt::fail(site,
               simt::format("a TMA load brings %lld bytes more than the mbarrier initialised at "
                            "%s expects",
                            static_cast<long long>(-state.transaction_bytes),
                            simt::to_string(state.site).c_str()));
  }
  complete_phase(state);
}

void mbarrier_init(Mbarrier& barrier, int count, Where where) {
  simt::Thread& thread = simt::self();
  simt::Gang& gang = *thread.gang;
  simt::require_shared(&barrier, 8, 8, "mbarrier.init", where);
  if (count < 1 || count > kMaxCount) {
    simt::fail(where, simt::format("mbarrier.init: %d arrivals are not in [1, 2^20)", count));
  }
  const auto [found, fresh] = gang.mbarriers.try_emplace(&barrier);
  if (!fresh) simt::fail(where, "mbarrier.init of an mbarrier that is in use: invalidate it first");
  simt::access_write(thread, &barrier, 8, where);
  barrier.opaque = kMagic;
  simt::Mbarrier& state = found->second;
  state.block = thread.block;
  state.slot = static_cast<unsigned>(gang.mbarriers.size() - 1);
  state.offset = static_cast<std::size_t>(reinterpret_cast<std::byte*>(&barrier) - gang.shared);
  state.count = static_cast<unsigned>(count);
  state.pending = state.count;
  state.creator = &thread;
  state.creation_epoch = thread.clock.epoch;
  state.site = where;
  state.sync.reset(gang.num_actors);
}

void mbarrier_invalidate(Mbarrier& barrier, Where where) {
  simt::Mbarrier& state = find_mbarrier(barrier, "mbarrier.inval", where);
  if (!state.waiting.empty() || !state.loads.empty()) {
    simt::fail(where, "mbarrier.inval of an mbarrier that threads wait for or copies end in");
  }
  simt::self().gang->mbarriers.erase(&barrier);
}

void mbarrier_arrive(Mbarrier& barrier, Where where) {
  arrive(find_mbarrier(barrier, "mbarrier.arrive", where), "mbarrier.arrive", where);
}

void mbarrier_arrive_cluster(Mbarrier& barrier, int rank, Where where) {
  simt::Thread& thread = simt::self();
  if (rank < 0 || rank >= static_cast<int>(thread.gang->blocks.size())) {
    simt::fail(where, simt::format("mbarrier.arrive: the cluster has no block %d", rank));
  }
  auto* remote =
      reinterpret_cast<std::byte*>(&barrier) + (rank - static_cast<int>(thread.block->rank)) *
                                                   static_cast<std::ptrdiff_t>(simt::kSharedStride);
  auto& target = *reinterpret_cast<Mbarrier*>(remote);
  simt::Mbarrier& state = find_mbarrier(target, "mbarrier.arrive.shared::cluster", where);
  if (state.block != thread.block && !state.published) {
    simt::fail(where,
               "mbarrier.arrive on another block's mbarrier that no fence.mbarrier_init has "
               "made visible");
  }
  arrive(state, "mbarrier.arrive.shared::cluster", where);
}

void mbarrier_expect_bytes(Mbarrier& barrier, int bytes, Where where) {
  expect(find_mbarrier(barrier, "mbarrier.expect_tx", where), bytes, where);
}

void mbarrier_arrive_expect_bytes(Mbarrier& barrier, int bytes, Where where) {
  simt::Mbarrier& state = find_mbarrier(barrier, "mbarrier.arrive.expect_tx", where);
  expect(state, bytes, where);
  arrive(state, "mbarrier.arrive.expect_tx", where);
}

bool mbarrier_try_wait(Mbarrier& barrier, int parity, Where where) {
  simt::Mbarrier& state = find_mbarrier(barrier, "mbarrier.try_wait", where);
  make_loads_eligible(state);
  if ((state.phase & 1) == static_cast<uint64_t>(parity)) {
    simt::yield_thread("mbarrier.try_wait", where);
  }
  if ((state.phase & 1) == static_cast<uint64_t>(parity)) return false;
  if constexpr (simt::checks::kShadow) state.sync.acquire(simt::self().clock);
  simt::checks::annotate_acquire(&state);
  return true;
}

void mbarrier_wait(Mbarrier& barrier, int parity, Where where) {
  simt::Thread& thread = simt::self();
  simt::Mbarrier& state = find_mbarrier(barrier, "mbarrier.try_wait", where);
  if (parity != 0 && parity != 1) {
    simt::fail(where, simt::format("mbarrier.try_wait: parity %d is neither 0 nor 1", parity));
  }
  while ((state.phase & 1) == static_cast<uint64_t>(parity)) {
    make_loads_eligible(state);
    state.waiting.push_back(&thread);
    simt::wait_blocked("mbarrier.try_wait", where, &state, describe);
  }
  if constexpr (simt::checks::kShadow) state.sync.acquire(thread.clock);
  simt::checks::annotate_acquire(&state);
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
