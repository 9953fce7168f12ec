#pragma once

namespace windowkv::inline WKV_MACHINE::ptx {

void copy_async(void* shared, const void* global, int bytes, int source_bytes, Where where);
void copy_async_wait(int pending_groups);
void cp_async_commit(Where where);

template <int Bytes>
WKV_FN void cp_async(void* shared, const void* global, int source_bytes, Where where) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16);
  copy_async(shared, global, Bytes, source_bytes, where);
}
template <int N>
WKV_FN void cp_async_wait(Where) {
  static_assert(N >= 0);
  copy_async_wait(N);
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
