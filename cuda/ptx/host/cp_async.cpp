#include "ptx/cp_async.h"

#include <cstring>

#include "simt/runtime.h"

namespace windowkv::inline WKV_MACHINE::ptx {
namespace {

void land(simt::Thread& thread, const simt::PendingCopy& copy) {
  simt::checks::annotate_landed(copy.target, copy.bytes);
  simt::checks::annotate_read(copy.source, copy.source_bytes);
  simt::checks::annotate_write(copy.target, copy.bytes);
  std::memcpy(copy.target, copy.source, copy.source_bytes);
  std::memset(copy.target + copy.source_bytes, 0, copy.bytes - copy.source_bytes);
  if constexpr (simt::checks::kShadow) {
    simt::Gang& gang = *thread.gang;
    gang.shadow.write_end(thread.clock.actor, thread.clock.epoch, copy.target - gang.shared,
                          copy.bytes, true);
  }
}

}  // namespace

void copy_async(void* shared, const void* global, int bytes, int source_bytes, Where where) {
  simt::Thread& thread = simt::self();
  simt::require_shared(shared, bytes, bytes, "cp.async", where);
  if (source_bytes < 0 || source_bytes > bytes) {
    simt::fail(where,
               simt::format("cp.async: source_bytes %d is not in [0, %d]", source_bytes, bytes));
  }
  // The address of a copy of nothing too: PTX leaves a misaligned one undefined.
  if (reinterpret_cast<uintptr_t>(global) % bytes != 0) {
    simt::fail(where, simt::format("cp.async: the global address is not a multiple of %d", bytes));
  }
  auto* target = static_cast<std::byte*>(shared);
  if constexpr (simt::checks::kShadow) {
    thread.gang->shadow.write_begin(thread.clock, target - thread.gang->shared, bytes, where);
  }
  simt::checks::annotate_write(target, bytes);
  simt::checks::annotate_landed(target, bytes);
  std::memset(target, 0xff, bytes);
  simt::checks::annotate_in_flight(target, bytes);
  thread.open_copies.push_back({target, static_cast<const std::byte*>(global),
                                static_cast<unsigned>(bytes), static_cast<unsigned>(source_bytes),
                                where});
}

void cp_async_commit(Where) {
  simt::Thread& thread = simt::self();
  thread.copy_groups.push_back(std::move(thread.open_copies));
  thread.open_copies.clear();
}

void copy_async_wait(int pending_groups) {
  simt::Thread& thread = simt::self();
  auto& groups = thread.copy_groups;
  const std::size_t pending = static_cast<std::size_t>(pending_groups);
  if (groups.size() <= pending) return;
  const auto end = groups.end() - static_cast<std::ptrdiff_t>(pending);
  for (auto group = groups.begin(); group != end; ++group) {
    for (const simt::PendingCopy& copy : *group) land(thread, copy);
  }
  groups.erase(groups.begin(), end);
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
