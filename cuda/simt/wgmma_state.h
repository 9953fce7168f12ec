// What the checks ask about the wgmma in flight; ptx/host/wgmma.cpp answers.

#pragma once

#include "simt/runtime.h"

namespace windowkv::simt {

// Is this one of the thread's accumulators that a wgmma in flight owns?
bool wgmma_owns(const WgmmaState& state, const Thread& thread, const void* pointer);

}  // namespace windowkv::simt
