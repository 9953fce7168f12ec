#include "common/region.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace windowkv {
namespace {

int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }
int64_t ceil_div(int64_t a, int64_t b) { return -floor_div(-a, b); }

// Without overflow also where a number has not been checked, or has been refused.
int64_t times(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}

// A stride that leads nowhere may be anything.
Region::Axis axis_of(const void* data, int64_t stride, int64_t count, int64_t element_bytes) {
  return {data == nullptr || count <= 1 ? 0 : times(stride, element_bytes), count};
}

// Offsets that are sums of steps along axes, so many of each, as those between the places of two
// regions are. Looks for one between two bounds: along the longest axis first, and only where the
// shorter ones can make up for the rest. For axes that lie inside each other, as those of a tensor
// do, that is one or two counts an axis.
class Steps {
 public:
  // `low` to `high` steps of `stride` bytes. False when there were some of the same size before.
  bool add(int64_t stride, int64_t low, int64_t high) {
    if (stride < 0) {
      stride = -stride;
      low = -std::exchange(high, -low);
    }
    if (stride == 0 || (low == 0 && high == 0)) return true;
    Axis* at = axes_;
    while (at != axes_ + size_ && at->stride > stride) ++at;
    if (at != axes_ + size_ && at->stride == stride) {
      at->low += low;
      at->high += high;
      return false;
    }
    std::copy_backward(at, axes_ + size_, axes_ + size_ + 1);
    ++size_;
    *at = {stride, low, high};
    return true;
  }

  // Whether each axis steps over all that `inner` and the shorter axes reach, as usual.
  bool nested(int64_t inner) const {
    int64_t reach = inner;
    for (int i = size_ - 1; i >= 0; --i) {
      if (axes_[i].stride < reach) return false;
      reach += axes_[i].stride * axes_[i].high;
    }
    return true;
  }

  // Whether some steps lead from `offset` to a place in (low, high).
  bool lead(int64_t offset, int64_t low, int64_t high) {
    tries_ = kMaxTries;
    return from(0, offset, low, high);
  }

  // Whether some steps, not none along every axis, lead from 0 to a place in (-bound, bound). For
  // axes of one sign and its opposite, of which one is enough.
  bool lead_back(int64_t bound) {
    tries_ = kMaxTries;
    for (int first = 0; first < size_; ++first) {
      const Axis axis = axes_[first];
      axes_[first].low = 1;
      const bool found = from(first, 0, -bound, bound);
      axes_[first] = axis;
      if (found) return true;
    }
    return false;
  }

 private:
  struct Axis {
    int64_t stride, low, high;
  };
  // Against axes that interleave in a way that no tensor's do.
  static constexpr int kMaxTries = 2000;

  bool from(int axis, int64_t offset, int64_t low, int64_t high) {
    int64_t least = 0, most = 0;
    for (int i = axis + 1; i < size_; ++i) {
      least += axes_[i].stride * axes_[i].low;
      most += axes_[i].stride * axes_[i].high;
    }
    if (axis == size_) return low < offset && offset < high;
    const auto [stride, axis_low, axis_high] = axes_[axis];
    const int64_t first = std::max(axis_low, ceil_div(low + 1 - most - offset, stride));
    const int64_t last = std::min(axis_high, floor_div(high - 1 - least - offset, stride));
    for (int64_t count = first; count <= last; ++count) {
      if (--tries_ < 0) return false;
      if (from(axis + 1, offset + count * stride, low, high)) return true;
    }
    return false;
  }

  Axis axes_[6];
  int size_ = 0;
  int tries_ = 0;
};

}  // namespace

bool Region::empty() const {
  return data == nullptr || inner <= 0 ||
         std::any_of(std::begin(axes), std::end(axes), [](const Axis& a) { return a.count <= 0; });
}

Region::Range Region::range() const {
  Range range = {address(data), address(data) + inner};
  for (const auto& [stride, count] : axes) {
    const int64_t reach = (count - 1) * stride;
    (reach < 0 ? range.low : range.high) += reach;
  }
  return range;
}

bool Region::overlaps_itself() const {
  if (empty()) return false;
  Steps steps;
  for (const auto& [stride, count] : axes) {
    if (count <= 1) continue;
    if (stride == 0 || !steps.add(stride, 1 - count, count - 1)) return true;
  }
  return !steps.nested(inner) && steps.lead_back(inner);
}

bool Region::overlaps(const Region& other) const {
  if (empty() || other.empty()) return false;
  if (!range().meets(other.range())) return false;
  Steps steps;
  for (const auto& [stride, count] : axes) steps.add(stride, 1 - count, 0);
  for (const auto& [stride, count] : other.axes) steps.add(stride, 0, count - 1);
  return steps.lead(address(other.data) - address(data), -other.inner, inner);
}

bool Region::operator==(const Region& other) const {
  const auto same = [](const Axis& a, const Axis& b) {
    return a.count == b.count && (a.count <= 1 || a.stride == b.stride);
  };
  return data == other.data && inner == other.inner &&
         std::equal(std::begin(axes), std::end(axes), std::begin(other.axes), same);
}

Region bytes_of(const char* name, const void* data, int64_t count, int64_t element_bytes) {
  return {name, data, times(count, element_bytes), {{0, 1}, {0, 1}, {0, 1}}};
}

Region rows_of(const char* name, const void* data, int64_t rows, int64_t stride, int64_t columns,
               int64_t element_bytes) {
  const Region::Axis axis = axis_of(data, stride, rows, element_bytes);
  return {name, data, times(columns, element_bytes), {axis, {0, 1}, {0, 1}}};
}

Region rows_of(const char* name, const void* data, int64_t batch_stride, int64_t head_stride,
               const Counts& counts, int64_t element_bytes) {
  return {name,
          data,
          times(counts.tokens, element_bytes),
          {axis_of(data, batch_stride, counts.batch, element_bytes),
           axis_of(data, head_stride, counts.heads, element_bytes),
           {0, 1}}};
}

Region tensor_of(const char* name, const void* data, const wkv_strides& strides,
                 const Counts& counts, int head_dim) {
  return {name,
          data,
          int64_t{2} * head_dim,
          {axis_of(data, strides.batch, counts.batch, 2),
           axis_of(data, strides.token, counts.tokens, 2),
           axis_of(data, strides.head, counts.heads, 2)}};
}

Region tensor_of(const char* name, const wkv_tensor& tensor, const Counts& counts, int head_dim) {
  return tensor_of(name, tensor.data, tensor.strides, counts, head_dim);
}

Region tensor_of(const char* name, const wkv_rows_f32& rows, const Counts& counts) {
  return rows_of(name, rows.data, rows.batch_stride, rows.head_stride, counts, sizeof(float));
}

}  // namespace windowkv
