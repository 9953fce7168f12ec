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

// The emulated GPU's memory is sequentially consistent, so only the checks need to know: what came
// before a fence happens before what follows any later fence.
void fence_gpu() {
  static char order;
  simt::checks::annotate_acquire(&order);
  simt::checks::annotate_release(&order);
  if constexpr (simt::checks::kShadow) {
    simt::Thread& thread = simt::self();
    thread.gang->fences.acquire(thread.clock);
    thread.gang->fences.release(thread.clock);
    thread.gang->fences.publish();
  }
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
