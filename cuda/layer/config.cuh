// Threads, shared memory and checks of the small kernels of a layer.

#pragma once

#include <cmath>

#include "common/check.h"
#include "common/math.cuh"
#include "common/vector.cuh"
#include "ptx/machine.h"
#include "windowkv.h"

namespace windowkv::inline WKV_MACHINE::layer {

inline constexpr int kThreads = 256;
inline constexpr int kWarps = kThreads / 32;

// Rows of half precision that are read or written 16 bytes at a time.
inline bool check_rows(Check& check, const char* name, const void* data, int64_t stride,
                       int64_t rows, int columns, bool needed) {
  return check.pointer(name, data, 16, needed) &&
         (data == nullptr || columns == 0 ||
          check.stride(name, "_stride", stride, rows, kVectorLength));
}
inline Region half_rows(const char* name, const void* data, int64_t stride, int64_t rows,
                        int columns) {
  return rows_of(name, data, rows, stride, columns, 2);
}

inline bool check_size(Check& check, int64_t rows, const char* columns_name, int columns) {
  return check.require(rows >= 0 && rows <= 0x7fffffff, "rows is %lld, not in [0, 2^31)",
                       static_cast<long long>(rows)) &&
         check.require(columns >= 0 && columns % kVectorLength == 0,
                       "%s is %d, not a multiple of 8", columns_name, columns);
}

// Elementwise kernels: a block has kElementwiseVectors vectors of one row.
inline constexpr int kElementwiseUnroll = 2;
inline constexpr int kElementwiseVectors = kThreads * kElementwiseUnroll;

WKV_BOTH int blocks_of_row(int columns) {
  return ceil_div(columns / kVectorLength, kElementwiseVectors);
}

inline bool check_elementwise_grid(Check& check, int64_t rows, int columns) {
  return check.require(rows * blocks_of_row(columns) <= 0x7fffffff,
                       "%lld rows of %d columns need more than 2^31 - 1 blocks: call with fewer "
                       "rows at a time",
                       static_cast<long long>(rows), columns);
}

namespace rms_norm {

// Vectors of a row that a thread keeps in registers: rows of up to 8,192 are read once.
inline constexpr int kHeld = 4;

struct SharedStorage {
  float warp_sums[kWarps];
};

inline wkv_status check(const wkv_rms_norm_params* params) {
  Check check("rms_norm");
  if (!check.params(params, params == nullptr ? 0 : params->struct_size, sizeof(*params)) ||
      !check.half_precision(params->dtype) ||
      !check_size(check, params->rows, "hidden", params->hidden)) {
    return check.status();
  }
  const int64_t rows = params->rows;
  const int hidden = params->hidden;
  const bool some = rows > 0 && hidden > 0;
  check_rows(check, "x", params->x, params->x_stride, rows, hidden, some);
  check_rows(check, "residual", params->residual, params->residual_stride, rows, hidden, false);
  check_rows(check, "sum", params->sum, params->sum_stride, rows, hidden, false);
  check_rows(check, "out", params->out, params->out_stride, rows, hidden, some);
  check.pointer("weight", params->weight, 16, some);
  check.require(params->eps >= 0 && std::isfinite(params->eps), "eps is %g, not 0 or more",
                static_cast<double>(params->eps));
  const Region x = half_rows("x", params->x, params->x_stride, rows, hidden).replaceable();
  const Region residual =
      half_rows("residual", params->residual, params->residual_stride, rows, hidden);
  const Region weight = bytes_of("weight", params->weight, hidden, 2);
  const Region out = half_rows("out", params->out, params->out_stride, rows, hidden);
  check.apart({out}, {x, residual, weight});
  check.apart({half_rows("sum", params->sum, params->sum_stride, rows, hidden)},
              {x, residual.replaceable(), weight, out});
  return check.status();
}

}  // namespace rms_norm

namespace rope {

// Tokens of a block, whose angles are computed once for all heads.
inline constexpr int kTokens = 4;
inline constexpr int kMaxPairs = 64;  // head_dim / 2

struct SharedStorage {
  float cosines[kTokens][kMaxPairs];
  float sines[kTokens][kMaxPairs];
};

inline wkv_status check(const wkv_rope_params* params) {
  Check check("rope");
  if (!check.params(params, params == nullptr ? 0 : params->struct_size, sizeof(*params)) ||
      !check.half_precision(params->dtype)) {
    return check.status();
  }
  const bool some = params->tokens > 0;
  check.require(params->tokens >= 0 && params->tokens <= 0x7fffffff,
                "tokens is %lld, not in [0, 2^31)", static_cast<long long>(params->tokens));
  check.require(params->num_heads_q >= 1 && params->num_heads_kv >= 1 &&
                    int64_t{params->num_heads_q} + params->num_heads_kv <= 1 << 20,
                "num_heads_q is %d, num_heads_kv %d, not 1 or more and 2^20 at most together",
                params->num_heads_q, params->num_heads_kv);
  check.require(params->head_dim == 32 || params->head_dim == 64 || params->head_dim == 96 ||
                    params->head_dim == 128,
                "head_dim is %d, not 32, 64, 96 or 128", params->head_dim);
  const Counts counts_q = {1, params->tokens, params->num_heads_q};
  const Counts counts_kv = {1, params->tokens, params->num_heads_kv};
  check.tensor("q", params->q, counts_q, some);
  check.tensor("k", params->k, counts_kv, false);
  check.pointer("positions", params->positions, 4, some);
  check.pointer("turns", params->turns, 8, some);
  check.apart({tensor_of("q", params->q, counts_q, params->head_dim),
               tensor_of("k", params->k, counts_kv, params->head_dim)},
              {list_of("positions", params->positions, params->tokens),
               list_of("turns", params->turns, params->head_dim / 2)});
  return check.status();
}

}  // namespace rope

namespace silu_mul {

inline wkv_status check(const wkv_silu_mul_params* params) {
  Check check("silu_mul");
  if (!check.params(params, params == nullptr ? 0 : params->struct_size, sizeof(*params)) ||
      !check.half_precision(params->dtype) ||
      !check_size(check, params->rows, "columns", params->columns)) {
    return check.status();
  }
  const int64_t rows = params->rows;
  const int columns = params->columns;
  const bool some = rows > 0 && columns > 0;
  check_rows(check, "gate", params->gate, params->gate_stride, rows, columns, some);
  check_rows(check, "up", params->up, params->up_stride, rows, columns, some);
  check_rows(check, "out", params->out, params->out_stride, rows, columns, some);
  check_elementwise_grid(check, rows, columns);
  check.apart({half_rows("out", params->out, params->out_stride, rows, columns)},
              {half_rows("gate", params->gate, params->gate_stride, rows, columns).replaceable(),
               half_rows("up", params->up, params->up_stride, rows, columns).replaceable()});
  return check.status();
}

}  // namespace silu_mul

namespace embedding {

inline wkv_status check(const wkv_embedding_params* params) {
  Check check("embedding");
  if (!check.params(params, params == nullptr ? 0 : params->struct_size, sizeof(*params)) ||
      !check.half_precision(params->dtype) ||
      !check_size(check, params->rows, "hidden", params->hidden)) {
    return check.status();
  }
  const int64_t rows = params->rows;
  const int hidden = params->hidden;
  const bool some = rows > 0 && hidden > 0;
  check.require(params->vocab >= 0, "vocab is %d", params->vocab);
  check_rows(check, "table", params->table, params->table_stride, params->vocab, hidden,
             some && params->vocab > 0);
  check_rows(check, "out", params->out, params->out_stride, rows, hidden, some);
  check.pointer("ids", params->ids, 4, some);
  check.pointer("flags", params->flags, 4, false);
  check_elementwise_grid(check, rows, hidden);
  check.apart({half_rows("out", params->out, params->out_stride, rows, hidden),
               list_of("flags", params->flags, 1)},
              {half_rows("table", params->table, params->table_stride, params->vocab, hidden),
               list_of("ids", params->ids, rows)});
  return check.status();
}

}  // namespace embedding

namespace sample {

// A block a row; more threads for long rows.
inline constexpr int kSmallThreads = 256;
inline constexpr int kLargeThreads = 512;
inline constexpr int kLargeVocab = 16384;
inline constexpr int kMaxWarps = kLargeThreads / 32;

// Logits of a thread that are on their way together.
inline constexpr int kUnroll = 8;

// A key of 32 bits is three digits of 11, 11 and 10 bits. The first holds sign, exponent and two
// bits of the significand, so that logits of one size spread over several bins.
inline constexpr int kPasses = 3;
inline constexpr int kDigitBits = 11;
inline constexpr int kBins = 1 << kDigitBits;
WKV_BOTH int digit_shift(int pass) { return pass == 0 ? 21 : pass == 1 ? 10 : 0; }
WKV_BOTH int digit_bits(int pass) { return pass < 2 ? kDigitBits : 10; }

// A row is cut into so many runs of adjacent tokens, each of which one warp sums up.
inline constexpr int kSegments = 256;
static_assert(kSegments <= kSmallThreads, "a thread scans one segment");

struct SharedStorage {
  // 64-bit sums, in halves: adding to the lower one tells of the carry.
  uint32_t low[kBins];
  uint32_t high[kBins];
  uint64_t segment_weights[kSegments];
  uint32_t segment_ties[kSegments];
  uint64_t warp_sums[kMaxWarps];
  uint32_t warp_keys[kMaxWarps];
  uint32_t warp_tokens[kMaxWarps];
  struct {
    uint64_t before;
    uint32_t index;
    uint32_t ties_before;
  } found;
};
static_assert(sizeof(SharedStorage) <= 48 * 1024);

inline wkv_status check(const wkv_sample_params* params) {
  Check check("sample");
  if (!check.params(params, params == nullptr ? 0 : params->struct_size, sizeof(*params))) {
    return check.status();
  }
  check.require(params->dtype == WKV_F16 || params->dtype == WKV_BF16 || params->dtype == WKV_F32,
                "dtype is %d, not WKV_F16, WKV_BF16 or WKV_F32", static_cast<int>(params->dtype));
  const bool some = params->rows > 0;
  check.require(params->rows >= 0, "rows is %d", params->rows);
  check.require(params->vocab >= 1 || !some, "vocab is %d: there is no token to choose",
                params->vocab);
  check.stride("logits", "_stride", params->logits_stride, params->rows, 1);
  check.pointer("logits", params->logits, params->dtype == WKV_F32 ? 4 : 2, some);
  check.pointer("sampling", params->sampling, 8, false);
  check.pointer("steps", params->steps, 4, some && params->sampling != nullptr);
  check.pointer("tokens", params->tokens, 4, some);
  check.pointer("flags", params->flags, 4, false);
  const int64_t rows = params->rows;
  check.apart({list_of("tokens", params->tokens, rows), list_of("flags", params->flags, 1)},
              {rows_of("logits", params->logits, rows, params->logits_stride, params->vocab,
                       params->dtype == WKV_F32 ? 4 : 2),
               list_of("sampling", params->sampling, rows), list_of("steps", params->steps, rows)});
  return check.status();
}

}  // namespace sample

}  // namespace windowkv::inline WKV_MACHINE::layer
