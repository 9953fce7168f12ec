/* The C ABI of WindowKV's kernels.
 *
 * A machine (the emulated GPU, or CUDA) gives a table of functions. Each takes one struct of
 * parameters, whose first field is its size: a caller compiled against another header is told so.
 * Nothing allocates, synchronises, reads back to the host, or uses the default stream unless the
 * stream is null, so every call can be captured in a CUDA graph. What a call does depends on the
 * struct and on device memory alone; the same input gives the same bits, alone and in any batch.
 * A function returns a wkv_status; what went wrong is in wkv_last_error() of the same OS thread.
 * With CUDA the stream's device has to be the current one; no call changes which that is.
 *
 * Words: a sequence has seqlen tokens; its last suffix_len tokens are always kept; those before are
 * the review context, cut into windows of window_len tokens, of which the last may be shorter.
 * num_heads_q is a multiple of num_heads_kv, and query head h reads KV head
 * h / (num_heads_q / num_heads_kv). head_dim is 32, 64, 96 or 128.
 *
 * Pointers are to device memory unless a comment says host. Strides are in elements, 64 bits wide;
 * the numbers of one head lie side by side. Rows that tensor cores read or that are copied 16 bytes
 * at a time start at multiples of 16 bytes: base addresses and strides are checked for it. A stride
 * that leads nowhere may be anything: along an axis of one, or of a tensor that is not there.
 *
 * What a call writes overlaps nothing else that it reads or writes, nor itself, unless a comment
 * says that it may. Tensors are taken at the size that the struct says, whatever the lengths in
 * device memory; they may lie between each other's rows. What overlaps is refused.
 *
 * Lengths and indices that lie in device memory cannot be checked by a launcher. A kernel clamps
 * them to what the struct says is there, so that it never touches memory outside, and raises a flag
 * (wkv_flag) where that changes the meaning. */

#ifndef WINDOWKV_H
#define WINDOWKV_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum wkv_status {
  WKV_OK = 0,
  WKV_INVALID_ARGUMENT = 1, /* a parameter that no device could serve */
  WKV_UNSUPPORTED = 2,      /* this device, driver or build cannot do it */
  WKV_DEVICE_ERROR = 3,     /* CUDA reported an error */
  WKV_EMULATOR_REPORT = 4,  /* the emulated GPU found a fault in the kernel */
  WKV_OUT_OF_MEMORY = 5
} wkv_status;

typedef enum wkv_dtype { WKV_F16 = 0, WKV_BF16 = 1, WKV_F32 = 2 } wkv_dtype;

/* What kernels find in device memory: bits that they set in the word that `flags` points to. The
 * caller clears the word, and reads it when it likes; a null pointer is allowed. */
typedef enum wkv_flag {
  WKV_FLAG_NAN = 1,      /* a score or logit was NaN: select and argmax took it for -inf */
  WKV_FLAG_CAPACITY = 2, /* something did not fit its output or its cache, and was left out */
  WKV_FLAG_RANGE = 4     /* a length, index, token id or page was outside its range */
} wkv_flag;

/* Grows whenever a struct or the meaning of a function changes. */
#define WKV_ABI_VERSION 3
int wkv_abi_version(void);

/* What went wrong in this OS thread's last call that returned something else than WKV_OK. */
const char* wkv_last_error(void);

/* From one sequence, token or head to the next. `batch` is not used with cu_seqlens. */
typedef struct wkv_strides {
  int64_t batch, token, head;
} wkv_strides;

/* [batch, tokens, heads, head_dim], or [tokens of all sequences, heads, head_dim] with cu_seqlens;
 * tokens or heads outermost, as the strides say. */
typedef struct wkv_tensor {
  void* data;
  wkv_strides strides;
} wkv_tensor;

/* float32 numbers of each token and head: [batch, heads, tokens] or [heads, tokens of all
 * sequences]; the tokens of one head lie side by side. strides.token is 1. */
typedef struct wkv_rows_f32 {
  float* data;
  int64_t batch_stride, head_stride;
} wkv_rows_f32;

/* Which tokens of a tensor belong to which sequence of the batch.
 *   cu_seqlens given: sequence b is rows cu_seqlens[b] .. cu_seqlens[b + 1] of num_tokens rows in
 *     all, or only the first seqlens[b] of them where that is given too.
 *   else: the first seqlens[b] rows (max_seqlen without seqlens) from b * strides.batch on. */
typedef struct wkv_sequences {
  const int32_t* cu_seqlens; /* [batch + 1], ascending, or null */
  const int32_t* seqlens;    /* [batch], or null */
  int64_t max_seqlen;        /* no sequence is taken for longer; what grids are made from. At most
                                2^30 */
  int64_t num_tokens;        /* rows of the tensor; used with cu_seqlens */
} wkv_sequences;

/* Causal attention, aligned at the bottom right: row i of a sequence sees the keys
 * 0 .. i + seqlen_kv - seqlen_q. A row that sees none gives o = 0, lse = -inf. For finite v, a
 * row's bits depend on its own query, keys and values alone, also where a prompt is cut into
 * chunks. Lengths outside what is there, and cu_seqlens that descend, raise WKV_FLAG_RANGE; where
 * sequences overlap because of that, all of them write the rows that they share.
 *
 *   o = softmax(q k^T softmax_scale) v,  lse = log(sum(exp(q k^T softmax_scale))), natural
 *
 * Scores, q k^T softmax_scale log2(e), stay below 2^24 in size: a row whose largest does not is
 * NaN, one with another that does not may be, and neither is a wrong number. A NaN in q or k makes
 * the rows that see it NaN, and no others; so does a score of +inf, while one of -inf is as no key.
 * A NaN or an infinity in v makes its column of the rows that see it NaN or infinite, and perhaps
 * that of rows that see another of the same 64 keys. */
typedef struct wkv_prefill_params {
  size_t struct_size;
  wkv_tensor q;     /* [q tokens, num_heads_q, head_dim] of dtype */
  wkv_tensor k;     /* [kv tokens, num_heads_kv, head_dim] of dtype */
  wkv_tensor v;     /* [kv tokens, num_heads_kv, head_dim] of dtype */
  wkv_tensor o;     /* [q tokens, num_heads_q, head_dim] of dtype */
  wkv_rows_f32 lse; /* [num_heads_q, q tokens], or data null */
  wkv_sequences sequences_q;
  wkv_sequences sequences_kv;
  int32_t batch, num_heads_q, num_heads_kv, head_dim;
  float softmax_scale;
  wkv_dtype dtype; /* WKV_F16 or WKV_BF16 */
  uint32_t* flags;
  void* stream; /* cudaStream_t */
} wkv_prefill_params;

/* How one sequence is observed and cut into windows. */
typedef struct wkv_observation {
  int32_t
      query_len; /* the last so many query rows observe (WindowKV, SnapKV: the suffix; H2O: all);
                    of a shorter sequence all. More than q has of a longer one: WKV_FLAG_RANGE */
  int32_t suffix_len; /* last tokens that are kept unscored */
  int32_t window_len; /* tokens of a window; 0: the sequence is not scored, and is kept whole */
  int32_t top_tokens; /* a window's score is the mean of its so many largest column scores */
} wkv_observation;

typedef enum wkv_pooling { WKV_POOL_AVERAGE = 0, WKV_POOL_MAX = 1 } wkv_pooling;

/* Scores of the review tokens j of each sequence, in one pass over k; no float atomics.
 *   t[h, j] = sum over the observing rows i that see j of
 *             exp(q[i, h] k[j] softmax_scale - lse[h, i])
 *   column_scores[c, j] = pool(mean over the query heads h of c of t[h, j])
 *   window_scores[w] = mean over h of the mean of the top_tokens largest pool(t[h, j]), j in w
 * pool: stride 1, pooling_width wide; the average counts zeros outside the review context, the
 * maximum does not look there. A NaN score stays NaN. A row whose lse is -inf adds nothing. What
 * lies behind the scores of a sequence is left alone. lse is a float32, so that what a row adds is
 * off by about |lse| 2^-23 of itself. */
typedef struct wkv_score_params {
  size_t struct_size;
  wkv_tensor q;     /* [q tokens, num_heads_q, head_dim] of dtype: each sequence's last tokens */
  wkv_tensor k;     /* [kv tokens, num_heads_kv, head_dim] of dtype */
  wkv_rows_f32 lse; /* [num_heads_q, q tokens]: of q's rows, from prefill (not written) */
  wkv_sequences sequences_q;           /* of q and lse */
  wkv_sequences sequences_kv;          /* of k */
  const wkv_observation* observations; /* [batch] */
  wkv_rows_f32 column_scores;          /* [batch, column_heads, max_columns], or data null */
  wkv_rows_f32 window_scores;          /* [batch, 1, max_windows], or data null */
  int32_t column_heads;  /* num_heads_q, or num_heads_kv: the mean over the query heads of each */
  int32_t max_columns;   /* columns that a row of column_scores has room for */
  int32_t max_windows;   /* windows that a row of window_scores has room for */
  int32_t pooling_width; /* odd, at most 4095; 1: no pooling */
  wkv_pooling pooling;
  int32_t batch, num_heads_q, num_heads_kv, head_dim;
  float softmax_scale;
  wkv_dtype dtype; /* WKV_F16 or WKV_BF16 */
  void* workspace; /* score_workspace_size bytes, 16-byte aligned; any contents */
  size_t workspace_bytes;
  uint32_t* flags;
  void* stream; /* cudaStream_t */
} wkv_score_params;

/* The num_keep largest scores of each row, exactly; ties go to the lower index, -0 equals 0. The
 * scores of a row of which all are kept are not read: where max_keep is too small for them, the
 * first max_keep stay, with WKV_FLAG_CAPACITY. */
typedef struct wkv_select_params {
  size_t struct_size;
  const float* scores;        /* [rows, max_windows], row stride scores_stride */
  const int32_t* num_windows; /* [rows / rows_per_sequence]: scores of a row */
  const int32_t* num_keep;    /* [rows / rows_per_sequence] */
  int32_t*
      indices; /* [rows, max_keep], row stride indices_stride: ascending; the rest is left alone */
  int32_t* num_kept; /* [rows]: min(num_keep, num_windows, max_keep) */
  int64_t scores_stride, indices_stride;
  int32_t rows;
  int32_t
      rows_per_sequence; /* 1 for windows; the heads of a sequence where each chooses for itself */
  int32_t max_windows;   /* at most 131,072 */
  int32_t max_keep;
  uint32_t* flags;
  void* stream; /* cudaStream_t */
} wkv_select_params;

/* Where the tokens of a cache lie: in one run a sequence, or in pages. */
typedef struct wkv_cache_layout {
  wkv_strides strides; /* batch: from one sequence, or one page, to the next */
  const int32_t*
      page_table; /* [batch, page_table_stride]: page of tokens i * page_len ..; null: no pages */
  int64_t page_table_stride;
  int32_t page_len;  /* tokens of a page, a power of two */
  int32_t num_pages; /* pages that there are */
  int64_t capacity;  /* tokens that one sequence has room for; with pages, at most page_table_stride
                      * page_len */
} wkv_cache_layout;

/* One layer's keys and values, before and after. A destination may be its own source: then it is
 * compacted in place (same layout, no pages). Otherwise they do not overlap. */
typedef struct wkv_gather_layer {
  const void* k_source; /* [kv tokens, num_heads_kv, head_dim] of dtype */
  const void* v_source; /* [kv tokens, num_heads_kv, head_dim] of dtype */
  void* k_cache;        /* [batch, capacity, num_heads_kv, head_dim] or pages of it, of dtype */
  void* v_cache;        /* the same */
} wkv_gather_layer;

/* cache[b, 0 .. kept_lens[b]] = the tokens of the chosen windows in ascending order, then the
 * suffix, of each layer. */
typedef struct wkv_gather_params {
  size_t struct_size;
  const wkv_gather_layer* layers; /* host: [num_layers] that share the windows */
  int32_t num_layers;
  wkv_strides source_strides; /* of k_source and v_source */
  wkv_sequences sequences_kv; /* of k_source and v_source */
  wkv_cache_layout cache;
  const wkv_observation* observations; /* [batch]: suffix_len, window_len (0: everything is kept) */
  const int32_t* indices;  /* [batch, index_heads, index_head_stride]: ascending windows */
  const int32_t* num_kept; /* [batch, index_heads]: windows in indices */
  int64_t index_batch_stride, index_head_stride;
  int32_t index_heads; /* 1: all heads share; num_heads_kv: each has its own, and all keep equally
                          many tokens */
  int32_t max_keep;    /* windows that a row of indices has room for */
  int32_t* kept_lens;  /* [batch]: tokens now in the cache */
  int32_t batch, num_heads_kv, head_dim;
  wkv_dtype dtype; /* WKV_F16 or WKV_BF16 */
  uint32_t* flags;
  void* stream; /* cudaStream_t */
} wkv_gather_params;

/* Attention of one new token a sequence over its cache, to which its key and value are appended.
 *   o[b] = softmax(q[b] K^T softmax_scale) V over the cache_lens[b] cached tokens and the new one
 * Scores stay below the limit that prefill has, and what is not finite does what it does there.
 * Without a key, and for a sequence that has left the batch, o = 0 and lse = -inf, and the cache is
 * left alone. A new token that finds the cache full is attended to all the same, but not appended:
 * WKV_FLAG_CAPACITY. A length over the capacity is taken for the capacity, and a page that is not
 * there for keys and values of zeros: WKV_FLAG_RANGE. */
typedef struct wkv_decode_params {
  size_t struct_size;
  wkv_tensor q; /* [batch, num_heads_q, head_dim] of dtype; strides.token is not used */
  wkv_tensor
      k_new; /* [batch, num_heads_kv, head_dim] of dtype, or data null: nothing is appended */
  wkv_tensor v_new; /* the same */
  wkv_tensor o;     /* [batch, num_heads_q, head_dim] of dtype */
  float* lse;       /* [batch, num_heads_q], natural log, or null */
  void* k_cache;    /* [batch, capacity, num_heads_kv, head_dim] or pages of it, of dtype */
  void* v_cache;    /* the same */
  wkv_cache_layout cache;
  const int32_t*
      cache_lens; /* [batch]: tokens in the cache before this call; it is not changed, see
                     advance. Below 0: the sequence has left the batch; o 0, lse -inf. */
  int32_t batch, num_heads_q, num_heads_kv, head_dim;
  float softmax_scale;
  wkv_dtype dtype; /* WKV_F16 or WKV_BF16 */
  void* workspace; /* decode_workspace_size bytes, 16-byte aligned. All zero before the first call;
                      each call leaves it so that the next one on the same stream can use it,
                      whatever its sizes are. What was not zeroed gives NaN and WKV_FLAG_RANGE. */
  size_t workspace_bytes;
  uint32_t* flags;
  void* stream; /* cudaStream_t */
} wkv_decode_params;

/* values[i] += amount for each i whose value is not below 0: cache lengths, positions, steps. A sum
 * over 2^31 - 1 stays there. With an amount below 0 a value may fall below 0 and so leave the
 * batch: decode then takes its sequence for one that has left. */
typedef struct wkv_advance_params {
  size_t struct_size;
  int32_t* values; /* [count] */
  int32_t count;
  int32_t amount;
  void* stream; /* cudaStream_t */
} wkv_advance_params;

/* y = x + residual (residual null: y = x);  out = y / sqrt(mean(y^2) + eps) * weight
 * y is rounded to dtype before it is normed, as it is stored. */
typedef struct wkv_rms_norm_params {
  size_t struct_size;
  const void* x;        /* [rows, hidden] of dtype, row stride x_stride */
  const void* residual; /* [rows, hidden] of dtype, row stride residual_stride, or null */
  void* sum; /* [rows, hidden] of dtype, row stride sum_stride: y, or null; may be x or residual */
  const void* weight; /* [hidden] of dtype */
  void* out;          /* [rows, hidden] of dtype, row stride out_stride; may be x */
  int64_t x_stride, residual_stride, sum_stride, out_stride;
  int64_t rows;
  int32_t hidden; /* a multiple of 8 */
  float eps;
  wkv_dtype dtype; /* WKV_F16 or WKV_BF16 */
  void* stream;    /* cudaStream_t */
} wkv_rms_norm_params;

/* How the rotary embedding is stretched to longer contexts (rope_type llama3). */
typedef struct wkv_llama3_scaling {
  double factor, low_freq_factor, high_freq_factor, original_max_position_embeddings;
} wkv_llama3_scaling;

/* Rotates q and k in place: dimension i with dimension i + head_dim / 2, by position *
 * frequency[i]. The angle is exact for any position: a frequency is a 64-bit fraction of a turn a
 * position, and whole turns drop out of the product. */
typedef struct wkv_rope_params {
  size_t struct_size;
  wkv_tensor q; /* [tokens, num_heads_q, head_dim] of dtype; strides.batch is not used */
  wkv_tensor k; /* [tokens, num_heads_kv, head_dim] of dtype, or data null */
  const int32_t* positions; /* [tokens], in the text; below 0: the token is left alone */
  const uint64_t* turns;    /* [head_dim / 2] from rope_turns, copied to the device */
  int64_t tokens;
  int32_t num_heads_q, num_heads_kv, head_dim;
  wkv_dtype dtype; /* WKV_F16 or WKV_BF16 */
  void* stream;    /* cudaStream_t */
} wkv_rope_params;

/* out = gate / (1 + exp(-gate)) * up */
typedef struct wkv_silu_mul_params {
  size_t struct_size;
  const void* gate; /* [rows, columns] of dtype, row stride gate_stride */
  const void* up;   /* [rows, columns] of dtype, row stride up_stride */
  void* out;        /* [rows, columns] of dtype, row stride out_stride; may be gate or up */
  int64_t gate_stride, up_stride, out_stride;
  int64_t rows;
  int32_t columns; /* a multiple of 8 */
  wkv_dtype dtype; /* WKV_F16 or WKV_BF16 */
  void* stream;    /* cudaStream_t */
} wkv_silu_mul_params;

/* out[r] = table[ids[r]]; an id outside the table gives zeros and WKV_FLAG_RANGE. */
typedef struct wkv_embedding_params {
  size_t struct_size;
  const void* table;  /* [vocab, hidden] of dtype, row stride table_stride */
  const int32_t* ids; /* [rows] */
  void* out;          /* [rows, hidden] of dtype, row stride out_stride */
  int64_t table_stride, out_stride;
  int64_t rows;
  int32_t vocab;
  int32_t hidden;  /* a multiple of 8 */
  wkv_dtype dtype; /* WKV_F16 or WKV_BF16 */
  uint32_t* flags;
  void* stream; /* cudaStream_t */
} wkv_embedding_params;

/* How the next token of one sequence is chosen. */
typedef struct wkv_sampling {
  uint64_t seed;
  float temperature; /* 0: the largest logit */
  float top_p;   /* in (0, 1]: of the most probable tokens, so many that their sum reaches this */
  int32_t top_k; /* of the most probable tokens, at most so many; 0: all */
  int32_t reserved;
} wkv_sampling;

/* The next token of each row of logits. NaN counts as -inf; ties go to the lower id. Temperature 0
 * takes the largest logit. Otherwise, with weight[i] = exp((logits[i] - max) / temperature):
 *   top_k: the first top_k tokens by descending logit, then ascending id
 *   top_p: of these the first whose weights sum up to top_p of the sum of all of them
 *   draw:  of these, by ascending id, the first with which the sum of weights exceeds
 *          u * (the sum of all of them), u = the first 64 bits of Philox4x32-10 / 2^64, with the
 *          seed as key (lower half first) and (step, 0, 0, 0) as counter
 * A temperature below 0 or infinite, a top_p outside (0, 1], a top_k below 0 and a NaN raise
 * WKV_FLAG_RANGE and are taken for 0, 1, 0. */
typedef struct wkv_sample_params {
  size_t struct_size;
  const void* logits;           /* [rows, vocab] of dtype, row stride logits_stride */
  const wkv_sampling* sampling; /* [rows], or null: the largest logit of each row */
  const int32_t* steps;         /* [rows]: tokens drawn before; below 0: the row is left alone. Not
                                   used without sampling */
  int32_t* tokens;              /* [rows] */
  int64_t logits_stride;
  int32_t rows;
  int32_t vocab;
  wkv_dtype dtype; /* any */
  uint32_t* flags;
  void* stream; /* cudaStream_t */
} wkv_sample_params;

/* The kernels, as one machine runs them. Both tables have the same functions. SM 80 and later. */
typedef struct wkv_kernels {
  size_t struct_size;
  int (*prefill)(const wkv_prefill_params* params);
  int (*score)(const wkv_score_params* params);
  int (*select)(const wkv_select_params* params);
  int (*gather)(const wkv_gather_params* params);
  int (*decode)(const wkv_decode_params* params);
  int (*advance)(const wkv_advance_params* params);
  int (*rms_norm)(const wkv_rms_norm_params* params);
  int (*rope)(const wkv_rope_params* params);
  int (*silu_mul)(const wkv_silu_mul_params* params);
  int (*embedding)(const wkv_embedding_params* params);
  int (*sample)(const wkv_sample_params* params);
  /* Bytes of workspace that a call with these sizes needs, whatever lies in device memory. No
   * pointer is followed; whether cu_seqlens is null counts. */
  int (*score_workspace_size)(const wkv_score_params* params, size_t* bytes);
  int (*decode_workspace_size)(const wkv_decode_params* params, size_t* bytes);
} wkv_kernels;

const wkv_kernels* wkv_emulated_kernels(void);
const wkv_kernels* wkv_cuda_kernels(void); /* in libraries built with CUDA */

/* Host: turns[i] = 2^64 / (2 pi) * theta^(-2 i / head_dim), slowed down by `scaling` (null: not);
 * turns: host [head_dim / 2]. */
int wkv_rope_turns(uint64_t* turns, int32_t head_dim, double theta,
                   const wkv_llama3_scaling* scaling);

#ifdef __cplusplus
}
#endif

#endif /* WINDOWKV_H */
