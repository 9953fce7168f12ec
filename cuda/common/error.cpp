#include "common/error.h"

#include <utility>

namespace windowkv {
namespace {

thread_local std::string last_message;

}  // namespace

wkv_status set_error(wkv_status status, std::string message) {
  last_message = std::move(message);
  return status;
}

}  // namespace windowkv

extern "C" int wkv_abi_version(void) { return WKV_ABI_VERSION; }
extern "C" const char* wkv_last_error(void) { return windowkv::last_message.c_str(); }
