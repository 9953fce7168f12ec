// Vector clocks: which accesses of which thread happen before a point of another thread. Threads
// that met in a barrier share one immutable vector, so a barrier of a thousand threads costs one
// join.

#pragma once

#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

namespace windowkv::simt {

// An immutable, shared vector of epochs, indexed by actor (a thread or an asynchronous unit).
class ClockRef {
 public:
  ClockRef() = default;
  ClockRef(const ClockRef& other) : data_(other.data_) {
    if (data_ != nullptr) ++data_->references;
  }
  ClockRef(ClockRef&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  ClockRef& operator=(ClockRef other) noexcept {
    std::swap(data_, other.data_);
    return *this;
  }
  ~ClockRef() {
    if (data_ != nullptr && --data_->references == 0) std::free(data_);
  }

  // A writable copy of nothing: all epochs zero. Written to only before it is shared.
  static ClockRef zero(unsigned actors) {
    ClockRef clock;
    clock.data_ = static_cast<Data*>(std::calloc(1, sizeof(Data) + sizeof(uint32_t) * actors));
    if (clock.data_ == nullptr) throw std::bad_alloc();
    clock.data_->references = 1;
    clock.data_->actors = actors;
    return clock;
  }

  ClockRef copy() const {
    ClockRef clock = zero(data_->actors);
    for (unsigned i = 0; i < data_->actors; ++i) clock.epochs()[i] = epochs()[i];
    return clock;
  }

  bool covers(const ClockRef& other) const {
    if (data_ == other.data_) return true;
    bool all = true;
    for (unsigned i = 0; i < data_->actors; ++i) all &= epochs()[i] >= other.epochs()[i];
    return all;
  }

  // Entry by entry maximum, in place. Only for a clock that nobody shares.
  void join(const ClockRef& other) {
    for (unsigned i = 0; i < data_->actors; ++i) {
      epochs()[i] = epochs()[i] < other.epochs()[i] ? other.epochs()[i] : epochs()[i];
    }
  }

  uint32_t operator[](unsigned actor) const { return epochs()[actor]; }
  void set(unsigned actor, uint32_t epoch) { epochs()[actor] = epoch; }
  const void* identity() const { return data_; }
  explicit operator bool() const { return data_ != nullptr; }

 private:
  struct Data {
    uint32_t references;
    uint32_t actors;
  };
  uint32_t* epochs() const { return reinterpret_cast<uint32_t*>(data_ + 1); }

  Data* data_ = nullptr;
};

// What one thread knows: `base` of the other actors, its own running epoch, and `visible`: the part
// of the past whose ordinary writes a proxy fence has shown to the asynchronous units.
struct ThreadClock {
  unsigned actor = 0;
  uint32_t epoch = 1;
  ClockRef base;
  ClockRef visible;

  // Starts a new epoch. Epochs have 19 bits in the shadow of shared memory: a thread that reaches
  // the last one stays there, and its later races may go unseen, but nothing is reported wrongly.
  void advance() { epoch += epoch < (1u << 19) - 1; }
};

// The clock of a barrier. Arrivals collect in it; publish() ends a phase, and acquire() takes up
// what was published last.
class SyncClock {
 public:
  void reset(unsigned actors);
  void release(ThreadClock& thread);
  void release_actor(unsigned actor, uint32_t epoch);
  void publish();
  void acquire(ThreadClock& thread) const;

  // The identity of the phase that collects now, and of the one published last, for
  // ThreadSanitizer.
  void* collecting_token() { return &tokens_[generation_ & 1]; }
  void* published_token() { return &tokens_[(generation_ & 1) ^ 1]; }

 private:
  struct Half {
    ClockRef collected;
    ClockRef published;
    ClockRef last_joined;
  };
  void start();
  static void take_up(ClockRef& mine, const ClockRef& theirs);

  Half base_;
  Half visible_;
  unsigned actors_ = 0;
  unsigned generation_ = 0;
  char tokens_[2] = {};
};

}  // namespace windowkv::simt
