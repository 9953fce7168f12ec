// Launching a kernel on the emulated GPU: what <<<grid, block, shared_bytes>>> is on a real one.

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "simt/runtime.h"

namespace windowkv::simt {

// How the calling OS thread's next launches run.
struct Settings {
  uint64_t seed = 0;     // of the schedule; block i of a launch draws from a generator of its own
  unsigned workers = 0;  // OS threads that share the blocks; 0: one a core
};
void configure(const Settings& settings);

// What the last launch of the calling OS thread did.
struct Statistics {
  uint64_t switches = 0;  // from fiber to fiber
};
Statistics last_statistics();

// Runs `kernel` once in every thread of every block. Empty on success, else what went wrong: a
// launch that a GPU would refuse, or the report that ended the run, with its source line.
std::string launch(const LaunchShape& shape, const std::function<void()>& kernel);

}  // namespace windowkv::simt
