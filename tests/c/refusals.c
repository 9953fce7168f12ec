/* What the launchers refuse of C callers, which no Rust view has checked: structs of another
 * version, null and misaligned pointers, strides, memory that overlaps. Each refusal has a status
 * and a message that names the parameter. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "windowkv.h"

enum {
  BATCH = 2,
  TOKENS = 5,
  HEADS_Q = 4,
  HEADS_KV = 2,
  HEAD_DIM = 32,
  WINDOWS = 3,
  ROOM = 1 << 16
};

static int cases, failures;

static void expect_refusal(int status, const char* kernel, const char* change, const char* word) {
  const char* message = wkv_last_error();
  ++cases;
  if (status == WKV_INVALID_ARGUMENT && strncmp(message, kernel, strlen(kernel)) == 0 &&
      strstr(message, word) != NULL) {
    return;
  }
  ++failures;
  printf("%s with %s: status %d, \"%s\", expected \"%s\"\n", kernel, change, status, message, word);
}

/* A copy of the struct `kernel` with the change is refused with `word` in the message. */
#define REFUSED(kernel, change, word)                              \
  do {                                                             \
    wkv_##kernel##_params bad = kernel;                            \
    change;                                                        \
    expect_refusal(kernels->kernel(&bad), #kernel, #change, word); \
  } while (0)

/* A copy of the struct `kernel` with the change runs. */
#define TAKEN(kernel, change)                                                                \
  do {                                                                                       \
    wkv_##kernel##_params good = kernel;                                                     \
    change;                                                                                  \
    const int status = kernels->kernel(&good);                                               \
    ++cases;                                                                                 \
    if (status != WKV_OK) {                                                                  \
      ++failures;                                                                            \
      printf("%s with %s: status %d, \"%s\"\n", #kernel, #change, status, wkv_last_error()); \
    }                                                                                        \
  } while (0)

/* The struct `kernel` as it is runs; null and other versions of it are refused. */
#define ACCEPTED(kernel)                                                               \
  do {                                                                                 \
    const int status = kernels->kernel(&kernel);                                       \
    ++cases;                                                                           \
    if (status != WKV_OK) {                                                            \
      ++failures;                                                                      \
      printf("%s: status %d, \"%s\"\n", #kernel, status, wkv_last_error());            \
    }                                                                                  \
    expect_refusal(kernels->kernel(NULL), #kernel, "params = NULL", "params is null"); \
    REFUSED(kernel, bad.struct_size -= 8, "struct_size");                              \
    REFUSED(kernel, bad.struct_size = 0, "struct_size");                               \
  } while (0)

static void* zeros(size_t bytes) {
  void* memory = aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (memory == NULL) {
    fprintf(stderr, "%zu bytes of memory are not to be had\n", bytes);
    exit(EXIT_FAILURE);
  }
  memset(memory, 0, bytes);
  return memory;
}

static void* off_by(const void* pointer, size_t bytes) { return (char*)pointer + bytes; }

static wkv_tensor tensor(int tokens, int heads) {
  const wkv_tensor result = {zeros(ROOM),
                             {(int64_t)tokens * heads * HEAD_DIM, heads * HEAD_DIM, HEAD_DIM}};
  return result;
}

int main(void) {
  const wkv_kernels* kernels = wkv_emulated_kernels();
  const wkv_tensor q = tensor(TOKENS, HEADS_Q), k = tensor(TOKENS, HEADS_KV),
                   v = tensor(TOKENS, HEADS_KV);
  const wkv_tensor o = tensor(TOKENS, HEADS_Q), k_cache = tensor(8, HEADS_KV),
                   v_cache = tensor(8, HEADS_KV);
  const wkv_sequences sequences = {.max_seqlen = TOKENS};
  const wkv_rows_f32 lse = {zeros(ROOM), HEADS_Q * TOKENS, TOKENS};
  const int64_t huge = INT64_C(1) << 50;
  int32_t *ints = zeros(ROOM), *more_ints = zeros(ROOM), *lens = zeros(ROOM);
  float* floats = zeros(ROOM);
  uint32_t* flags = zeros(sizeof(*flags));
  wkv_observation* observations = zeros(BATCH * sizeof(*observations));
  for (int b = 0; b < BATCH; ++b) observations[b] = (wkv_observation){1, 1, 2, 1};

  wkv_prefill_params prefill = {
      sizeof(prefill), q,       k,        v,        o,    lse,     sequences, sequences,
      BATCH,           HEADS_Q, HEADS_KV, HEAD_DIM, 0.5f, WKV_F16, flags,     NULL};
  ACCEPTED(prefill);
  REFUSED(prefill, bad.q.data = NULL, "q is null");
  REFUSED(prefill, bad.k.data = NULL, "k is null");
  REFUSED(prefill, bad.v.data = off_by(v.data, 2), "v is not aligned to 16 bytes");
  REFUSED(prefill, bad.o.data = off_by(o.data, 8), "o is not aligned to 16 bytes");
  REFUSED(prefill, bad.lse.data = off_by(lse.data, 2), "lse is not aligned to 4 bytes");
  REFUSED(prefill, bad.flags = off_by(flags, 1), "flags is not aligned to 4 bytes");
  REFUSED(prefill, bad.k.strides.token = 33, "k.strides.token is 33, not a multiple of 8");
  REFUSED(prefill, bad.q.strides.batch = huge + 8, "q.strides.batch");
  REFUSED(prefill, bad.v.strides.token = -huge, "v.strides.token");
  REFUSED(prefill, bad.lse.head_stride = huge, "lse.head_stride");
  REFUSED(prefill, bad.batch = -1, "batch is -1");
  REFUSED(prefill, bad.num_heads_kv = 0, "num_heads_kv 0");
  REFUSED(prefill, bad.num_heads_kv = 3, "not a multiple of num_heads_kv (3)");
  REFUSED(prefill, bad.head_dim = 48, "head_dim is 48, not 32, 64, 96 or 128");
  REFUSED(prefill, bad.softmax_scale = 0, "softmax_scale is 0");
  REFUSED(prefill, bad.dtype = WKV_F32, "dtype is 2");
  REFUSED(prefill, bad.sequences_kv.max_seqlen = (INT64_C(1) << 30) + 1, "sequences_kv.max_seqlen");
  REFUSED(prefill, bad.sequences_q.max_seqlen = -1, "sequences_q.max_seqlen is -1");
  REFUSED(prefill,
          (bad.sequences_q.cu_seqlens = ints, bad.sequences_q.num_tokens = INT64_C(1) << 31),
          "sequences_q.num_tokens");
  REFUSED(prefill, bad.sequences_q.seqlens = off_by(ints, 2), "sequences_q is not aligned");
  REFUSED(prefill, bad.o.strides.token = 0, "o: its strides lead to one place twice");
  REFUSED(prefill, bad.o.strides.head = HEAD_DIM / 2, "o: its strides lead to one place twice");
  REFUSED(prefill, bad.o.strides.batch = -bad.o.strides.token, "one place twice");
  REFUSED(prefill, bad.o.data = q.data, "o overlaps q");
  REFUSED(prefill, bad.o.data = k.data, "o overlaps k");
  REFUSED(prefill, bad.o.data = off_by(v.data, 16), "o overlaps v");
  REFUSED(prefill, bad.lse.data = o.data, "o overlaps lse");
  REFUSED(prefill, bad.lse.head_stride = TOKENS - 1, "lse: its strides");
  REFUSED(prefill, bad.flags = off_by(o.data, 4), "o overlaps flags");
  REFUSED(prefill, bad.sequences_kv.seqlens = o.data, "o overlaps seqlens of k");
  /* q, k, v and o as the heads of one buffer's tokens, and strides that lead nowhere. */
  const int64_t all = (2 * HEADS_Q + 2 * HEADS_KV) * HEAD_DIM;
  const wkv_strides fused = {TOKENS * all, all, HEAD_DIM};
  char* one_buffer = zeros(ROOM);
  TAKEN(prefill,
        (good.q = (wkv_tensor){one_buffer, fused},
         good.k = (wkv_tensor){one_buffer + 2 * HEADS_Q * HEAD_DIM, fused},
         good.v = (wkv_tensor){one_buffer + 2 * (HEADS_Q + HEADS_KV) * HEAD_DIM, fused},
         good.o = (wkv_tensor){one_buffer + 2 * (HEADS_Q + 2 * HEADS_KV) * HEAD_DIM, fused}));
  REFUSED(prefill,
          (bad.q = (wkv_tensor){one_buffer, fused},
           bad.o = (wkv_tensor){one_buffer + 2 * (HEADS_Q - 1) * HEAD_DIM, fused}),
          "o overlaps q");
  TAKEN(prefill, (good.o.data = off_by(o.data, 2 * TOKENS * HEADS_Q * HEAD_DIM),
                  good.o.strides.batch = -good.o.strides.batch));
  TAKEN(prefill, (good.lse.data = NULL, good.lse.head_stride = INT64_MIN));
  TAKEN(prefill, (good.batch = 1, good.q.strides.batch = 3, good.v.strides.batch = INT64_MIN,
                  good.o.strides.batch = INT64_MAX, good.lse.batch_stride = INT64_MIN));
  TAKEN(prefill, (good.num_heads_kv = 1, good.k.strides.head = 3, good.v.strides.head = INT64_MAX));
  TAKEN(prefill, (good.sequences_q.max_seqlen = 1, good.q.strides.token = 3,
                  good.o.strides.token = INT64_MIN));
  TAKEN(prefill, (good.sequences_kv.max_seqlen = 0, good.k = (wkv_tensor){NULL, {3, 3, 3}},
                  good.v = (wkv_tensor){NULL, {INT64_MIN, INT64_MAX, 1}}));
  ints[BATCH] = ints[1] = TOKENS;
  TAKEN(prefill, (good.sequences_q = (wkv_sequences){ints, NULL, TOKENS, TOKENS},
                  good.sequences_kv = good.sequences_q, good.q.strides.batch = 3,
                  good.k.strides.batch = INT64_MIN, good.o.strides.batch = 0,
                  good.lse.batch_stride = INT64_MIN));
  ints[BATCH] = ints[1] = 0;

  wkv_score_params score = {.struct_size = sizeof(score),
                            .q = q,
                            .k = k,
                            .lse = lse,
                            .sequences_q = sequences,
                            .sequences_kv = sequences,
                            .observations = observations,
                            .window_scores = {floats, WINDOWS, WINDOWS},
                            .column_heads = HEADS_KV,
                            .max_windows = WINDOWS,
                            .pooling_width = 1,
                            .batch = BATCH,
                            .num_heads_q = HEADS_Q,
                            .num_heads_kv = HEADS_KV,
                            .head_dim = HEAD_DIM,
                            .softmax_scale = 0.5f,
                            .flags = flags};
  if (kernels->score_workspace_size(&score, &score.workspace_bytes) != WKV_OK) return EXIT_FAILURE;
  score.workspace = zeros(score.workspace_bytes);
  ACCEPTED(score);
  REFUSED(score, bad.observations = NULL, "observations is null");
  REFUSED(score, bad.lse.data = NULL, "lse is null");
  REFUSED(score, bad.window_scores.data = NULL, "both null");
  REFUSED(score, bad.window_scores.batch_stride = huge + 1, "window_scores.batch_stride");
  REFUSED(score, (bad.column_scores = lse, bad.column_heads = 3), "column_heads is 3");
  REFUSED(score, bad.pooling_width = 2, "pooling_width is 2, not odd");
  REFUSED(score, bad.pooling_width = 4097, "pooling_width is 4097, over 4095");
  TAKEN(score, good.pooling_width = 4095);
  REFUSED(score, bad.pooling = (wkv_pooling)7, "pooling is 7");
  REFUSED(score, bad.softmax_scale = -1, "softmax_scale is -1");
  REFUSED(score, bad.workspace_bytes -= 1, "workspace_bytes");
  REFUSED(score, bad.workspace = NULL, "workspace is null");
  REFUSED(score, bad.workspace = off_by(score.workspace, 8),
          "workspace is not aligned to 16 bytes");
  REFUSED(score, bad.max_windows = -1, "max_windows -1");
  REFUSED(score, bad.window_scores.batch_stride = 1, "window_scores: its strides");
  REFUSED(score, bad.window_scores.data = lse.data, "window_scores overlaps lse");
  REFUSED(score, bad.workspace = k.data, "workspace overlaps k");
  REFUSED(score, (bad.column_scores = bad.window_scores, bad.max_columns = 2),
          "column_scores: its strides");
  REFUSED(score,
          (bad.column_scores = bad.window_scores, bad.column_scores.batch_stride = 16,
           bad.column_scores.head_stride = 8, bad.max_columns = 2),
          "column_scores overlaps window_scores");
  REFUSED(score, bad.flags = (uint32_t*)observations, "flags overlaps observations");
  TAKEN(score, (good.batch = 1, good.q.strides.batch = 3, good.k.strides.batch = INT64_MIN,
                good.lse.batch_stride = INT64_MIN, good.window_scores.batch_stride = INT64_MAX,
                good.window_scores.head_stride = INT64_MIN, good.column_scores.head_stride = 3));

  wkv_select_params select = {sizeof(select), floats, ints, more_ints, zeros(ROOM), lens,  WINDOWS,
                              WINDOWS,        BATCH,  1,    WINDOWS,   WINDOWS,     flags, NULL};
  ACCEPTED(select);
  REFUSED(select, bad.scores = NULL, "scores is null");
  REFUSED(select, bad.num_keep = off_by(more_ints, 1), "num_keep is not aligned");
  REFUSED(select, bad.scores_stride = 2, "rows overlap");
  REFUSED(select, bad.indices_stride = huge + 1, "indices_stride");
  REFUSED(select, bad.rows_per_sequence = 0, "rows_per_sequence is 0");
  REFUSED(select, (bad.rows = 3, bad.rows_per_sequence = 2), "not a multiple of rows_per_sequence");
  REFUSED(select, bad.max_windows = 131073, "not in [0, 131072]");
  REFUSED(select, bad.indices = more_ints, "indices overlaps num_keep");
  REFUSED(select, bad.num_kept = off_by(bad.indices, 8), "indices overlaps num_kept");
  TAKEN(select, (good.rows = 1, good.scores_stride = INT64_MIN, good.indices_stride = INT64_MAX));

  const wkv_gather_layer layer = {k.data, v.data, k_cache.data, v_cache.data};
  wkv_gather_params gather = {.struct_size = sizeof(gather),
                              .layers = &layer,
                              .num_layers = 1,
                              .source_strides = k.strides,
                              .sequences_kv = sequences,
                              .cache = {.strides = k_cache.strides, .capacity = 8},
                              .observations = observations,
                              .indices = ints,
                              .num_kept = more_ints,
                              .index_batch_stride = WINDOWS,
                              .index_head_stride = WINDOWS,
                              .index_heads = 1,
                              .max_keep = WINDOWS,
                              .kept_lens = lens,
                              .batch = BATCH,
                              .num_heads_kv = HEADS_KV,
                              .head_dim = HEAD_DIM,
                              .flags = flags};
  wkv_gather_layer other = layer;
  ACCEPTED(gather);
  REFUSED(gather, bad.layers = NULL, "layers is null");
  REFUSED(gather, bad.num_layers = 0, "num_layers is 0");
  REFUSED(gather, (other = layer, other.k_cache = NULL, bad.layers = &other), "k_cache is null");
  REFUSED(gather, (other = layer, other.v_source = off_by(v.data, 4), bad.layers = &other),
          "not aligned");
  REFUSED(gather, (other = layer, other.k_cache = off_by(k.data, 64), bad.layers = &other),
          "overlaps its source in part");
  REFUSED(gather, (other = layer, other.k_cache = k.data, bad.layers = &other),
          "compacted in place");
  REFUSED(gather, (other = layer, other.v_cache = k_cache.data, bad.layers = &other),
          "k_cache of layer 0 overlaps v_cache of layer 0");
  REFUSED(gather, (other = layer, other.v_cache = off_by(k_cache.data, 64), bad.layers = &other),
          "k_cache of layer 0 overlaps v_cache of layer 0");
  REFUSED(gather, (other = layer, other.v_cache = k.data, bad.layers = &other),
          "v_cache of layer 0 overlaps k_source of layer 0");
  REFUSED(gather, bad.cache.strides.batch = 0, "k_cache and v_cache: its strides");
  REFUSED(gather, bad.kept_lens = more_ints, "kept_lens overlaps num_kept");
  REFUSED(gather, bad.kept_lens = ints, "kept_lens overlaps indices");
  REFUSED(gather, bad.kept_lens = k_cache.data, "k_cache overlaps kept_lens");
  const wkv_gather_layer chain[2] = {layer, {k_cache.data, v.data, zeros(ROOM), zeros(ROOM)}};
  REFUSED(gather, (bad.layers = chain, bad.num_layers = 2),
          "k_cache of layer 0 overlaps k_source of layer 1");
  const wkv_gather_layer twice[2] = {layer, layer};
  REFUSED(gather, (bad.layers = twice, bad.num_layers = 2),
          "k_cache of layer 0 overlaps k_cache of layer 1");
  /* Sources may be shared, keys and values may take turns in one buffer, and one layer may be
   * compacted in place beside another. */
  char* pairs = zeros(ROOM);
  const wkv_gather_layer shared[2] = {{k.data, k.data, pairs, pairs + 2 * HEAD_DIM},
                                      {k.data, v.data, pairs + 4 * HEAD_DIM, pairs + 6 * HEAD_DIM}};
  TAKEN(gather, (good.layers = shared, good.num_layers = 2,
                 good.cache.strides = (wkv_strides){64 * HEADS_KV * HEAD_DIM,
                                                    4 * HEADS_KV * HEAD_DIM, 4 * HEAD_DIM}));
  const wkv_gather_layer in_place[2] = {{k.data, v.data, k.data, v.data},
                                        {k_cache.data, v_cache.data, k_cache.data, v_cache.data}};
  TAKEN(gather, (good.layers = in_place, good.num_layers = 2, good.cache.capacity = TOKENS,
                 good.cache.strides = k.strides));
  /* A source in the gaps of its cache. */
  other = (wkv_gather_layer){pairs + 2 * HEAD_DIM, v.data, pairs, v_cache.data};
  TAKEN(gather, (good.layers = &other,
                 good.source_strides = good.cache.strides = (wkv_strides){
                     32 * HEADS_KV * HEAD_DIM, 2 * HEADS_KV * HEAD_DIM, 2 * HEAD_DIM}));
  TAKEN(gather,
        (good.batch = 1, good.source_strides.batch = 3, good.cache.strides.batch = INT64_MIN,
         good.index_batch_stride = INT64_MAX, good.index_head_stride = INT64_MIN));
  REFUSED(gather,
          (bad.batch = 2147483647, bad.num_heads_kv = 2147483647, bad.layers = chain,
           bad.num_layers = 2, bad.source_strides = bad.cache.strides = (wkv_strides){8, 8, 0}),
          "gather: ");
  REFUSED(gather, bad.index_heads = 3, "index_heads is 3");
  REFUSED(gather, bad.index_batch_stride = huge + 1, "index_batch_stride");
  REFUSED(gather, (bad.sequences_kv.seqlens = lens), "kept_lens overlaps seqlens");
  REFUSED(gather, bad.cache.capacity = -1, "cache.capacity is -1");
  REFUSED(gather, bad.cache.strides.token = huge, "cache.strides.token");
  REFUSED(gather, (bad.cache.page_table = ints, bad.cache.page_len = 3),
          "page_len is 3, not a power of two");
  REFUSED(gather,
          (bad.cache.page_table = ints, bad.cache.page_len = 4, bad.cache.page_table_stride = 1),
          "page table has 1 pages of 4 tokens");

  wkv_decode_params decode = {
      .struct_size = sizeof(decode),
      .q = q,
      .k_new = k,
      .v_new = v,
      .o = o,
      .k_cache = k_cache.data,
      .v_cache = v_cache.data,
      .cache = {.strides = {0, HEADS_KV * HEAD_DIM, HEAD_DIM}, .capacity = 300},
      .cache_lens = ints,
      .batch = 1,
      .num_heads_q = HEADS_Q,
      .num_heads_kv = HEADS_KV,
      .head_dim = HEAD_DIM,
      .softmax_scale = 0.5f,
      .flags = flags};
  if (kernels->decode_workspace_size(&decode, &decode.workspace_bytes) != WKV_OK)
    return EXIT_FAILURE;
  decode.workspace = zeros(decode.workspace_bytes);
  ACCEPTED(decode);
  REFUSED(decode, bad.cache_lens = NULL, "cache_lens is null");
  REFUSED(decode, bad.v_new.data = NULL, "v_new is null");
  REFUSED(decode, bad.k_new.data = NULL, "v_new is given without k_new");
  REFUSED(decode, bad.k_cache = off_by(k_cache.data, 2), "k_cache is not aligned");
  REFUSED(decode, bad.lse = off_by(floats, 2), "lse is not aligned");
  REFUSED(decode, bad.workspace_bytes = 0, "workspace_bytes is 0");
  REFUSED(decode, bad.q.strides.head = 4, "q.strides.head is 4, not a multiple of 8");
  REFUSED(decode, bad.v_cache = k_cache.data, "k_cache overlaps v_cache");
  REFUSED(decode, bad.v_cache = off_by(k_cache.data, 64), "k_cache overlaps v_cache");
  REFUSED(decode, bad.v_new.data = o.data, "o overlaps v_new");
  REFUSED(decode, bad.k_new.data = v_cache.data, "v_cache overlaps k_new");
  REFUSED(decode, bad.o.data = q.data, "o overlaps q");
  REFUSED(decode, bad.o.strides.head = 0, "o: its strides");
  REFUSED(decode, bad.lse = o.data, "o overlaps lse");
  REFUSED(decode, bad.workspace = k_cache.data, "workspace overlaps k_cache");
  REFUSED(decode, (bad.batch = 2, bad.cache.capacity = 100), "k_cache: its strides");
  /* A cache that is only read may be shared, also by keys and values. */
  TAKEN(decode, (good.k_new.data = good.v_new.data = NULL, good.v_cache = good.k_cache));
  TAKEN(decode, (good.q.strides.token = 7, good.q.strides.batch = INT64_MIN,
                 good.o.strides.batch = 3, good.k_new.strides.token = INT64_MAX,
                 good.cache.strides.batch = INT64_MIN, good.cache.page_table_stride = INT64_MIN));
  TAKEN(decode,
        (good.cache.capacity = 0, good.k_cache = good.v_cache = NULL, good.cache.strides.head = 3));
  REFUSED(decode, (bad.batch = 1 << 20, bad.cache.strides.batch = 0), "split the batch");
  expect_refusal(kernels->decode_workspace_size(&decode, NULL), "decode_workspace_size",
                 "bytes = NULL", "bytes is null");
  expect_refusal(kernels->score_workspace_size(&score, NULL), "score_workspace_size",
                 "bytes = NULL", "bytes is null");

  wkv_advance_params advance = {sizeof(advance), ints, BATCH, 1, NULL};
  ACCEPTED(advance);
  REFUSED(advance, bad.values = NULL, "values is null");
  REFUSED(advance, bad.count = -1, "count is -1");

  wkv_rms_norm_params rms_norm = {
      sizeof(rms_norm), q.data, NULL, NULL, k.data, o.data, 64, 0, 0, 64, 3, 64, 1e-5f,
      WKV_BF16,         NULL};
  ACCEPTED(rms_norm);
  REFUSED(rms_norm, bad.weight = NULL, "weight is null");
  REFUSED(rms_norm, bad.x = off_by(q.data, 2), "x is not aligned");
  REFUSED(rms_norm, bad.hidden = 63, "hidden is 63, not a multiple of 8");
  REFUSED(rms_norm, bad.out_stride = 56, "out: its strides lead to one place twice");
  REFUSED(rms_norm, bad.x_stride = huge, "x_stride");
  REFUSED(rms_norm, (bad.sum = o.data, bad.sum_stride = 64), "sum overlaps out");
  REFUSED(rms_norm, (bad.out = q.data, bad.x_stride = 128), "out overlaps x");
  REFUSED(rms_norm, (bad.out = off_by(q.data, 128)), "out overlaps x");
  REFUSED(rms_norm, bad.weight = o.data, "out overlaps weight");
  REFUSED(rms_norm,
          (bad.residual = v.data, bad.residual_stride = 72, bad.sum = v.data, bad.sum_stride = 64),
          "sum overlaps residual");
  TAKEN(rms_norm, good.out = q.data);
  TAKEN(rms_norm, (good.sum = q.data, good.sum_stride = 64));
  TAKEN(rms_norm, (good.residual = good.sum = v.data, good.residual_stride = good.sum_stride = 72));
  TAKEN(rms_norm, (good.out_stride = -64, good.out = off_by(o.data, 1024)));
  TAKEN(rms_norm, (good.rows = 1, good.x_stride = 3, good.out_stride = INT64_MIN));
  TAKEN(rms_norm, (good.residual_stride = 3, good.sum_stride = INT64_MAX));

  wkv_rope_params rope = {sizeof(rope), q,        k,        ints,    zeros(ROOM), TOKENS,
                          HEADS_Q,      HEADS_KV, HEAD_DIM, WKV_F16, NULL};
  ACCEPTED(rope);
  REFUSED(rope, bad.positions = NULL, "positions is null");
  REFUSED(rope, bad.turns = off_by(floats, 4), "turns is not aligned to 8 bytes");
  REFUSED(rope, bad.k.data = q.data, "q overlaps k");
  REFUSED(rope, (bad.k = (wkv_tensor){off_by(q.data, 2 * HEAD_DIM), q.strides}), "q overlaps k");
  REFUSED(rope, bad.q.strides.token = 0, "q: its strides");
  REFUSED(rope, bad.positions = q.data, "q overlaps positions");
  TAKEN(rope, (good.q = (wkv_tensor){one_buffer, fused},
               good.k = (wkv_tensor){one_buffer + 2 * HEADS_Q * HEAD_DIM, fused}));
  TAKEN(rope, (good.q.strides.batch = 3, good.k.strides.batch = INT64_MIN));
  TAKEN(rope, (good.k = (wkv_tensor){NULL, {3, 3, 3}}));
  REFUSED(rope, bad.tokens = -1, "tokens is -1");

  wkv_silu_mul_params silu_mul = {sizeof(silu_mul), q.data, k.data, o.data, 64, 64, 64, 3, 64,
                                  WKV_F16,          NULL};
  ACCEPTED(silu_mul);
  REFUSED(silu_mul, bad.gate = NULL, "gate is null");
  REFUSED(silu_mul, bad.columns = 12, "columns is 12, not a multiple of 8");
  REFUSED(silu_mul, bad.out_stride = 8, "out: its strides lead to one place twice");
  REFUSED(silu_mul, (bad.out = q.data, bad.gate_stride = 128), "out overlaps gate");
  REFUSED(silu_mul, bad.out = off_by(k.data, 16), "out overlaps up");
  TAKEN(silu_mul, good.out = q.data);
  TAKEN(silu_mul, good.out = k.data);
  /* gate, up and out as columns of one buffer. */
  TAKEN(silu_mul, (good.gate = one_buffer, good.up = one_buffer + 128, good.out = one_buffer + 256,
                   good.gate_stride = good.up_stride = good.out_stride = 192));
  REFUSED(silu_mul, bad.rows = -1, "rows is -1");

  wkv_embedding_params embedding = {sizeof(embedding), q.data, ints, o.data, 64, 64, 3, 5, 64,
                                    WKV_F16,           flags,  NULL};
  ACCEPTED(embedding);
  REFUSED(embedding, bad.table = NULL, "table is null");
  REFUSED(embedding, bad.ids = NULL, "ids is null");
  REFUSED(embedding, bad.vocab = -1, "vocab is -1");
  REFUSED(embedding, bad.out = off_by(q.data, 64), "out overlaps table");
  REFUSED(embedding, bad.out_stride = 0, "out: its strides");
  REFUSED(embedding, bad.ids = o.data, "out overlaps ids");

  wkv_sample_params sample = {sizeof(sample), floats, NULL, NULL, lens, 64, 3, 64,
                              WKV_F32,        flags,  NULL};
  ACCEPTED(sample);
  REFUSED(sample, bad.logits = NULL, "logits is null");
  REFUSED(sample, bad.tokens = off_by(lens, 2), "tokens is not aligned");
  REFUSED(sample, bad.vocab = 0, "vocab is 0");
  REFUSED(sample, bad.sampling = (const wkv_sampling*)floats, "steps is null");
  REFUSED(sample, bad.dtype = (wkv_dtype)9, "dtype is 9");
  REFUSED(sample, bad.logits_stride = huge + 1, "logits_stride");
  REFUSED(sample, bad.tokens = (int32_t*)floats + 70, "tokens overlaps logits");
  REFUSED(sample, (bad.sampling = zeros(ROOM), bad.steps = lens), "tokens overlaps steps");

  uint64_t turns[HEAD_DIM / 2];
  const char* rope_turns = "rope_turns";
  expect_refusal(wkv_rope_turns(turns, 31, 1e4, NULL), rope_turns, "head_dim = 31",
                 "head_dim is 31");
  expect_refusal(wkv_rope_turns(NULL, HEAD_DIM, 1e4, NULL), rope_turns, "turns = NULL",
                 "turns is null");
  expect_refusal(wkv_rope_turns(turns, HEAD_DIM, -1, NULL), rope_turns, "theta = -1",
                 "theta is -1");

  printf("%d calls, %d of them not answered as they should be\n", cases, failures);
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
