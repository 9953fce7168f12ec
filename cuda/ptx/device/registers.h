#pragma once

namespace windowkv::inline WKV_MACHINE::ptx {

template <int Registers>
WKV_FN void give_registers(Where) {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(Registers));
}
template <int Registers>
WKV_FN void take_registers(Where) {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(Registers));
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
