#include "ptx/thread.h"

namespace windowkv::inline WKV_MACHINE::ptx {

void check_shared_plan(std::size_t bytes) {
  const std::size_t given = simt::self().gang->shape.shared_bytes;
  if (bytes > given) {
    simt::fail({},
               simt::format("the kernel's plan of shared memory has %zu bytes, the launch gave %zu",
                            bytes, given));
  }
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
