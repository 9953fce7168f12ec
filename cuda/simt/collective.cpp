// Meetings: warp, warpgroup, block and cluster collectives, and the checks of who takes part.

#include <bit>
#include <cstring>

#include "simt/runtime.h"

namespace windowkv::simt {

void access_read(Thread& thread, const void* pointer, std::size_t bytes, const Site& site) {
  checks::annotate_read(pointer, bytes);
  if constexpr (checks::kShadow) {
    Gang& gang = *thread.gang;
    if (!gang.in_shared(pointer, bytes)) return;
    gang.shadow.read(thread.clock, static_cast<const std::byte*>(pointer) - gang.shared, bytes,
                     site);
  }
}

void access_write(Thread& thread, const void* pointer, std::size_t bytes, const Site& site) {
  checks::annotate_write(pointer, bytes);
  if constexpr (checks::kShadow) {
    Gang& gang = *thread.gang;
    if (!gang.in_shared(pointer, bytes)) return;
    gang.shadow.write(thread.clock, static_cast<const std::byte*>(pointer) - gang.shared, bytes,
                      site);
  }
}

void access_atomic(Thread& thread, const void* pointer, std::size_t bytes, const Site& site) {
  if constexpr (checks::kShadow) {
    Gang& gang = *thread.gang;
    if (!gang.in_shared(pointer, bytes)) return;
    gang.shadow.atomic(thread.clock, static_cast<const std::byte*>(pointer) - gang.shared, bytes,
                       site);
  }
}

void require_shared(const void* pointer, std::size_t bytes, std::size_t alignment, const char* what,
                    const Site& site, bool own) {
  const Thread& thread = self();
  const auto address = reinterpret_cast<uintptr_t>(pointer);
  if (!thread.gang->in_shared(pointer, bytes)) {
    const auto distance = static_cast<const std::byte*>(pointer) - thread.block->shared;
    fail(site, format("%s: %zu bytes at offset %td are not in the %zu bytes of shared memory", what,
                      bytes, distance, thread.gang->shape.shared_bytes));
  }
  const auto distance = static_cast<const std::byte*>(pointer) - thread.block->shared;
  if (own && (distance < 0 || static_cast<std::size_t>(distance) >= kMaxSharedBytes)) {
    fail(site, format("%s: the address belongs to another block of the cluster", what));
  }
  if (address % alignment != 0) {
    fail(site, format("%s: offset %td of shared memory is not a multiple of %zu bytes", what,
                      distance, alignment));
  }
}

void meet_warp(const WarpCollective& collective, uint32_t mask, const void* arguments,
               Completion complete, const Site& site) {
  Thread& thread = self();
  Warp& warp = *thread.warp;
  const char* what = collective.what;
  const uint32_t bit = 1u << thread.lane;
  if (!(mask & bit)) {
    fail(site, format("%s: lane %u is not in its own mask 0x%08x", what, thread.lane, mask));
  }
  if (mask & ~warp.present) {
    fail(site, format("%s: the mask 0x%08x names lanes that the block does not have", what, mask));
  }
  if (mask & warp.exited) {
    fail(site, format("%s: lane %d, named in the mask 0x%08x, has left the kernel", what,
                      std::countr_zero(mask & warp.exited), mask));
  }
  WarpMeeting* meeting = nullptr;
  for (WarpMeeting& open : warp.meetings) {
    if (!(open.mask & mask)) continue;
    if (open.mask != mask || std::strcmp(open.what, what) != 0 ||
        (collective.aligned && !(open.site == site))) {
      fail(site, format("%s of lanes 0x%08x meets %s of lanes 0x%08x at %s: the lanes of a warp "
                        "disagree",
                        what, mask, open.what, open.mask, to_string(open.site).c_str()));
    }
    meeting = &open;
  }
  if (meeting == nullptr) {
    meeting = &warp.meetings.emplace_back(WarpMeeting{what, mask, 0, site, {}});
  }
  meeting->arguments[thread.lane] = arguments;
  meeting->arrived |= bit;
  auto& meetings = warp.meetings_of[std::countr_zero(mask)];
  void* token = &meetings.tokens[meetings.turn & 1];
  if (collective.orders_memory) {
    if constexpr (checks::kShadow) warp.sync.release(thread.clock);
    checks::annotate_release(token);
  }
  if (meeting->arrived != mask) {
    wait_blocked(what, site);
  } else {
    if (collective.orders_memory) warp.sync.publish();
    ++meetings.turn;
    const WarpMeeting done = *meeting;
    warp.meetings.erase(warp.meetings.begin() + (meeting - warp.meetings.data()));
    if (complete != nullptr) complete(warp, mask, done.arguments);
    for (uint32_t rest = mask & ~bit; rest != 0; rest &= rest - 1) {
      wake(warp.threads[std::countr_zero(rest)]);
    }
  }
  if (collective.orders_memory) {
    if constexpr (checks::kShadow) warp.sync.acquire(thread.clock);
    checks::annotate_acquire(token);
  }
}

void meet_warpgroup(const char* what, const void* arguments, WarpgroupCompletion complete,
                    const Site& site) {
  Thread& thread = self();
  Block& block = *thread.block;
  const unsigned warpgroup = thread.number / 128;
  if ((warpgroup + 1) * 128 > thread.gang->num_threads) {
    fail(site, format("%s: a warpgroup is four full warps, this one is not", what));
  }
  WarpgroupMeeting& meeting = block.warpgroups[warpgroup];
  for (unsigned w = warpgroup * 4; w < warpgroup * 4 + 4; ++w) {
    if (block.warps[w].exited != 0) {
      fail(site, format("%s: threads of warp %u of the warpgroup have left the kernel", what, w));
    }
  }
  if (meeting.arrived == 0) {
    meeting.what = what;
    meeting.site = site;
  } else if (std::strcmp(meeting.what, what) != 0 || !(meeting.site == site)) {
    fail(site, format("%s meets %s at %s: the threads of a warpgroup disagree", what, meeting.what,
                      to_string(meeting.site).c_str()));
  }
  meeting.arguments[thread.number % 128] = arguments;
  if (++meeting.arrived != 128) {
    wait_blocked(what, site);
    return;
  }
  meeting.arrived = 0;
  complete(block, warpgroup, meeting.arguments);
  for (unsigned n = warpgroup * 128; n < warpgroup * 128 + 128; ++n) {
    if (n != thread.number) wake(block.threads[n]);
  }
}

void barrier_arrive(unsigned id, unsigned num_threads, bool wait, const Site& site) {
  Thread& thread = self();
  Block& block = *thread.block;
  const bool whole_block = num_threads == 0;
  if (whole_block) num_threads = thread.gang->num_threads;
  // Only reports need it.
  const auto name = [&] {
    return id == 0 && whole_block ? std::string("__syncthreads") : format("named barrier %u", id);
  };
  if (id >= kNumBarriers) fail(site, name() + ": there are 16 barriers, 0 to 15");
  if (!whole_block && num_threads % kWarpSize != 0) {
    fail(site,
         format("%s: %u threads is not a multiple of the warp size", name().c_str(), num_threads));
  }
  if (num_threads > thread.gang->num_threads) {
    fail(site, format("%s: %u threads in a block of %u", name().c_str(), num_threads,
                      thread.gang->num_threads));
  }
  Barrier& barrier = block.barriers[id];
  if (barrier.arrived == 0) {
    barrier.expected = num_threads;
    barrier.first_site = site;
    std::memset(barrier.lanes, 0, sizeof(barrier.lanes));
  } else if (barrier.expected != num_threads) {
    fail(site,
         format("%s for %u threads meets the same barrier for %u threads at %s", name().c_str(),
                num_threads, barrier.expected, to_string(barrier.first_site).c_str()));
  }
  if (whole_block) {
    for (const Warp& warp : block.warps) {
      if (warp.exited != 0) {
        fail(site, format("%s: thread %u has left the kernel", name().c_str(),
                          warp.number * kWarpSize + std::countr_zero(warp.exited)));
      }
    }
  }
  // The aligned form: all lanes of a warp come to it from the same line.
  const unsigned w = thread.warp->number;
  if (barrier.lanes[w] == 0) {
    barrier.warp_sites[w] = site;
  } else if (!(barrier.warp_sites[w] == site)) {
    fail(site, format("%s: other lanes of this warp came from %s: a divergent barrier",
                      name().c_str(), to_string(barrier.warp_sites[w]).c_str()));
  }
  if (barrier.lanes[w] >> thread.lane & 1) {
    fail(site, name() + ": this thread has already arrived in this phase");
  }
  barrier.lanes[w] |= 1u << thread.lane;
  if constexpr (checks::kShadow) barrier.sync.release(thread.clock);
  void* token = barrier.sync.collecting_token();
  checks::annotate_release(token);
  if (++barrier.arrived != num_threads) {
    if (!wait) return;
    barrier.waiting.push_back(&thread);
    wait_blocked(id == 0 && whole_block ? "__syncthreads" : "a named barrier", site, &barrier,
                 [](const Thread& waiter) {
                   const auto& b = *static_cast<const Barrier*>(waiter.wait_object);
                   return format("barrier %td: %u of %u threads arrived",
                                 &b - waiter.block->barriers, b.arrived, b.expected);
                 });
  } else {
    for (const Warp& warp : block.warps) {
      const uint32_t lanes = barrier.lanes[warp.number];
      if (lanes != 0 && lanes != warp.present) {
        fail(site, format("%s: only lanes 0x%08x of warp %u take part", name().c_str(), lanes,
                          warp.number));
      }
    }
    barrier.arrived = 0;
    barrier.sync.publish();
    ++barrier.generation;
    for (Thread* waiter : barrier.waiting) wake(*waiter);
    barrier.waiting.clear();
    if (!wait) return;
  }
  if constexpr (checks::kShadow) barrier.sync.acquire(thread.clock);
  checks::annotate_acquire(token);
}

void cluster_arrive(const Site& site) {
  Thread& thread = self();
  Gang& gang = *thread.gang;
  Barrier& barrier = gang.cluster_barrier;
  if (thread.cluster_arrivals > barrier.generation) {
    fail(site, "barrier.cluster.arrive: this thread has already arrived in this phase");
  }
  for (const Block& block : gang.blocks) {
    for (const Warp& warp : block.warps) {
      if (warp.exited != 0) {
        fail(site,
             format("barrier.cluster: a thread of block %u of the cluster has left the kernel",
                    block.rank));
      }
    }
  }
  thread.cluster_arrivals = barrier.generation + 1;
  if constexpr (checks::kShadow) barrier.sync.release(thread.clock);
  checks::annotate_release(barrier.sync.collecting_token());
  if (++barrier.arrived != gang.blocks.size() * gang.num_threads) return;
  barrier.arrived = 0;
  barrier.sync.publish();
  ++barrier.generation;
  for (Thread* waiter : barrier.waiting) wake(*waiter);
  barrier.waiting.clear();
}

void cluster_wait(const Site& site) {
  Thread& thread = self();
  Barrier& barrier = thread.gang->cluster_barrier;
  if (thread.cluster_arrivals == 0) fail(site, "barrier.cluster.wait before any arrive");
  void* token = barrier.sync.published_token();
  if (thread.cluster_arrivals > barrier.generation) {
    token = barrier.sync.collecting_token();
    barrier.waiting.push_back(&thread);
    wait_blocked("barrier.cluster.wait", site);
  }
  if constexpr (checks::kShadow) barrier.sync.acquire(thread.clock);
  checks::annotate_acquire(token);
}

}  // namespace windowkv::simt
