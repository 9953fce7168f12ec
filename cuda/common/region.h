// Where the elements of a parameter lie, and whether two parameters have a place in common. Host
// only.

#pragma once

#include <cstdint>

#include "windowkv.h"

namespace windowkv {

// How many sequences (or pages), tokens and heads lie one stride apart.
struct Counts {
  int64_t batch, tokens, heads;

  bool any() const { return batch > 0 && tokens > 0 && heads > 0; }
};

inline int64_t address(const void* data) {
  return static_cast<int64_t>(reinterpret_cast<uintptr_t>(data));
}

// `inner` bytes side by side, at each place that steps along the axes lead to from `data` on.
// Nothing when there is no data, or a count or `inner` is 0.
struct Region {
  struct Axis {
    int64_t stride, count;  // bytes
  };

  const char* name;
  const void* data;
  int64_t inner;
  Axis axes[3];
  // Among what a call reads: what it writes may be this very region.
  bool may_be_written = false;

  // Addresses of the first byte and of the one behind the last.
  struct Range {
    int64_t low, high;

    bool meets(const Range& other) const { return low < other.high && other.low < high; }
  };

  bool empty() const;
  Range range() const;
  // Whether steps lead to one place twice.
  bool overlaps_itself() const;
  // Whether they have a byte in common. What takes long to find out is taken for no.
  bool overlaps(const Region& other) const;
  // The same places, reached by the same steps.
  bool operator==(const Region& other) const;

  Region replaceable() const {
    Region region = *this;
    region.may_be_written = true;
    return region;
  }
};

Region bytes_of(const char* name, const void* data, int64_t count, int64_t element_bytes = 1);
// `count` elements side by side.
template <class T>
Region list_of(const char* name, const T* data, int64_t count) {
  return bytes_of(name, data, count, sizeof(T));
}
// Rows `stride` elements apart.
Region rows_of(const char* name, const void* data, int64_t rows, int64_t stride, int64_t columns,
               int64_t element_bytes);
// Rows of so many tokens, one of each head of each sequence.
Region rows_of(const char* name, const void* data, int64_t batch_stride, int64_t head_stride,
               const Counts& counts, int64_t element_bytes);
// A half-precision tensor, whose strides lead to as many places as there are counts.
Region tensor_of(const char* name, const void* data, const wkv_strides& strides,
                 const Counts& counts, int head_dim);
Region tensor_of(const char* name, const wkv_tensor& tensor, const Counts& counts, int head_dim);
// float32 numbers of each head and token.
Region tensor_of(const char* name, const wkv_rows_f32& rows, const Counts& counts);

}  // namespace windowkv
