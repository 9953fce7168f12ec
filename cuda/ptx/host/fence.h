#pragma once

namespace windowkv::inline WKV_MACHINE::ptx {

// The emulated GPU's memory is sequentially consistent for ordinary accesses.
WKV_FN void fence_gpu() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
void fence_proxy_async(Where where);
void fence_mbarrier_init(Where where);

}  // namespace windowkv::inline WKV_MACHINE::ptx
