#pragma once

namespace windowkv::inline WKV_MACHINE::ptx {

void load_box(void* shared, const TensorMap& map, Mbarrier& barrier, const int* coordinates,
              int rank, uint16_t blocks, Where where);
void store_box(const TensorMap& map, const void* shared, const int* coordinates, int rank,
               Where where);
void tma_store_commit(Where where);
void wait_stores(int pending_groups, bool written);

template <int Rank>
WKV_FN void tma_load(void* shared, const TensorMap& map, Mbarrier& barrier,
                     const int (&coordinates)[Rank], Where where) {
  load_box(shared, map, barrier, coordinates, Rank, 0, where);
}
template <int Rank>
WKV_FN void tma_load_multicast(void* shared, const TensorMap& map, Mbarrier& barrier,
                               const int (&coordinates)[Rank], uint16_t blocks, Where where) {
  load_box(shared, map, barrier, coordinates, Rank, blocks, where);
}
template <int Rank>
WKV_FN void tma_store(const TensorMap& map, const void* shared, const int (&coordinates)[Rank],
                      Where where) {
  store_box(map, shared, coordinates, Rank, where);
}
template <int N>
WKV_FN void tma_store_wait_read(Where) {
  wait_stores(N, false);
}
template <int N>
WKV_FN void tma_store_wait(Where) {
  wait_stores(N, true);
}
WKV_FN void tma_prefetch(const TensorMap&) {}

}  // namespace windowkv::inline WKV_MACHINE::ptx
