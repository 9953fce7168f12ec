#pragma once

namespace windowkv::inline WKV_MACHINE::ptx {

void mbarrier_init(Mbarrier& barrier, int count, Where where);
void mbarrier_invalidate(Mbarrier& barrier, Where where);
void mbarrier_arrive(Mbarrier& barrier, Where where);
void mbarrier_arrive_cluster(Mbarrier& barrier, int rank, Where where);
void mbarrier_expect_bytes(Mbarrier& barrier, int bytes, Where where);
void mbarrier_arrive_expect_bytes(Mbarrier& barrier, int bytes, Where where);
bool mbarrier_try_wait(Mbarrier& barrier, int parity, Where where);
void mbarrier_wait(Mbarrier& barrier, int parity, Where where);

}  // namespace windowkv::inline WKV_MACHINE::ptx
