// The shadow of a gang's shared memory: for every byte who wrote it, who read it since, and whether
// an asynchronous instruction has it in its hands. It turns a missing barrier, a read of bytes that
// have not landed and a missing proxy fence into a report, whatever values the run happened to see.

#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "simt/clock.h"
#include "simt/report.h"

namespace windowkv::simt {

class Shadow {
 public:
  // Forgets everything: `bytes` bytes that nobody has written.
  void reset(std::size_t bytes);

  // A plain access by a thread, at an offset into the gang's shared memory.
  void read(const ThreadClock& thread, std::size_t offset, std::size_t bytes, const Site& site);
  void write(const ThreadClock& thread, std::size_t offset, std::size_t bytes, const Site& site);
  // Atomic accesses do not race with one another.
  void atomic(const ThreadClock& thread, std::size_t offset, std::size_t bytes, const Site& site);

  // An asynchronous unit will write these bytes: until write_end nobody may touch them.
  void write_begin(const ThreadClock& thread, std::size_t offset, std::size_t bytes,
                   const Site& site);
  // They have landed, as a write by `actor` in `epoch`; `ordinary` when the asynchronous units need
  // a proxy fence before they read it (cp.async), not when they wrote it themselves (TMA).
  void write_end(unsigned actor, uint32_t epoch, std::size_t offset, std::size_t bytes,
                 bool ordinary);

  // An asynchronous unit reads these bytes: until read_end nobody may write them, and what ordinary
  // stores put there must have passed a proxy fence.
  void read_begin(const ThreadClock& thread, std::size_t offset, std::size_t bytes,
                  const Site& site);
  // The read is over, as a read by `actor` in `epoch`.
  void read_end(unsigned actor, uint32_t epoch, std::size_t offset, std::size_t bytes);

 private:
  static constexpr uint8_t kWritten = 1;
  static constexpr uint8_t kInFlight = 2;
  static constexpr uint8_t kOrdinary = 4;  // last written by an ordinary store
  static constexpr uint8_t kAtomic = 8;

  // An access is packed as actor << 19 | epoch; 0 is "none". Two reads are remembered: with more, a
  // random earlier one gives way.
  struct Cell {
    uint32_t write = 0;
    uint32_t reads[2] = {};
    uint16_t write_site = 0;
    uint16_t read_sites[2] = {};
    uint16_t readers = 0;      // asynchronous reads in flight
    uint16_t reader_site = 0;  // the last of them
    uint8_t flags = 0;
  };

  uint16_t intern(const Site& site);
  static void note_read(Cell& cell, uint32_t access, uint16_t site);
  void check_readable(const ThreadClock& thread, const Cell& cell, std::size_t offset,
                      const Site& site, const char* verb) const;
  void check_writable(const ThreadClock& thread, const Cell& cell, std::size_t offset,
                      const Site& site, const char* verb, bool atomic) const;
  [[noreturn]] void race(const char* verb, std::size_t offset, const char* earlier_verb,
                         uint32_t earlier, uint16_t earlier_site, const Site& site) const;

  std::vector<Cell> cells_;
  std::vector<Site> sites_;
  std::unordered_map<uint64_t, uint16_t> site_index_;
  Site last_site_;
  uint16_t last_site_index_ = 0;
};

}  // namespace windowkv::simt
