// Launching from an emulate.cpp.

#pragma once

#include <utility>

#include "common/error.h"
#include "simt/launch.h"

namespace windowkv {

template <class Body>
int emulate(const simt::LaunchShape& shape, const Body& body) {
  std::string error = simt::launch(shape, body);
  if (error.empty()) return WKV_OK;
  return set_error(WKV_EMULATOR_REPORT, std::move(error));
}

}  // namespace windowkv
