// Moving registers from one warpgroup to another.
//
// PTX: setmaxnreg.{inc,dec}.sync.aligned.u32 ("Miscellaneous Instructions: setmaxnreg"). SM: 90a.
// Called by all threads of a warpgroup, from the same line. Takes effect only in a kernel with
// __launch_bounds__(threads, 1), where each warpgroup's role is one branch of a single if.

#pragma once

#include "ptx/machine.h"

namespace windowkv::inline WKV_MACHINE::ptx {

// Registers a thread: a multiple of 8 in [24, 256].
template <int Registers>
WKV_PTX void give_registers(Where where = {});
// Waits until so many registers are free.
template <int Registers>
WKV_PTX void take_registers(Where where = {});

}  // namespace windowkv::inline WKV_MACHINE::ptx

#include WKV_MACHINE_HEADER(registers)
