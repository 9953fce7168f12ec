// Where something happened in a kernel's source, and the error that ends a run of the emulated GPU.

#pragma once

#include <string>

#include "ptx/machine.h"

namespace windowkv::simt {

// A source position: of a call of one of the ptx functions (file and line), or of a plain memory
// access in an instrumented kernel (its return address, turned into file and line when printed).
struct Site {
  const char* file = nullptr;
  unsigned line = 0;
  void* pc = nullptr;

  Site() = default;
  Site(Where where) : file(where.file), line(where.line) {}
  explicit Site(void* address) : pc(address) {}

  bool operator==(const Site&) const = default;
};

// "kernel.cuh:57", or the function and offset when the program carries no line table.
std::string to_string(const Site& site);

// Ends the run of the calling thread's gang with `text`, prefixed with the position and the thread.
// Never returns: the fibers of the gang are abandoned, and launch() returns the error.
[[noreturn]] void fail(const Site& site, std::string text);

// printf into a string.
[[gnu::format(printf, 1, 2)]] std::string format(const char* pattern, ...);

}  // namespace windowkv::simt
