#pragma once

namespace windowkv::inline WKV_MACHINE::ptx {

void set_registers(unsigned registers, bool take, Where where);

template <int Registers>
WKV_FN void give_registers(Where where) {
  static_assert(Registers >= 24 && Registers <= 256 && Registers % 8 == 0);
  set_registers(Registers, false, where);
}
template <int Registers>
WKV_FN void take_registers(Where where) {
  static_assert(Registers >= 24 && Registers <= 256 && Registers % 8 == 0);
  set_registers(Registers, true, where);
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
