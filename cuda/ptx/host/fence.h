#pragma once

namespace windowkv::inline WKV_MACHINE::ptx {

void fence_gpu();
void fence_proxy_async(Where where);
void fence_mbarrier_init(Where where);

}  // namespace windowkv::inline WKV_MACHINE::ptx
