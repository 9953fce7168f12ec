// Checks of parameters that both launchers of a kernel share. Host only.

#pragma once

#include <cstdarg>
#include <cstdint>
#include <initializer_list>

#include "common/error.h"
#include "common/region.h"
#include "windowkv.h"

namespace windowkv {

// Tokens of one sequence, at most: positions plus a tile or a pooling width stay inside 32 bits.
inline constexpr int64_t kMaxSeqlen = int64_t{1} << 30;

// Of a tensor that `sequences` cut.
Counts counts_of(const wkv_sequences& sequences, int batch, int heads);
// Of the keys or values of a cache, or of its pages.
Counts counts_of(const wkv_cache_layout& cache, int batch, int heads);

// The strides that lead somewhere. Along an axis of one, or without data, a stride may be anything:
// it becomes 0, so that no kernel makes an address of it.
wkv_strides used(const wkv_strides& strides, const Counts& counts);
wkv_tensor used(const wkv_tensor& tensor, const Counts& counts);
wkv_rows_f32 used(const wkv_rows_f32& rows, const Counts& counts);

// Keeps the first requirement that fails, as "kernel: what is wrong". It allocates nothing.
class Check {
 public:
  explicit Check(const char* kernel) : kernel_(kernel) {}

  // True while nothing has failed. The message names the value, the limit and the way out.
  [[gnu::format(printf, 3, 4)]] bool require(bool holds, const char* format, ...);

  // The struct is this library's.
  bool params(const void* params, size_t struct_size, size_t expected);
  // f16 or bf16.
  bool half_precision(wkv_dtype dtype);
  // batch, heads and head_dim of attention.
  bool heads(int batch, int num_heads_q, int num_heads_kv, int head_dim);
  // Positive, and finite also when it is multiplied by log2(e).
  bool softmax_scale(float softmax_scale);
  bool sequences(const char* name, const wkv_sequences& sequences);
  // A half-precision tensor whose rows of head_dim are 16-byte aligned. `needed`: it has elements
  // that are read or written.
  bool tensor(const char* name, const wkv_tensor& tensor, const Counts& counts, bool needed);
  bool strides(const char* name, const wkv_strides& strides, const Counts& counts);
  // float32 numbers of each head and token of a tensor.
  bool rows(const char* name, const wkv_rows_f32& rows, const Counts& counts, bool needed);
  // So many rows, `multiple` elements or a multiple of it apart, whose offsets fit 64 bits. The
  // name is in two parts.
  bool stride(const char* name, const char* part, int64_t stride, int64_t count, int64_t multiple);
  // A pointer that may only be null when nothing is `needed` of it.
  bool pointer(const char* name, const void* pointer, size_t alignment, bool needed);
  bool workspace(const void* workspace, size_t bytes, size_t needed);
  bool cache(const wkv_cache_layout& cache, int batch, int num_heads_kv);
  // Each element of what is written has a place of its own, apart from all that is read. All
  // strides have been checked.
  bool apart(std::initializer_list<Region> written, std::initializer_list<Region> read);
  bool exclusive(const Region& written);
  bool apart(const Region& written, const Region& other);

  bool ok() const { return error_[0] == '\0'; }
  // WKV_OK, or WKV_INVALID_ARGUMENT with the message set.
  wkv_status status() const { return ok() ? WKV_OK : set_error(WKV_INVALID_ARGUMENT, error_); }

 private:
  const char* kernel_;
  char error_[512] = "";
};

}  // namespace windowkv
