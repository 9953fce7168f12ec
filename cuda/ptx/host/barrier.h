#pragma once

#include "simt/runtime.h"

namespace windowkv::inline WKV_MACHINE::ptx {

WKV_FN void sync_warp(uint32_t mask, Where where) {
  simt::meet_warp({"bar.warp.sync", false, true}, mask, nullptr, nullptr, where);
}
WKV_FN void sync_threads(Where where) { simt::barrier_arrive(0, 0, true, where); }
WKV_FN void barrier_sync(int id, int num_threads, Where where) {
  simt::barrier_arrive(id, num_threads, true, where);
}
WKV_FN void barrier_arrive(int id, int num_threads, Where where) {
  simt::barrier_arrive(id, num_threads, false, where);
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
