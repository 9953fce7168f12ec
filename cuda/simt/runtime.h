// The emulated GPU: a gang is what runs together on one CPU core (a block, or the blocks of a
// cluster), its threads are fibers, and a seeded generator decides who runs next. A collective
// instruction is a meeting: it checks who takes part, does its work when the last one has come, and
// lets all go on. When nobody can run, that is a deadlock, and it is reported, never a hang.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "ptx/machine.h"
#include "simt/clock.h"
#include "simt/fiber.h"
#include "simt/report.h"
#include "simt/shadow.h"

namespace windowkv::simt {

inline constexpr unsigned kWarpSize = 32;
inline constexpr unsigned kNumBarriers = 16;
// What a block may use of an H100's 228 KB of shared memory, and the KB that the system keeps.
inline constexpr std::size_t kMaxSharedBytes = 227 * 1024;
inline constexpr std::size_t kReservedSharedBytes = 1024;

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
  uint64_t count() const { return uint64_t{x} * y * z; }
};

// SplitMix64 to spread seeds, xorshift64* to draw.
class Random {
 public:
  explicit Random(uint64_t seed = 0) { reset(seed); }
  void reset(uint64_t seed) {
    seed += 0x9e3779b97f4a7c15;
    seed = (seed ^ seed >> 30) * 0xbf58476d1ce4e5b9;
    seed = (seed ^ seed >> 27) * 0x94d049bb133111eb;
    state_ = (seed ^ seed >> 31) | 1;
  }
  // Uniform in [0, bound).
  unsigned below(unsigned bound) {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return static_cast<unsigned>(((state_ * 0x2545f4914f6cdd1d >> 32) * bound) >> 32);
  }

 private:
  uint64_t state_ = 1;
};

struct Gang;
struct Block;
struct Warp;

// A copy by cp.async that its thread has not waited for.
struct PendingCopy {
  std::byte* target;
  const std::byte* source;
  unsigned bytes;         // written
  unsigned source_bytes;  // read; the rest is zeros
  Site site;
};

// A store by TMA: its bytes are read from shared memory at `read`, reach global memory at `write`.
struct PendingStore {
  std::function<void()> read;
  std::function<void()> write;
  Site site;
};

struct Thread {
  Fiber fiber;
  Gang* gang = nullptr;
  Block* block = nullptr;
  Warp* warp = nullptr;
  Dim3 index;           // threadIdx
  unsigned number = 0;  // in the block
  unsigned lane = 0;
  bool exited = false;

  // What a blocked thread waits for; null while it can run.
  const char* waits_for = nullptr;
  Site waits_at;
  std::string (*describe_wait)(const Thread&) = nullptr;
  const void* wait_object = nullptr;

  ThreadClock clock;

  std::vector<PendingCopy> open_copies;               // since the last commit
  std::vector<std::vector<PendingCopy>> copy_groups;  // committed, oldest first
  std::vector<PendingStore> open_stores;
  std::vector<std::vector<PendingStore>> store_groups;  // .read done when `read` is empty
  unsigned registers = 0;                               // setmaxnreg, 0 = as launched
  uint64_t cluster_arrivals = 0;
};

// A collective of some lanes of one warp that not all of them have reached.
struct WarpMeeting {
  const char* what = nullptr;
  uint32_t mask = 0;
  uint32_t arrived = 0;
  Site site;
  const void* arguments[kWarpSize] = {};
};

// One 64-row product in flight, as one warpgroup issued it. See ptx/host/wgmma.cpp.
struct WgmmaState;
bool wgmma_in_flight(const WgmmaState& state);

struct Warp {
  Block* block = nullptr;
  unsigned number = 0;  // in the block
  unsigned num_threads = 0;
  uint32_t present = 0;  // lanes that exist
  uint32_t exited = 0;
  Thread* threads = nullptr;
  std::vector<WarpMeeting> meetings;
  SyncClock sync;
  // Meetings for ThreadSanitizer. Those that overlap share no lane, so the first lane names one; a
  // lane that is late to leave a meeting may overlap with its next, hence two in turn.
  struct {
    char tokens[2];
    unsigned turn;
  } meetings_of[kWarpSize] = {};
  uint32_t wgmma_epoch = 0;
};

struct Barrier {
  unsigned expected = 0;
  unsigned arrived = 0;
  Site first_site;
  uint64_t generation = 0;  // phases completed
  std::vector<Thread*> waiting;
  uint32_t lanes[32] = {};  // by warp, who has arrived
  Site warp_sites[32];
  SyncClock sync;
};

// A meeting of all threads of one warpgroup (four warps).
struct WarpgroupMeeting {
  const char* what = nullptr;
  unsigned arrived = 0;
  Site site;
  const void* arguments[128] = {};
};

struct PendingLoad {
  std::function<void()> land;
  Site site;
  bool eligible = false;  // somebody waits for it
};

struct Mbarrier {
  Block* block = nullptr;
  unsigned slot = 0;       // of its asynchronous actor
  std::size_t offset = 0;  // in the shared memory of the gang
  unsigned count = 0;
  unsigned pending = 0;
  int64_t transaction_bytes = 0;
  uint64_t phase = 0;
  bool published = false;  // a fence followed its initialisation
  Thread* creator = nullptr;
  uint32_t creation_epoch = 0;
  Site site;
  uint32_t async_epoch = 0;
  std::vector<Thread*> waiting;
  std::vector<std::shared_ptr<PendingLoad>> loads;
  SyncClock sync;
};

struct Block {
  Gang* gang = nullptr;
  Dim3 index;         // blockIdx
  unsigned rank = 0;  // in the cluster
  std::byte* shared = nullptr;
  std::vector<Warp> warps;
  std::vector<WarpgroupMeeting> warpgroups;
  std::vector<std::shared_ptr<WgmmaState>> wgmma;
  Barrier barriers[kNumBarriers];
  std::vector<Thread*> register_waiters;
  Thread* threads = nullptr;
};

struct LaunchShape {
  Dim3 grid, block, cluster;
  std::size_t shared_bytes = 0;
};

struct Gang {
  LaunchShape shape;
  std::function<void()> const* kernel = nullptr;
  uint64_t launch_seed = 0;  // as the test chose it, for reports
  Random random;
  unsigned num_threads = 0;  // of one block
  unsigned num_actors = 0;
  std::vector<Block> blocks;
  std::unique_ptr<Thread[]> threads;
  std::size_t thread_capacity = 0;
  std::vector<Thread*> runnable;
  std::size_t live = 0;
  uint64_t idle_yields = 0;  // yields since anything else happened
  uint64_t switches = 0;

  std::byte* shared = nullptr;   // of all blocks, kSharedStride apart
  std::size_t shared_bytes = 0;  // that the shadow covers
  Shadow shadow;

  std::unordered_map<const void*, Mbarrier> mbarriers;
  std::vector<std::pair<Mbarrier*, std::shared_ptr<PendingLoad>>> eligible;
  Barrier cluster_barrier;
  SyncClock fences;  // fence_gpu

  Fiber main;
  std::string error;

  ~Gang();
  // Runs the gang whose first block is `first`. False, with `error` set, when it fails.
  bool run(const LaunchShape& shape, Dim3 first, uint64_t seed,
           const std::function<void()>& kernel);

  // "12" in a lone block, "12 of block 1 of the cluster" otherwise.
  std::size_t offset_in_block(std::size_t offset) const;
  std::string actor_name(unsigned actor) const;
  bool in_shared(const void* pointer, std::size_t bytes) const;
  // The actors after the threads: the tensor cores of each warp, then the copies of the mbarriers.
  unsigned wgmma_actor(const Warp& warp) const {
    return static_cast<unsigned>(blocks.size()) * num_threads +
           warp.block->rank * static_cast<unsigned>(blocks[0].warps.size()) + warp.number;
  }
  unsigned copy_actor(unsigned slot) const;
  [[noreturn]] void deadlock();
  void land_one();
  // Picks who runs next and switches to it.
  void reschedule();

 private:
  static void thread_main(void* thread);
  void prepare(Dim3 first);
  void release_shared();
  void check_exit(Thread& thread);
  std::string check_end();
};

// The distance between two blocks' shared memory in a gang.
inline constexpr std::size_t kSharedStride = 256 * 1024;

extern constinit thread_local Thread* current_thread;
inline Thread& self() { return *current_thread; }

// "thread (3,0,0) of block (1,0,0)".
std::string thread_name(const Thread& thread);

// Stops the calling thread until wake(); the description is for deadlock reports.
void wait_blocked(const char* what, const Site& site, const void* object = nullptr,
                  std::string (*describe)(const Thread&) = nullptr);
void wake(Thread& thread);
// Lets others run. A gang that does nothing but yield is reported as a livelock.
void yield_thread(const char* what, const Site& site);

// Accesses to memory that an instruction makes for a thread, at once.
void access_read(Thread& thread, const void* pointer, std::size_t bytes, const Site& site);
void access_write(Thread& thread, const void* pointer, std::size_t bytes, const Site& site);
void access_atomic(Thread& thread, const void* pointer, std::size_t bytes, const Site& site);

// Ends the run unless [pointer, pointer + bytes) lies in the shared memory of a block of this gang
// (`own`: of the calling thread's block) and pointer is a multiple of alignment.
void require_shared(const void* pointer, std::size_t bytes, std::size_t alignment, const char* what,
                    const Site& site, bool own = true);

// A collective of the lanes in `mask`. `complete` gets one pointer a lane and runs once, in the
// last lane to come. With `aligned`, all lanes must come from the same source line; with
// `orders_memory`, what each did before happens before what the others do after.
struct WarpCollective {
  const char* what;
  bool aligned;
  bool orders_memory;
};
using Completion = void (*)(Warp& warp, uint32_t mask, const void* const* arguments);
void meet_warp(const WarpCollective& collective, uint32_t mask, const void* arguments,
               Completion complete, const Site& site);

// A collective of the four warps of the calling thread's warpgroup.
using WarpgroupCompletion = void (*)(Block& block, unsigned warpgroup,
                                     const void* const* arguments);
void meet_warpgroup(const char* what, const void* arguments, WarpgroupCompletion complete,
                    const Site& site);

// barrier.cta: num_threads 0 means the whole block.
void barrier_arrive(unsigned id, unsigned num_threads, bool wait, const Site& site);
void cluster_arrive(const Site& site);
void cluster_wait(const Site& site);

}  // namespace windowkv::simt
