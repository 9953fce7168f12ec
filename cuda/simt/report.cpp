#include "simt/report.h"

#include <dlfcn.h>

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <unordered_map>

#include "simt/runtime.h"

namespace windowkv::simt {
namespace {

// The last two parts of a path: enough to tell reduction/kernel.cuh from mma_product/kernel.cuh.
const char* short_path(const char* path) {
  const char* cut = path;
  int slashes = 0;
  for (const char* at = path + std::strlen(path); at > path; --at) {
    if (at[-1] == '/' && ++slashes == 2) {
      cut = at;
      break;
    }
  }
  return cut;
}

// File and line of a code address, as binutils' addr2line sees them; empty when it cannot tell.
std::string source_line(const char* module, uintptr_t offset) {
  for (const char* quote = module; *quote != 0; ++quote) {
    if (*quote == '\'') return {};
  }
  std::string command = format("addr2line -e '%s' 0x%zx 2>/dev/null", module, offset);
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return {};
  char line[1024] = {};
  const bool read = std::fgets(line, sizeof(line), pipe) != nullptr;
  pclose(pipe);
  if (!read || line[0] == '?') return {};
  line[std::strcspn(line, " \n")] = 0;
  return short_path(line);
}

}  // namespace

std::string format(const char* pattern, ...) {
  va_list arguments;
  va_start(arguments, pattern);
  va_list again;
  va_copy(again, arguments);
  const int length = std::vsnprintf(nullptr, 0, pattern, arguments);
  va_end(arguments);
  std::string text(length < 0 ? 0 : length, 0);
  std::vsnprintf(text.data(), text.size() + 1, pattern, again);
  va_end(again);
  return text;
}

std::string to_string(const Site& site) {
  if (site.file != nullptr) return format("%s:%u", short_path(site.file), site.line);
  if (site.pc == nullptr) return "an unknown line";
  Dl_info info = {};
  // One byte back, into the call that made the report.
  const auto address = reinterpret_cast<uintptr_t>(site.pc) - 1;
  if (dladdr(reinterpret_cast<void*>(address), &info) == 0 || info.dli_fname == nullptr) {
    return format("%p", site.pc);
  }
  // addr2line reads the whole line table each time, so each address is asked for once.
  static std::mutex mutex;
  static std::unordered_map<uintptr_t, std::string> known;
  std::lock_guard lock(mutex);
  std::string& text = known[address];
  if (!text.empty()) return text;
  const auto base = reinterpret_cast<uintptr_t>(info.dli_fbase);
  text = source_line(info.dli_fname, address - base);
  if (text.empty()) text = source_line(info.dli_fname, address);  // not position-independent
  if (text.empty()) text = format("%s+0x%zx", short_path(info.dli_fname), address - base);
  return text;
}

void fail(const Site& site, std::string text) {
  Thread& thread = self();
  Gang& gang = *thread.gang;
  gang.error =
      format("%s: %s (%s, schedule seed %llu)", to_string(site).c_str(), text.c_str(),
             thread_name(thread).c_str(), static_cast<unsigned long long>(gang.launch_seed));
  Fiber::switch_to(thread.fiber, gang.main, true);
  __builtin_unreachable();
}

}  // namespace windowkv::simt
