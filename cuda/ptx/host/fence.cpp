#include "ptx/fence.h"

#include "simt/runtime.h"

namespace windowkv::inline WKV_MACHINE::ptx {
namespace {

void publish_mbarriers() {
  for (auto& [address, mbarrier] : simt::self().gang->mbarriers) {
    if (mbarrier.creator == &simt::self()) mbarrier.published = true;
  }
}

}  // namespace

// The emulated GPU's memory is sequentially consistent for ordinary accesses. ThreadSanitizer knows
// no fences: it is told that what was before each comes before what follows the next ones, whatever
// atomic operation lies between.
void fence_gpu() {
  static char order;
  simt::checks::annotate_acquire(&order);
  simt::checks::annotate_release(&order);
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void fence_proxy_async(Where) {
  publish_mbarriers();
  if constexpr (simt::checks::kShadow) {
    simt::ThreadClock& clock = simt::self().clock;
    clock.visible = clock.base.copy();
    clock.visible.set(clock.actor, clock.epoch);
    // Stores after the fence belong to a new epoch.
    clock.advance();
  }
}

void fence_mbarrier_init(Where) { publish_mbarriers(); }

}  // namespace windowkv::inline WKV_MACHINE::ptx
