#pragma once

namespace windowkv::inline WKV_MACHINE::ptx {

WKV_FN void fence_gpu() { __threadfence(); }
WKV_FN void fence_proxy_async(Where) {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
WKV_FN void fence_mbarrier_init(Where) {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
