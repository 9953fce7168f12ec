#include "simt/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <new>

namespace windowkv::simt {
namespace {

// Frames of instrumented kernels with a 64 x 256 accumulator stay far below this; untouched pages
// cost address space only. The lowest page is a guard: an overflow faults instead of eating a
// neighbour.
constexpr std::size_t kStackBytes = 256 * 1024;

std::size_t guard_bytes() { return static_cast<std::size_t>(sysconf(_SC_PAGESIZE)); }

}  // namespace

Fiber::~Fiber() {
  checks::fiber_destroy(tag_);
  if (stack_ != nullptr) munmap(stack_, kStackBytes);
}

void Fiber::reset(Entry entry, void* argument) {
  if (stack_ == nullptr) {
    void* memory = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    stack_ = static_cast<std::byte*>(memory);
    mprotect(stack_, guard_bytes(), PROT_NONE);
    checks::fiber_create(tag_, stack_ + guard_bytes(), kStackBytes - guard_bytes());
  }
  checks::fiber_reset(tag_);
  entry_ = entry;
  argument_ = argument;

  stack_pointer_ = wkv_fiber_prepare(stack_ + kStackBytes, &Fiber::enter, this);
}

void Fiber::adopt_caller() { checks::fiber_adopt(tag_); }

void Fiber::switch_to(Fiber& from, Fiber& to, bool synchronises) {
  checks::fiber_leave(from.tag_, to.tag_, synchronises);
  wkv_fiber_switch(&from.stack_pointer_, to.stack_pointer_);
  checks::fiber_arrive(from.tag_);
}

void Fiber::enter(void* self) {
  auto* fiber = static_cast<Fiber*>(self);
  checks::fiber_arrive(fiber->tag_);
  fiber->entry_(fiber->argument_);
}

}  // namespace windowkv::simt
