#include "simt/shadow.h"

#include "simt/runtime.h"

namespace windowkv::simt {
namespace {

constexpr unsigned kEpochBits = 19;
constexpr uint32_t kEpochMask = (1u << kEpochBits) - 1;

uint32_t pack(unsigned actor, uint32_t epoch) { return actor << kEpochBits | epoch; }
unsigned actor_of(uint32_t access) { return access >> kEpochBits; }

bool happens_before(uint32_t access, const ThreadClock& thread) {
  const unsigned actor = actor_of(access);
  return access == 0 || actor == thread.actor || thread.base[actor] >= (access & kEpochMask);
}

}  // namespace

void Shadow::reset(std::size_t bytes) {
  cells_.assign(bytes, Cell{});
  sites_.assign(1, Site{});
  site_index_.clear();
  last_site_ = {};
  last_site_index_ = 0;
}

uint16_t Shadow::intern(const Site& site) {
  if (site == last_site_) return last_site_index_;
  const uint64_t key = site.pc != nullptr
                           ? reinterpret_cast<uint64_t>(site.pc)
                           : reinterpret_cast<uint64_t>(site.file) * 65599 + site.line;
  const auto [found, fresh] = site_index_.try_emplace(key, static_cast<uint16_t>(sites_.size()));
  // Beyond 65,535 positions the earlier side of a race is reported without its line.
  if (fresh && sites_.size() > 0xffff) return 0;
  if (fresh) sites_.push_back(site);
  last_site_ = site;
  last_site_index_ = found->second;
  return last_site_index_;
}

void Shadow::race(const char* verb, std::size_t offset, const char* earlier_verb, uint32_t earlier,
                  uint16_t earlier_site, const Site& site) const {
  fail(site, format("data race: %s byte %zu of shared memory, which %s %s at %s, with no barrier "
                    "in between",
                    verb, self().gang->offset_in_block(offset),
                    self().gang->actor_name(actor_of(earlier)).c_str(), earlier_verb,
                    to_string(sites_[earlier_site]).c_str()));
}

void Shadow::check_readable(const ThreadClock& thread, const Cell& cell, std::size_t offset,
                            const Site& site, const char* verb) const {
  if (cell.flags & kInFlight) {
    fail(site, format("%s byte %zu of shared memory, which the asynchronous copy issued at %s has "
                      "not written yet",
                      verb, self().gang->offset_in_block(offset),
                      to_string(sites_[cell.write_site]).c_str()));
  }
  if (!(cell.flags & kWritten)) {
    fail(site, format("%s byte %zu of shared memory, which nothing has written", verb,
                      self().gang->offset_in_block(offset)));
  }
  if (!happens_before(cell.write, thread)) {
    race(verb, offset, "wrote", cell.write, cell.write_site, site);
  }
}

void Shadow::check_writable(const ThreadClock& thread, const Cell& cell, std::size_t offset,
                            const Site& site, const char* verb, bool atomic) const {
  if (cell.flags & kInFlight) {
    fail(site, format("%s byte %zu of shared memory, which the asynchronous copy issued at %s has "
                      "not written yet",
                      verb, self().gang->offset_in_block(offset),
                      to_string(sites_[cell.write_site]).c_str()));
  }
  if (cell.readers != 0) {
    fail(site, format("%s byte %zu of shared memory while the asynchronous operation issued at %s "
                      "still reads it",
                      verb, self().gang->offset_in_block(offset),
                      to_string(sites_[cell.reader_site]).c_str()));
  }
  if (!(atomic && (cell.flags & kAtomic)) && !happens_before(cell.write, thread)) {
    race(verb, offset, "wrote", cell.write, cell.write_site, site);
  }
  for (int i = 0; i < 2; ++i) {
    if (!happens_before(cell.reads[i], thread)) {
      race(verb, offset, "read", cell.reads[i], cell.read_sites[i], site);
    }
  }
}

// One of the two remembered reads gives way: that of the same actor, else an empty place, else any.
void Shadow::note_read(Cell& cell, uint32_t access, uint16_t site) {
  int slot = (access ^ access >> kEpochBits) & 1;
  for (int i = 1; i >= 0; --i) {
    if (cell.reads[i] == 0) slot = i;
  }
  for (int i = 0; i < 2; ++i) {
    if (cell.reads[i] != 0 && actor_of(cell.reads[i]) == actor_of(access)) slot = i;
  }
  cell.reads[slot] = access;
  cell.read_sites[slot] = site;
}

void Shadow::read(const ThreadClock& thread, std::size_t offset, std::size_t bytes,
                  const Site& site) {
  const uint16_t site_index = intern(site);
  const uint32_t access = pack(thread.actor, thread.epoch);
  uint32_t checked = 0;  // the write that the previous byte was found to come after
  for (std::size_t i = offset; i < offset + bytes; ++i) {
    Cell& cell = cells_[i];
    if (cell.write != checked || checked == 0 || (cell.flags & kInFlight)) {
      check_readable(thread, cell, i, site, "reads");
      checked = cell.write;
    }
    if (cell.reads[0] != access) note_read(cell, access, site_index);
  }
}

void Shadow::write(const ThreadClock& thread, std::size_t offset, std::size_t bytes,
                   const Site& site) {
  const uint16_t site_index = intern(site);
  for (std::size_t i = offset; i < offset + bytes; ++i) {
    Cell& cell = cells_[i];
    check_writable(thread, cell, i, site, "writes", false);
    cell = {.write = pack(thread.actor, thread.epoch),
            .write_site = site_index,
            .flags = kWritten | kOrdinary};
  }
}

void Shadow::atomic(const ThreadClock& thread, std::size_t offset, std::size_t bytes,
                    const Site& site) {
  const uint16_t site_index = intern(site);
  for (std::size_t i = offset; i < offset + bytes; ++i) {
    Cell& cell = cells_[i];
    if (!(cell.flags & kWritten)) check_readable(thread, cell, i, site, "updates");
    check_writable(thread, cell, i, site, "updates", true);
    cell = {.write = pack(thread.actor, thread.epoch),
            .write_site = site_index,
            .flags = kWritten | kOrdinary | kAtomic};
  }
}

void Shadow::write_begin(const ThreadClock& thread, std::size_t offset, std::size_t bytes,
                         const Site& site) {
  const uint16_t site_index = intern(site);
  for (std::size_t i = offset; i < offset + bytes; ++i) {
    Cell& cell = cells_[i];
    check_writable(thread, cell, i, site, "copies asynchronously to", false);
    cell = {
        .write = pack(thread.actor, thread.epoch), .write_site = site_index, .flags = kInFlight};
  }
}

void Shadow::write_end(unsigned actor, uint32_t epoch, std::size_t offset, std::size_t bytes,
                       bool ordinary) {
  for (std::size_t i = offset; i < offset + bytes; ++i) {
    cells_[i].write = pack(actor, epoch);
    cells_[i].flags = ordinary ? kWritten | kOrdinary : kWritten;
  }
}

void Shadow::read_begin(const ThreadClock& thread, std::size_t offset, std::size_t bytes,
                        const Site& site) {
  const uint16_t site_index = intern(site);
  uint32_t checked = 0;
  for (std::size_t i = offset; i < offset + bytes; ++i) {
    Cell& cell = cells_[i];
    if (cell.write != checked || checked == 0 || (cell.flags & kInFlight)) {
      check_readable(thread, cell, i, site, "reads asynchronously");
      if ((cell.flags & kOrdinary) &&
          thread.visible[actor_of(cell.write)] < (cell.write & kEpochMask)) {
        fail(site, format("reads asynchronously byte %zu of shared memory, which %s wrote with an "
                          "ordinary store at %s and no fence.proxy.async has made visible",
                          self().gang->offset_in_block(i),
                          self().gang->actor_name(actor_of(cell.write)).c_str(),
                          to_string(sites_[cell.write_site]).c_str()));
      }
      checked = cell.write;
    }
    if (++cell.readers == 0) fail(site, "more than 65,535 asynchronous reads of a byte in flight");
    cell.reader_site = site_index;
  }
}

void Shadow::read_end(unsigned actor, uint32_t epoch, std::size_t offset, std::size_t bytes) {
  for (std::size_t i = offset; i < offset + bytes; ++i) {
    --cells_[i].readers;
    note_read(cells_[i], pack(actor, epoch), cells_[i].reader_site);
  }
}

}  // namespace windowkv::simt
