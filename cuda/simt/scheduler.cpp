// Who runs next: the life of a gang, from its first thread to its last, or to the report that ends
// it.

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "simt/runtime.h"

namespace windowkv::simt {

constinit thread_local Thread* current_thread = nullptr;

namespace {

// Actors of the shadow besides the threads: the tensor cores of each warp, and the copies that end
// in each mbarrier. With more mbarriers than this some share an actor, which only makes checks
// milder.
constexpr unsigned kMbarrierActors = 64;
constexpr unsigned kMaxActors = 1u << 13;

// A gang in which this many yields happen and nothing else is taken to be waiting for ever.
constexpr uint64_t kLivelockYields = 4'000'000;

// One time in so many an asynchronous copy that somebody waits for lands before the next thread
// runs.
constexpr unsigned kLandOneIn = 4;

std::string list_lanes(uint32_t lanes) {
  std::string text;
  for (unsigned lane = 0; lane < kWarpSize; ++lane) {
    if (!(lanes >> lane & 1)) continue;
    unsigned last = lane;
    while (last + 1 < kWarpSize && (lanes >> (last + 1) & 1)) ++last;
    if (!text.empty()) text += ",";
    text += last == lane ? format("%u", lane) : format("%u-%u", lane, last);
    lane = last;
  }
  return text;
}

}  // namespace

std::string thread_name(const Thread& thread) {
  const Dim3 block = thread.block->index;
  return format("thread (%u,%u,%u) of block (%u,%u,%u)", thread.index.x, thread.index.y,
                thread.index.z, block.x, block.y, block.z);
}

Gang::~Gang() { release_shared(); }

void Gang::release_shared() {
  if (shared == nullptr) return;
  checks::annotate_landed(shared, kSharedStride * blocks.size());
  munmap(shared, kSharedStride * blocks.size());
  shared = nullptr;
}

unsigned Gang::copy_actor(unsigned slot) const {
  const unsigned warps = static_cast<unsigned>(blocks[0].warps.size());
  return static_cast<unsigned>(blocks.size()) * (num_threads + warps) + slot % kMbarrierActors;
}

std::size_t Gang::offset_in_block(std::size_t offset) const {
  return offset % kSharedStride - kReservedSharedBytes;
}

bool Gang::in_shared(const void* pointer, std::size_t bytes) const {
  const auto offset = static_cast<std::size_t>(static_cast<const std::byte*>(pointer) - shared);
  if (offset >= blocks.size() * kSharedStride) return false;
  const std::size_t inside = offset % kSharedStride;
  return inside >= kReservedSharedBytes &&
         inside + bytes <= kReservedSharedBytes + shape.shared_bytes;
}

std::string Gang::actor_name(unsigned actor) const {
  const unsigned num_fibers = static_cast<unsigned>(blocks.size()) * num_threads;
  if (actor < num_fibers) return thread_name(threads[actor]);
  actor -= num_fibers;
  const unsigned warps = static_cast<unsigned>(blocks.size() * blocks[0].warps.size());
  if (actor < warps) return format("wgmma of warp %u", actor);
  return "a TMA copy";
}

void Gang::prepare(Dim3 first) {
  const unsigned num_blocks = static_cast<unsigned>(shape.cluster.count());
  const unsigned num_warps = (num_threads + kWarpSize - 1) / kWarpSize;
  num_actors = num_blocks * (num_threads + num_warps) + kMbarrierActors;

  if (blocks.size() != num_blocks || shared == nullptr) {
    release_shared();
    blocks = std::vector<Block>(num_blocks);
    // An alignment of 256 KB lets an address stand for its offset, as in the GPU's shared window.
    const std::size_t bytes = kSharedStride * (num_blocks + 1);
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    auto start = reinterpret_cast<uintptr_t>(memory);
    auto aligned = (start + kSharedStride - 1) / kSharedStride * kSharedStride;
    if (aligned != start) munmap(memory, aligned - start);
    const uintptr_t end = aligned + kSharedStride * num_blocks;
    munmap(reinterpret_cast<void*>(end), start + bytes - end);
    shared = reinterpret_cast<std::byte*>(aligned);
  }
  live = std::size_t{num_blocks} * num_threads;
  if (thread_capacity < live) {
    threads = std::make_unique<Thread[]>(live);
    thread_capacity = live;
  }

  ClockRef nothing = checks::kShadow ? ClockRef::zero(num_actors) : ClockRef();
  runnable.clear();
  mbarriers.clear();
  eligible.clear();
  error.clear();
  idle_yields = 0;
  cluster_barrier = Barrier();
  cluster_barrier.sync.reset(num_actors);
  fences.reset(num_actors);
  for (unsigned rank = 0; rank < num_blocks; ++rank) {
    Block& block = blocks[rank];
    block.gang = this;
    block.rank = rank;
    block.index = {first.x + rank % shape.cluster.x,
                   first.y + rank / shape.cluster.x % shape.cluster.y,
                   first.z + rank / (shape.cluster.x * shape.cluster.y)};
    block.shared = shared + rank * kSharedStride + kReservedSharedBytes;
    // NaN in every floating-point format, so that a value that nobody wrote is no lucky zero. The
    // rest of the stride is out of bounds.
    checks::annotate_landed(block.shared - kReservedSharedBytes, kSharedStride);
    std::memset(block.shared, 0xff, shape.shared_bytes);
    checks::annotate_in_flight(block.shared - kReservedSharedBytes, kReservedSharedBytes);
    checks::annotate_in_flight(block.shared + shape.shared_bytes,
                               kSharedStride - kReservedSharedBytes - shape.shared_bytes);
    block.threads = &threads[rank * num_threads];
    block.warps.resize(num_warps);
    block.warpgroups.assign((num_warps + 3) / 4, {});
    block.wgmma.assign(block.warpgroups.size(), nullptr);
    block.register_waiters.clear();
    for (Barrier& barrier : block.barriers) {
      barrier = Barrier();
      barrier.sync.reset(num_actors);
    }
    for (unsigned w = 0; w < num_warps; ++w) {
      Warp& warp = block.warps[w];
      warp.block = &block;
      warp.number = w;
      warp.threads = block.threads + w * kWarpSize;
      warp.num_threads = std::min(kWarpSize, num_threads - w * kWarpSize);
      warp.present = warp.num_threads == kWarpSize ? ~0u : (1u << warp.num_threads) - 1;
      warp.exited = 0;
      warp.meetings.clear();
      warp.sync.reset(num_actors);
      warp.wgmma_epoch = 0;
    }
    for (unsigned n = 0; n < num_threads; ++n) {
      Thread& thread = block.threads[n];
      thread.gang = this;
      thread.block = &block;
      thread.warp = &block.warps[n / kWarpSize];
      thread.index = {n % shape.block.x, n / shape.block.x % shape.block.y,
                      n / (shape.block.x * shape.block.y)};
      thread.number = n;
      thread.lane = n % kWarpSize;
      thread.exited = false;
      thread.waits_for = nullptr;
      thread.clock = {rank * num_threads + n, 1, nothing, nothing};
      thread.open_copies.clear();
      thread.copy_groups.clear();
      thread.open_stores.clear();
      thread.store_groups.clear();
      thread.registers = 0;
      thread.cluster_arrivals = 0;
      thread.fiber.reset(&Gang::thread_main, &thread);
      runnable.push_back(&thread);
    }
  }
  if (checks::kShadow)
    shadow.reset(kSharedStride * (num_blocks - 1) + kReservedSharedBytes + shape.shared_bytes);
}

bool Gang::run(const LaunchShape& launch_shape, Dim3 first, uint64_t schedule_seed,
               const std::function<void()>& kernel_body) {
  shape = launch_shape;
  kernel = &kernel_body;
  random.reset(schedule_seed);
  num_threads = static_cast<unsigned>(shape.block.count());
  prepare(first);
  if (num_actors > kMaxActors) {
    error = "the cluster has more threads than the emulated GPU can tell apart (about 7,900)";
    return false;
  }
  main.adopt_caller();
  checks::annotate_release(this);
  const unsigned picked = random.below(static_cast<unsigned>(runnable.size()));
  std::swap(runnable[picked], runnable.back());
  current_thread = runnable.back();
  runnable.pop_back();
  Fiber::switch_to(main, current_thread->fiber, true);
  current_thread = nullptr;
  if (error.empty()) error = check_end();
  return error.empty();
}

namespace {

// Fills the stack that the kernel's frames will use with NaNs: a register array that nobody
// initialised holds no lucky zeros.
[[gnu::noinline]] void scribble() {
  unsigned char stack[8 * 1024];
  // The compiler may not drop a call that it cannot see through.
  static void* (*const volatile fill)(void*, int, std::size_t) = std::memset;
  fill(stack, 0xff, sizeof(stack));
}

}  // namespace

void Gang::thread_main(void* argument) {
  Thread& thread = *static_cast<Thread*>(argument);
  Gang& gang = *thread.gang;
  // The first switch comes from whichever thread ran before; what the launch prepared is seen by
  // all.
  checks::annotate_acquire(&gang);
  scribble();
  (*gang.kernel)();
  gang.check_exit(thread);
  thread.exited = true;
  thread.warp->exited |= 1u << thread.lane;
  checks::annotate_release(&gang.live);
  if (--gang.live == 0) {
    checks::annotate_acquire(&gang.live);
    Fiber::switch_to(thread.fiber, gang.main, true);
  } else {
    gang.reschedule();
  }
  __builtin_unreachable();
}

void Gang::check_exit(Thread& thread) {
  for (const WarpMeeting& meeting : thread.warp->meetings) {
    if (meeting.mask >> thread.lane & 1) {
      fail(meeting.site,
           format("%s waits for lane %u, which has left the kernel", meeting.what, thread.lane));
    }
  }
  const Barrier& barrier = thread.block->barriers[0];
  if (barrier.arrived != 0 && barrier.expected == num_threads) {
    fail(barrier.first_site,
         format("__syncthreads waits for thread %u, which has left the kernel", thread.number));
  }
  for (const auto& group : thread.copy_groups) {
    if (!group.empty()) fail(group[0].site, "nothing ever waits for this cp.async");
  }
  if (!thread.open_copies.empty()) {
    fail(thread.open_copies[0].site, "nothing ever commits and waits for this cp.async");
  }
  for (const auto& group : thread.store_groups) {
    for (const PendingStore& store : group) {
      if (store.read) {
        fail(store.site, "the kernel ends while this TMA store may still read shared memory");
      }
      store.write();
    }
  }
  if (!thread.open_stores.empty()) {
    fail(thread.open_stores[0].site, "nothing ever commits and waits for this TMA store");
  }
}

std::string Gang::check_end() {
  for (auto& [address, mbarrier] : mbarriers) {
    if (!mbarrier.loads.empty()) {
      return format("%s: the kernel ended before this TMA load had landed: nothing waits for it",
                    to_string(mbarrier.loads[0]->site).c_str());
    }
  }
  for (const Block& block : blocks) {
    for (unsigned id = 0; id < kNumBarriers; ++id) {
      if (block.barriers[id].arrived != 0) {
        return format("%s: the kernel ended with %u of %u threads arrived at named barrier %u",
                      to_string(block.barriers[id].first_site).c_str(), block.barriers[id].arrived,
                      block.barriers[id].expected, id);
      }
    }
    for (const auto& state : block.wgmma) {
      if (state != nullptr && wgmma_in_flight(*state)) {
        return "the kernel ended with a wgmma in flight that nothing waits for";
      }
    }
  }
  return {};
}

void Gang::deadlock() {
  // Threads that wait for the same thing at the same line are one entry, by warp.
  struct Entry {
    const Thread* thread;
    std::string text;
    std::vector<std::pair<const Warp*, uint32_t>> lanes;
  };
  std::vector<Entry> entries;
  for (std::size_t i = 0; i < blocks.size() * num_threads; ++i) {
    const Thread* thread = &threads[i];
    if (thread->exited || thread->waits_for == nullptr) continue;
    std::string text = format("%s at %s", thread->waits_for, to_string(thread->waits_at).c_str());
    if (thread->describe_wait != nullptr) text += ", " + thread->describe_wait(*thread);
    Entry* entry = nullptr;
    for (Entry& known : entries) {
      if (known.text == text && known.thread->block == thread->block) entry = &known;
    }
    if (entry == nullptr) entry = &entries.emplace_back(Entry{thread, text, {}});
    if (entry->lanes.empty() || entry->lanes.back().first != thread->warp) {
      entry->lanes.push_back({thread->warp, 0});
    }
    entry->lanes.back().second |= 1u << thread->lane;
  }
  std::string text = "deadlock: every thread waits or has left the kernel";
  for (const Entry& entry : entries) {
    const Dim3 block = entry.thread->block->index;
    text += format("\n    block (%u,%u,%u), ", block.x, block.y, block.z);
    for (std::size_t i = 0; i < entry.lanes.size(); ++i) {
      text += format("%swarp %u", i == 0 ? "" : ", ", entry.lanes[i].first->number);
      if (entry.lanes[i].second != entry.lanes[i].first->present) {
        text += " lanes " + list_lanes(entry.lanes[i].second);
      }
    }
    text += " in " + entry.text;
  }
  const Thread& first = entries.empty() ? self() : *entries[0].thread;
  fail(first.waits_at, text);
}

void Gang::land_one() {
  const std::size_t picked = random.below(static_cast<unsigned>(eligible.size()));
  const auto [mbarrier, load] = eligible[picked];
  eligible[picked] = eligible.back();
  eligible.pop_back();
  std::erase(mbarrier->loads, load);
  load->land();
}

void Gang::reschedule() {
  Thread& from = self();
  while (!eligible.empty() && (runnable.empty() || random.below(kLandOneIn) == 0)) land_one();
  if (runnable.empty()) deadlock();
  ++switches;
  const unsigned picked = random.below(static_cast<unsigned>(runnable.size()));
  Thread* next = runnable[picked];
  runnable[picked] = runnable.back();
  runnable.pop_back();
  if (next == &from) return;
  current_thread = next;
  Fiber::switch_to(from.fiber, next->fiber, false);
}

void wait_blocked(const char* what, const Site& site, const void* object,
                  std::string (*describe)(const Thread&)) {
  Thread& thread = self();
  thread.waits_for = what;
  thread.waits_at = site;
  thread.wait_object = object;
  thread.describe_wait = describe;
  thread.gang->idle_yields = 0;
  thread.gang->reschedule();
}

void wake(Thread& thread) {
  thread.waits_for = nullptr;
  thread.gang->runnable.push_back(&thread);
}

void yield_thread(const char* what, const Site& site) {
  Thread& thread = self();
  Gang& gang = *thread.gang;
  if (++gang.idle_yields > kLivelockYields) {
    fail(site, format("livelock: %s has been polled %llu times and nothing else happens", what,
                      static_cast<unsigned long long>(kLivelockYields)));
  }
  gang.runnable.push_back(&thread);
  gang.reschedule();
}

}  // namespace windowkv::simt
