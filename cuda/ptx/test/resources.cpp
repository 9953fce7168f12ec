// Prints what the launches of the probes ask for, as every resources.cpp does for the occupancy
// table of .ci/cuda-compile.sh: kernel, threads of a block, bytes of dynamic shared memory. The
// kernels themselves are not referred to, so that the linker can leave them out with what they
// call.

#include <cstdio>
#include <string_view>
#include <utility>

#include "ptx/test/probes.cuh"
#include "ptx/test/probes_sm90a.cuh"

namespace {

using namespace windowkv::probe;

// A template's arguments are left out: all its kernels ask for the same.
template <auto kKernel, int kThreads, size_t kSharedBytes>
void print() {
  constexpr std::string_view kMark = "kKernel = ";
  std::string_view name = __PRETTY_FUNCTION__;
  name.remove_prefix(name.find(kMark) + kMark.size());
  name = name.substr(0, name.find_first_of("<;,]"));
  name.remove_prefix(name.rfind(':') + 1);
  std::printf("%.*s %d %zu\n", static_cast<int>(name.size()), name.data(), kThreads, kSharedBytes);
}

template <const auto& kTable, size_t... kIndices>
void print_all(std::index_sequence<kIndices...>) {
  (print<kTable[kIndices].kernel, kTable[kIndices].threads, kTable[kIndices].shared_bytes>(), ...);
}

}  // namespace

int main() {
  print_all<kProbes>(std::make_index_sequence<std::size(kProbes)>());
  print_all<kProbesSm90a>(std::make_index_sequence<std::size(kProbesSm90a)>());
}
