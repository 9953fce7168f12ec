// A fiber: a stack of its own and a hand-written switch. One CUDA thread of the emulated GPU is one
// fiber; a switch saves the callee-saved registers and nothing else (a few nanoseconds).

#pragma once

#include <simt_checks.h>

#include <cstddef>

namespace windowkv::simt {

// fiber_x86_64.S, fiber_aarch64.S
extern "C" void wkv_fiber_switch(void** save_stack_pointer, void* load_stack_pointer);
extern "C" void* wkv_fiber_prepare(void* stack_top, void (*entry)(void*), void* argument);

class Fiber {
 public:
  using Entry = void (*)(void* argument);

  Fiber() = default;
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  ~Fiber();

  // Makes the next switch to this fiber call entry(argument). What the fiber was doing is
  // abandoned: no destructor of its frames runs. entry must never return. Throws std::bad_alloc
  // without memory.
  void reset(Entry entry, void* argument);

  // Makes this object stand for the calling OS thread's own stack.
  void adopt_caller();

  // Leaves `from`, which must be running, for `to`. `synchronises` says whether what `from` did so
  // far happens before what `to` does next; for two CUDA threads it does not.
  static void switch_to(Fiber& from, Fiber& to, bool synchronises);

 private:
  static void enter(void* self);

  void* stack_pointer_ = nullptr;
  std::byte* stack_ = nullptr;
  Entry entry_ = nullptr;
  void* argument_ = nullptr;
  checks::FiberTag tag_;
};

}  // namespace windowkv::simt
