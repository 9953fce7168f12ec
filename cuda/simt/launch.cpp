#include "simt/launch.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <new>
#include <thread>

namespace windowkv::simt {
namespace {

thread_local Settings settings;
thread_local Statistics statistics;

uint64_t mix(uint64_t seed, uint64_t gang) {
  uint64_t z = seed + 0x9e3779b97f4a7c15 * (gang + 1);
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

// The gangs of one launch, taken one by one by whoever is free.
struct Work {
  Work(const LaunchShape& launch_shape, const std::function<void()>& body, uint64_t schedule_seed)
      : shape(&launch_shape),
        kernel(&body),
        seed(schedule_seed),
        num_gangs(launch_shape.grid.count() / launch_shape.cluster.count()) {}

  const LaunchShape* shape;
  const std::function<void()>* kernel;
  uint64_t seed;
  uint64_t num_gangs;
  std::atomic<uint64_t> next = 0;
  std::atomic<uint64_t> switches = 0;
  std::mutex mutex;
  uint64_t failed_gang = ~uint64_t{0};
  std::string error;

  // Of several reports the one of the first block wins, so that a seed names one report.
  void fail(uint64_t gang, std::string text) {
    std::lock_guard lock(mutex);
    if (gang >= failed_gang) return;
    failed_gang = gang;
    error = std::move(text);
  }

  void run() {
    // One gang an OS thread, with its stacks and its shared memory, serves all launches.
    thread_local Gang gang;
    const uint64_t columns = shape->grid.x / shape->cluster.x;
    const uint64_t rows = shape->grid.y / shape->cluster.y;
    while (true) {
      const uint64_t i = next.fetch_add(1);
      if (i >= num_gangs) break;
      const Dim3 first{static_cast<unsigned>(i % columns) * shape->cluster.x,
                       static_cast<unsigned>(i / columns % rows) * shape->cluster.y,
                       static_cast<unsigned>(i / (columns * rows)) * shape->cluster.z};
      try {
        gang.switches = 0;
        gang.launch_seed = seed;
        if (!gang.run(*shape, first, mix(seed, i), *kernel)) {
          fail(i, gang.error);
          next.store(num_gangs);
        }
        switches += gang.switches;
      } catch (const std::bad_alloc&) {
        fail(i, "not enough memory for the stacks and the shared memory of a block");
        next.store(num_gangs);
      }
    }
  }
};

// OS threads that help with launches of more than one gang, one launch at a time.
class Helpers {
 public:
  static Helpers& instance() {
    static Helpers helpers;
    return helpers;
  }

  // False when the helpers are busy with another launch.
  bool run(Work& work, unsigned helpers) {
    std::unique_lock busy(busy_, std::try_to_lock);
    if (!busy) return false;
    std::unique_lock lock(mutex_);
    while (threads_.size() < helpers) threads_.emplace_back([this] { loop(); });
    work_ = &work;
    wanted_ = helpers;
    wake_.notify_all();
    lock.unlock();
    work.run();
    lock.lock();
    wanted_ = 0;
    done_.wait(lock, [this] { return running_ == 0; });
    work_ = nullptr;
    return true;
  }

 private:
  ~Helpers() {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void loop() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [this] { return stop_ || wanted_ > 0; });
      if (stop_) return;
      --wanted_;
      ++running_;
      Work* work = work_;
      lock.unlock();
      work->run();
      lock.lock();
      --running_;
      done_.notify_all();
    }
  }

  std::mutex busy_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::condition_variable done_;
  std::vector<std::thread> threads_;
  Work* work_ = nullptr;
  unsigned wanted_ = 0;
  unsigned running_ = 0;
  bool stop_ = false;
};

// What a real GPU refuses to launch.
std::string check(const LaunchShape& shape) {
  const Dim3 &grid = shape.grid, &block = shape.block, &cluster = shape.cluster;
  if (grid.count() == 0 || block.count() == 0 || cluster.count() == 0) {
    return "launch: a grid, block or cluster is empty";
  }
  if (grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535) {
    return format("launch: grid (%u, %u, %u) exceeds (2147483647, 65535, 65535)", grid.x, grid.y,
                  grid.z);
  }
  if (block.x > 1024 || block.y > 1024 || block.z > 64 || block.count() > 1024) {
    return format("launch: block (%u, %u, %u) exceeds 1024 threads or (1024, 1024, 64)", block.x,
                  block.y, block.z);
  }
  if (shape.shared_bytes > kMaxSharedBytes) {
    return format("launch: %zu bytes of shared memory exceed %zu", shape.shared_bytes,
                  kMaxSharedBytes);
  }
  if (cluster.count() > 8) return "launch: a portable cluster has at most 8 blocks";
  if (grid.x % cluster.x != 0 || grid.y % cluster.y != 0 || grid.z % cluster.z != 0) {
    return "launch: the grid is not a multiple of the cluster";
  }
  return {};
}

}  // namespace

void configure(const Settings& chosen) { settings = chosen; }
Statistics last_statistics() { return statistics; }

std::string launch(const LaunchShape& shape, const std::function<void()>& kernel) {
  statistics = {};
  if (current_thread != nullptr) return "launch: a kernel may not launch another one";
  if (std::string error = check(shape); !error.empty()) return error;

  Work work(shape, kernel, settings.seed);
  const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  const uint64_t workers =
      std::min<uint64_t>(settings.workers == 0 ? cores : settings.workers, work.num_gangs);
  if (workers <= 1 || !Helpers::instance().run(work, static_cast<unsigned>(workers) - 1)) {
    work.run();
  }
  statistics.switches = work.switches;
  return work.error;
}

}  // namespace windowkv::simt
