// The status and message of a failed call.

#pragma once

#include <string>

#include "windowkv.h"

namespace windowkv {

// Keeps the message for wkv_last_error() of the calling OS thread and returns the status.
wkv_status set_error(wkv_status status, std::string message);

}  // namespace windowkv
