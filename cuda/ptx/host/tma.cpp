#include "ptx/tma.h"

#include <cstring>
#include <vector>

#include "ptx/host/pending.h"
#include "ptx/thread.h"
#include "simt/runtime.h"

namespace windowkv::inline WKV_MACHINE::ptx {
namespace {

// One box of one tensor, and where its rows lie on both sides.
struct Box {
  EncodedTensorMap map;
  int64_t origin[kMaxTensorRank] = {};
  std::byte* shared = nullptr;

  std::size_t row_bytes() const { return map.box[0] * pitch(); }
  std::size_t num_rows() const { return std::size_t{map.box[1]} * map.box[2] * map.box[3]; }
  std::size_t bytes() const { return row_bytes() * num_rows(); }
  std::size_t pitch() const {
    return static_cast<std::size_t>(element_bytes(static_cast<Element>(map.element)));
  }

  // The shared address of byte `offset` of the box. The swizzle works on address bits.
  std::byte* at(std::size_t offset) const {
    const uint32_t plain = shared_address(shared) + static_cast<uint32_t>(offset);
    const uint32_t moved = swizzled(static_cast<Swizzle>(map.swizzle), plain);
    return shared + offset +
           (static_cast<std::ptrdiff_t>(moved) - static_cast<std::ptrdiff_t>(plain));
  }

  // The global address of element 0 of the tensor's row under row `row` of the box; null when the
  // row lies outside the tensor.
  std::byte* global_row(std::size_t row) const {
    uint64_t position[kMaxTensorRank] = {0, row % map.box[1], row / map.box[1] % map.box[2],
                                         row / map.box[1] / map.box[2]};
    auto* address = static_cast<std::byte*>(const_cast<void*>(map.base));
    for (int i = 1; i < kMaxTensorRank; ++i) {
      const int64_t c = origin[i] + static_cast<int64_t>(position[i]);
      if (c < 0 || static_cast<uint64_t>(c) > map.last[i]) return nullptr;
      address += static_cast<uint64_t>(c) * map.stride_bytes[i];
    }
    return address;
  }

  bool inside(std::size_t column) const {
    const int64_t c = origin[0] + static_cast<int64_t>(column);
    return c >= 0 && static_cast<uint64_t>(c) <= map.last[0];
  }
};

Box open_box(const TensorMap& map, const void* shared, const int* coordinates, int rank,
             const char* what, Where where) {
  Box box;
  std::memcpy(&box.map, &map, sizeof(box.map));
  if (box.map.magic != EncodedTensorMap::kMagic) {
    simt::fail(where, simt::format("%s: this tensor map was never encoded", what));
  }
  if (box.map.rank != rank) {
    simt::fail(where, simt::format("%s: %d coordinates for a tensor of rank %d", what, rank,
                                   box.map.rank));
  }
  for (int i = 0; i < rank; ++i) box.origin[i] = coordinates[i];
  box.shared = static_cast<std::byte*>(const_cast<void*>(shared));
  const auto swizzle = static_cast<Swizzle>(box.map.swizzle);
  const std::size_t alignment =
      swizzle == Swizzle::kNone ? 128 : static_cast<std::size_t>(swizzle_bytes(swizzle)) * 8;
  simt::require_shared(shared, box.bytes(), alignment, what, where, false);
  return box;
}

void fill(std::byte* target, std::size_t bytes, const EncodedTensorMap& map) {
  std::memset(target, 0, bytes);
  if (static_cast<Fill>(map.fill) != Fill::kNan) return;
  for (std::size_t i = 0; i < bytes; i += 2) {
    const uint16_t half = 0x7fff;
    const uint32_t single = 0x7fffffff;
    if (static_cast<Element>(map.element) == Element::kFloat) {
      if (i % 4 == 0) std::memcpy(target + i, &single, 4);
    } else {
      std::memcpy(target + i, &half, 2);
    }
  }
}

// Copies the box into shared memory, 16 bytes at a time as the swizzle moves them.
void read_global(const Box& box) {
  simt::checks::annotate_landed(box.shared, box.bytes());
  simt::checks::annotate_write(box.shared, box.bytes());
  std::vector<std::byte> row(box.row_bytes());
  for (std::size_t r = 0; r < box.num_rows(); ++r) {
    fill(row.data(), row.size(), box.map);
    const std::byte* source = box.global_row(r);
    for (std::size_t column = 0; source != nullptr && column < box.map.box[0]; ++column) {
      if (!box.inside(column)) continue;
      const std::byte* element = source + (box.origin[0] + static_cast<int64_t>(column)) *
                                              static_cast<int64_t>(box.pitch());
      simt::checks::annotate_read(element, box.pitch());
      std::memcpy(row.data() + column * box.pitch(), element, box.pitch());
    }
    for (std::size_t i = 0; i < row.size(); i += 16) {
      std::memcpy(box.at(r * row.size() + i), row.data() + i, 16);
    }
  }
}

void write_global(const Box& box, const std::vector<std::byte>& bytes) {
  for (std::size_t r = 0; r < box.num_rows(); ++r) {
    std::byte* target = box.global_row(r);
    for (std::size_t column = 0; target != nullptr && column < box.map.box[0]; ++column) {
      if (!box.inside(column)) continue;
      std::byte* element = target + (box.origin[0] + static_cast<int64_t>(column)) *
                                        static_cast<int64_t>(box.pitch());
      simt::checks::annotate_write(element, box.pitch());
      std::memcpy(element, bytes.data() + r * box.row_bytes() + column * box.pitch(), box.pitch());
    }
  }
}

void load_into(const Box& box, Mbarrier& barrier, Where where) {
  simt::Thread& thread = simt::self();
  simt::Mbarrier& state = find_mbarrier(barrier, "TMA load", where);
  if (!state.published) {
    simt::fail(where, simt::format("TMA load: no fence.mbarrier_init or fence.proxy.async has made "
                                   "the mbarrier initialised at %s visible to it",
                                   simt::to_string(state.site).c_str()));
  }
  if constexpr (simt::checks::kShadow) {
    thread.gang->shadow.write_begin(thread.clock, box.shared - thread.gang->shared, box.bytes(),
                                    where);
  }
  simt::checks::annotate_write(box.shared, box.bytes());
  simt::checks::annotate_landed(box.shared, box.bytes());
  std::memset(box.shared, 0xff, box.bytes());
  simt::checks::annotate_in_flight(box.shared, box.bytes());
  auto issued = std::make_shared<char>();
  simt::checks::annotate_release(issued.get());
  add_pending_load(
      state,
      [box, &state, issued, site = simt::Site(where)] {
        simt::checks::as_async_unit(issued.get(), &state, [&] { read_global(box); });
        if constexpr (simt::checks::kShadow) {
          simt::Gang& gang = *state.block->gang;
          const unsigned actor = gang.copy_actor(state.slot);
          gang.shadow.write_end(actor, ++state.async_epoch, box.shared - gang.shared, box.bytes(),
                                false);
          state.sync.release_actor(actor, state.async_epoch);
        }
        complete_bytes(state, static_cast<int64_t>(box.bytes()), site);
      },
      where);
}

}  // namespace

void load_box(void* shared, const TensorMap& map, Mbarrier& barrier, const int* coordinates,
              int rank, uint16_t blocks, Where where) {
  simt::Thread& thread = simt::self();
  Box box = open_box(map, shared, coordinates, rank, "TMA load", where);
  if (blocks == 0) {
    load_into(box, barrier, where);
    return;
  }
  const int num_blocks = static_cast<int>(thread.gang->blocks.size());
  if (blocks >> num_blocks != 0) {
    simt::fail(where,
               simt::format("TMA load: the mask 0x%x names blocks outside the cluster", blocks));
  }
  for (int rank_to = 0; rank_to < num_blocks; ++rank_to) {
    if (!(blocks >> rank_to & 1)) continue;
    const std::ptrdiff_t distance = (rank_to - static_cast<int>(thread.block->rank)) *
                                    static_cast<std::ptrdiff_t>(simt::kSharedStride);
    Box target = box;
    target.shared += distance;
    load_into(target,
              *reinterpret_cast<Mbarrier*>(reinterpret_cast<std::byte*>(&barrier) + distance),
              where);
  }
}

void store_box(const TensorMap& map, const void* shared, const int* coordinates, int rank,
               Where where) {
  simt::Thread& thread = simt::self();
  const Box box = open_box(map, shared, coordinates, rank, "TMA store", where);
  simt::Gang& gang = *thread.gang;
  if constexpr (simt::checks::kShadow) {
    gang.shadow.read_begin(thread.clock, box.shared - gang.shared, box.bytes(), where);
  }
  simt::checks::annotate_read(box.shared, box.bytes());
  auto bytes = std::make_shared<std::vector<std::byte>>();
  auto issued = std::make_shared<char>();
  simt::checks::annotate_release(issued.get());
  simt::PendingStore store;
  store.read = [box, bytes, issued, &thread] {
    bytes->resize(box.bytes());
    simt::checks::as_async_unit(issued.get(), issued.get(), [&] {
      simt::checks::annotate_read(box.shared, box.bytes());
      for (std::size_t i = 0; i < bytes->size(); i += 16) {
        std::memcpy(bytes->data() + i, box.at(i), 16);
      }
    });
    simt::checks::annotate_acquire(issued.get());
    if constexpr (simt::checks::kShadow) {
      thread.gang->shadow.read_end(thread.clock.actor, thread.clock.epoch,
                                   box.shared - thread.gang->shared, box.bytes());
    }
  };
  store.write = [box, bytes, issued] {
    simt::checks::as_async_unit(issued.get(), issued.get(), [&] { write_global(box, *bytes); });
    simt::checks::annotate_acquire(issued.get());
  };
  store.site = where;
  thread.open_stores.push_back(std::move(store));
}

void tma_store_commit(Where) {
  simt::Thread& thread = simt::self();
  thread.store_groups.push_back(std::move(thread.open_stores));
  thread.open_stores.clear();
}

void wait_stores(int pending_groups, bool written) {
  auto& groups = simt::self().store_groups;
  const std::size_t pending = static_cast<std::size_t>(pending_groups);
  if (groups.size() <= pending) return;
  const std::size_t done = groups.size() - pending;
  for (std::size_t i = 0; i < done; ++i) {
    for (simt::PendingStore& store : groups[i]) {
      if (store.read) store.read();
      store.read = nullptr;
      if (written) store.write();
    }
  }
  if (written) groups.erase(groups.begin(), groups.begin() + static_cast<std::ptrdiff_t>(done));
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
