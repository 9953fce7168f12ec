// Between mbarrier.cpp and tma.cpp: copies whose bytes an mbarrier counts.

#pragma once

#include <functional>

#include "ptx/mbarrier.h"
#include "simt/runtime.h"

namespace windowkv::inline WKV_MACHINE::ptx {

// The state of an initialised mbarrier; ends the run when there is none.
simt::Mbarrier& find_mbarrier(const Mbarrier& barrier, const char* what, Where where);

// `land` runs when somebody waits for the barrier, in an order that the schedule chooses.
void add_pending_load(simt::Mbarrier& state, std::function<void()> land, Where where);

// `bytes` of the current phase's bytes have come.
void complete_bytes(simt::Mbarrier& state, int64_t bytes, const simt::Site& site);

}  // namespace windowkv::inline WKV_MACHINE::ptx
