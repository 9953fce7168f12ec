#include "common/check.h"

#include <cstdio>

namespace windowkv {
namespace {

// 16 bytes of a half-precision type.
constexpr int64_t kVector = 8;
// More elements than a GPU can address. The offset of a row stays inside 64 bits, also of one in
// the tile behind the last, which is computed and not used.
constexpr int64_t kMaxReach = int64_t{1} << 50;

}  // namespace

Counts counts_of(const wkv_sequences& sequences, int batch, int heads) {
  if (sequences.cu_seqlens != nullptr) return {1, sequences.num_tokens, heads};
  return {batch, sequences.max_seqlen, heads};
}

Counts counts_of(const wkv_cache_layout& cache, int batch, int heads) {
  if (cache.page_table != nullptr) return {cache.num_pages, cache.page_len, heads};
  return {batch, cache.capacity, heads};
}

wkv_strides used(const wkv_strides& strides, const Counts& counts) {
  if (!counts.any()) return {0, 0, 0};
  return {counts.batch > 1 ? strides.batch : 0, counts.tokens > 1 ? strides.token : 0,
          counts.heads > 1 ? strides.head : 0};
}

wkv_tensor used(const wkv_tensor& tensor, const Counts& counts) {
  return {tensor.data, tensor.data == nullptr ? wkv_strides{} : used(tensor.strides, counts)};
}

wkv_rows_f32 used(const wkv_rows_f32& rows, const Counts& counts) {
  const bool any = rows.data != nullptr && counts.any();
  return {rows.data, any && counts.batch > 1 ? rows.batch_stride : 0,
          any && counts.heads > 1 ? rows.head_stride : 0};
}

bool Check::require(bool holds, const char* format, ...) {
  if (!ok() || holds) return ok();
  const int prefix = std::snprintf(error_, sizeof(error_), "%s: ", kernel_);
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(error_ + prefix, sizeof(error_) - prefix, format, arguments);
  va_end(arguments);
  return false;
}

bool Check::params(const void* params, size_t struct_size, size_t expected) {
  return require(params != nullptr, "params is null") &&
         require(struct_size == expected,
                 "struct_size is %zu, this library's is %zu: compile against its windowkv.h",
                 struct_size, expected);
}

bool Check::half_precision(wkv_dtype dtype) {
  return require(dtype == WKV_F16 || dtype == WKV_BF16, "dtype is %d, not WKV_F16 or WKV_BF16",
                 static_cast<int>(dtype));
}

bool Check::heads(int batch, int num_heads_q, int num_heads_kv, int head_dim) {
  return require(batch >= 0, "batch is %d", batch) &&
         require(num_heads_kv >= 1 && num_heads_q >= 1, "num_heads_q is %d, num_heads_kv %d",
                 num_heads_q, num_heads_kv) &&
         require(num_heads_q % num_heads_kv == 0,
                 "num_heads_q (%d) is not a multiple of num_heads_kv (%d)", num_heads_q,
                 num_heads_kv) &&
         require(head_dim == 32 || head_dim == 64 || head_dim == 96 || head_dim == 128,
                 "head_dim is %d, not 32, 64, 96 or 128", head_dim);
}

bool Check::softmax_scale(float softmax_scale) {
  return require(softmax_scale > 0 && softmax_scale <= 1e38f,
                 "softmax_scale is %g, not in (0, 1e38]: head_dim^-0.5 is usual", softmax_scale);
}

bool Check::sequences(const char* name, const wkv_sequences& sequences) {
  const auto max_seqlen = static_cast<long long>(sequences.max_seqlen);
  const auto num_tokens = static_cast<long long>(sequences.num_tokens);
  return require(max_seqlen >= 0 && max_seqlen <= kMaxSeqlen,
                 "%s.max_seqlen is %lld, not in [0, 2^30]", name, max_seqlen) &&
         require(sequences.cu_seqlens == nullptr || (num_tokens >= 0 && num_tokens <= 0x7fffffff),
                 "%s.num_tokens is %lld, not in [0, 2^31)", name, num_tokens) &&
         pointer(name, sequences.cu_seqlens, 4, false) &&
         pointer(name, sequences.seqlens, 4, false);
}

bool Check::stride(const char* name, const char* part, int64_t stride, int64_t count,
                   int64_t multiple) {
  if (count <= 1) return ok();
  const int64_t limit = kMaxReach / (count - 1);
  return require(stride % multiple == 0, "%s%s is %lld, not a multiple of %lld", name, part,
                 static_cast<long long>(stride), static_cast<long long>(multiple)) &&
         require(stride >= -limit && stride <= limit,
                 "%s%s is %lld, which times %lld is beyond 2^50 elements", name, part,
                 static_cast<long long>(stride), static_cast<long long>(count - 1));
}

bool Check::strides(const char* name, const wkv_strides& strides, const Counts& counts) {
  return !counts.any()
             ? ok()
             : stride(name, ".strides.batch", strides.batch, counts.batch, kVector) &&
                   stride(name, ".strides.token", strides.token, counts.tokens, kVector) &&
                   stride(name, ".strides.head", strides.head, counts.heads, kVector);
}

bool Check::tensor(const char* name, const wkv_tensor& tensor, const Counts& counts, bool needed) {
  return pointer(name, tensor.data, 16, needed) &&
         (tensor.data == nullptr || strides(name, tensor.strides, counts));
}

bool Check::rows(const char* name, const wkv_rows_f32& rows, const Counts& counts, bool needed) {
  if (!pointer(name, rows.data, 4, needed) || rows.data == nullptr || !counts.any()) return ok();
  return stride(name, ".batch_stride", rows.batch_stride, counts.batch, 1) &&
         stride(name, ".head_stride", rows.head_stride, counts.heads, 1);
}

bool Check::pointer(const char* name, const void* pointer, size_t alignment, bool needed) {
  return require(pointer != nullptr || !needed, "%s is null", name) &&
         require(reinterpret_cast<uintptr_t>(pointer) % alignment == 0,
                 "%s is not aligned to %zu bytes", name, alignment);
}

bool Check::workspace(const void* workspace, size_t bytes, size_t needed) {
  return require(bytes >= needed, "workspace_bytes is %zu, the call needs %zu", bytes, needed) &&
         pointer("workspace", workspace, 16, needed > 0);
}

bool Check::cache(const wkv_cache_layout& cache, int batch, int num_heads_kv) {
  const auto capacity = static_cast<long long>(cache.capacity);
  if (!require(capacity >= 0 && capacity <= 0x7fffffff, "cache.capacity is %lld, not in [0, 2^31)",
               capacity)) {
    return false;
  }
  const Counts counts = counts_of(cache, batch, num_heads_kv);
  if (cache.page_table == nullptr) return strides("cache", cache.strides, counts);
  const auto pages = static_cast<long long>(cache.page_table_stride);
  return pointer("cache.page_table", cache.page_table, 4, true) &&
         require(cache.page_len >= 1 && (cache.page_len & (cache.page_len - 1)) == 0,
                 "cache.page_len is %d, not a power of two", cache.page_len) &&
         require(cache.num_pages >= 0, "cache.num_pages is %d", cache.num_pages) &&
         require(
             pages >= 0 && pages <= 0x7fffffff &&
                 capacity <= static_cast<long long>(pages) * cache.page_len,
             "cache.capacity is %lld, but the page table has %lld pages of %d tokens a sequence",
             capacity, pages, cache.page_len) &&
         stride("cache", ".page_table_stride", cache.page_table_stride, batch, 1) &&
         strides("cache", cache.strides, counts);
}

bool Check::exclusive(const Region& written) {
  return require(!written.overlaps_itself(),
                 "%s: its strides lead to one place twice, where one element would be written on "
                 "top of another",
                 written.name);
}

bool Check::apart(const Region& written, const Region& other) {
  return require((other.may_be_written && written == other) || !written.overlaps(other),
                 "%s overlaps %s: give it memory of its own%s", written.name, other.name,
                 other.may_be_written ? ", or make both the same, strides included" : "");
}

bool Check::apart(std::initializer_list<Region> written, std::initializer_list<Region> read) {
  if (!ok()) return false;
  for (const Region* region = written.begin(); region != written.end(); ++region) {
    exclusive(*region);
    for (const Region* other = region + 1; other != written.end(); ++other) apart(*region, *other);
    for (const Region& other : read) apart(*region, other);
  }
  return ok();
}

}  // namespace windowkv
