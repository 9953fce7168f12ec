// Votes and reductions of the lanes of a warp.
//
// PTX: vote.sync.{all,any,ballot} and match.any.sync ("Parallel Synchronization and Communication
// Instructions"), SM 30 and 70; redux.sync.{add,min,max,and,or,xor}, SM 80. Called by every lane in
// `mask`, with the same mask. No memory is ordered.

#pragma once

#include "ptx/machine.h"
#include "ptx/shuffle.h"

namespace windowkv::inline WKV_MACHINE::ptx {

WKV_PTX bool vote_all(bool predicate, uint32_t mask = kFullWarp, Where where = {});
WKV_PTX bool vote_any(bool predicate, uint32_t mask = kFullWarp, Where where = {});
// Bit i: the predicate of lane i; 0 for lanes outside the mask.
WKV_PTX uint32_t ballot(bool predicate, uint32_t mask = kFullWarp, Where where = {});
// The lanes of the mask that brought the same value.
WKV_PTX uint32_t match_any(uint32_t value, uint32_t mask = kFullWarp, Where where = {});

// The sum (modulo 2^32), minimum or maximum of the lanes' values, in every lane.
WKV_PTX uint32_t reduce_add(uint32_t value, uint32_t mask = kFullWarp, Where where = {});
WKV_PTX uint32_t reduce_min(uint32_t value, uint32_t mask = kFullWarp, Where where = {});
WKV_PTX uint32_t reduce_max(uint32_t value, uint32_t mask = kFullWarp, Where where = {});
WKV_PTX int32_t reduce_min(int32_t value, uint32_t mask = kFullWarp, Where where = {});
WKV_PTX int32_t reduce_max(int32_t value, uint32_t mask = kFullWarp, Where where = {});
WKV_PTX uint32_t reduce_and(uint32_t value, uint32_t mask = kFullWarp, Where where = {});
WKV_PTX uint32_t reduce_or(uint32_t value, uint32_t mask = kFullWarp, Where where = {});
WKV_PTX uint32_t reduce_xor(uint32_t value, uint32_t mask = kFullWarp, Where where = {});

}  // namespace windowkv::inline WKV_MACHINE::ptx

#include WKV_MACHINE_HEADER(vote)
