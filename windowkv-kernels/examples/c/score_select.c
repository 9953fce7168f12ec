/* Scores the windows of a random K, keeps the best, and gathers their keys and values: three calls of
 * windowkv.h from C. It runs on the emulated GPU, whose memory is the host's; on a GPU the table is
 * that of wkv_cuda_kernels(), memory comes from cudaMalloc, and `stream` is a cudaStream_t. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "windowkv.h"

enum {
  SEQLEN = 200,
  SUFFIX_LEN = 8,
  WINDOW_LEN = 16,
  NUM_HEADS_Q = 4,
  NUM_HEADS_KV = 2,
  HEAD_DIM = 64,
  NUM_WINDOWS = (SEQLEN - SUFFIX_LEN + WINDOW_LEN - 1) / WINDOW_LEN,
  NUM_KEEP = 4,
  CAPACITY = NUM_KEEP * WINDOW_LEN + SUFFIX_LEN
};

static void check(int status, const char* what) {
  if (status == WKV_OK) return;
  fprintf(stderr, "%s: status %d: %s\n", what, status, wkv_last_error());
  exit(EXIT_FAILURE);
}

static void* device_memory(size_t bytes) {
  void* memory = aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (memory == NULL) {
    fprintf(stderr, "%zu bytes of memory are not to be had\n", bytes);
    exit(EXIT_FAILURE);
  }
  memset(memory, 0, bytes);
  return memory;
}

/* The bits of random float16 numbers between 1/4 and 2, of both signs. */
static uint16_t* random_numbers(size_t count, uint32_t seed) {
  uint16_t* numbers = device_memory(count * sizeof(uint16_t));
  for (size_t i = 0; i < count; ++i) {
    seed = seed * 1664525u + 1013904223u;
    const uint32_t sign = seed >> 31, exponent = 13 + (seed >> 20) % 3, fraction = seed >> 10 & 0x3ff;
    numbers[i] = (uint16_t)(sign << 15 | exponent << 10 | fraction);
  }
  return numbers;
}

/* [1, tokens, heads, HEAD_DIM], tokens outermost. */
static wkv_strides tokens_outermost(int64_t tokens, int64_t heads) {
  const wkv_strides strides = {tokens * heads * HEAD_DIM, heads * HEAD_DIM, HEAD_DIM};
  return strides;
}

int main(void) {
  const wkv_kernels* kernels = wkv_emulated_kernels();
  if (wkv_abi_version() != WKV_ABI_VERSION || kernels->struct_size != sizeof(*kernels)) {
    fprintf(stderr, "the library has ABI version %d, this program was compiled for %d\n",
            wkv_abi_version(), WKV_ABI_VERSION);
    return EXIT_FAILURE;
  }

  const wkv_strides q_strides = tokens_outermost(SUFFIX_LEN, NUM_HEADS_Q);
  const wkv_strides kv_strides = tokens_outermost(SEQLEN, NUM_HEADS_KV);
  const wkv_tensor q = {random_numbers(SUFFIX_LEN * NUM_HEADS_Q * HEAD_DIM, 1), q_strides};
  const wkv_tensor o = {device_memory(SUFFIX_LEN * NUM_HEADS_Q * HEAD_DIM * 2), q_strides};
  uint16_t* k = random_numbers(SEQLEN * NUM_HEADS_KV * HEAD_DIM, 2);
  uint16_t* v = random_numbers(SEQLEN * NUM_HEADS_KV * HEAD_DIM, 3);
  /* Window 6 is what the last query of each second head looks for. */
  for (int token = 6 * WINDOW_LEN; token < 7 * WINDOW_LEN; ++token) {
    for (int head = 0; head < NUM_HEADS_KV; ++head) {
      const uint16_t* last = (const uint16_t*)q.data +
                             ((SUFFIX_LEN - 1) * NUM_HEADS_Q + 2 * head) * HEAD_DIM;
      memcpy(k + (token * NUM_HEADS_KV + head) * HEAD_DIM, last, HEAD_DIM * sizeof(uint16_t));
    }
  }
  const wkv_sequences sequences_q = {.max_seqlen = SUFFIX_LEN};
  const wkv_sequences sequences_kv = {.max_seqlen = SEQLEN};
  const wkv_rows_f32 lse = {device_memory(NUM_HEADS_Q * SUFFIX_LEN * sizeof(float)),
                            NUM_HEADS_Q * SUFFIX_LEN, SUFFIX_LEN};

  /* Attention of the suffix, for the log-sum-exp of its rows. */
  const wkv_prefill_params prefill = {
      .struct_size = sizeof(prefill),
      .q = q,
      .k = {k, kv_strides},
      .v = {v, kv_strides},
      .o = o,
      .lse = lse,
      .sequences_q = sequences_q,
      .sequences_kv = sequences_kv,
      .batch = 1,
      .num_heads_q = NUM_HEADS_Q,
      .num_heads_kv = NUM_HEADS_KV,
      .head_dim = HEAD_DIM,
      .softmax_scale = 0.125f,
      .dtype = WKV_F16,
  };
  check(kernels->prefill(&prefill), "prefill");

  wkv_observation* observation = device_memory(sizeof(*observation));
  *observation = (wkv_observation){.query_len = SUFFIX_LEN,
                                   .suffix_len = SUFFIX_LEN,
                                   .window_len = WINDOW_LEN,
                                   .top_tokens = WINDOW_LEN};
  uint32_t* flags = device_memory(sizeof(*flags));
  float* scores = device_memory(NUM_WINDOWS * sizeof(float));
  wkv_score_params score = {
      .struct_size = sizeof(score),
      .q = q,
      .k = {k, kv_strides},
      .lse = lse,
      .sequences_q = sequences_q,
      .sequences_kv = sequences_kv,
      .observations = observation,
      .window_scores = {scores, NUM_WINDOWS, NUM_WINDOWS},
      .column_heads = NUM_HEADS_KV,
      .max_windows = NUM_WINDOWS,
      .pooling_width = 1,
      .pooling = WKV_POOL_AVERAGE,
      .batch = 1,
      .num_heads_q = NUM_HEADS_Q,
      .num_heads_kv = NUM_HEADS_KV,
      .head_dim = HEAD_DIM,
      .softmax_scale = 0.125f,
      .dtype = WKV_F16,
      .flags = flags,
  };
  check(kernels->score_workspace_size(&score, &score.workspace_bytes), "score_workspace_size");
  score.workspace = device_memory(score.workspace_bytes);
  check(kernels->score(&score), "score");

  int32_t* num_windows = device_memory(sizeof(*num_windows));
  int32_t* num_keep = device_memory(sizeof(*num_keep));
  int32_t* num_kept = device_memory(sizeof(*num_kept));
  int32_t* indices = device_memory(NUM_KEEP * sizeof(*indices));
  *num_windows = NUM_WINDOWS;
  *num_keep = NUM_KEEP;
  const wkv_select_params select = {
      .struct_size = sizeof(select),
      .scores = scores,
      .num_windows = num_windows,
      .num_keep = num_keep,
      .indices = indices,
      .num_kept = num_kept,
      .scores_stride = NUM_WINDOWS,
      .indices_stride = NUM_KEEP,
      .rows = 1,
      .rows_per_sequence = 1,
      .max_windows = NUM_WINDOWS,
      .max_keep = NUM_KEEP,
      .flags = flags,
  };
  check(kernels->select(&select), "select");

  int32_t* kept_len = device_memory(sizeof(*kept_len));
  const size_t cache_bytes = CAPACITY * NUM_HEADS_KV * HEAD_DIM * sizeof(uint16_t);
  const wkv_gather_layer layer = {k, v, device_memory(cache_bytes), device_memory(cache_bytes)};
  const wkv_gather_params gather = {
      .struct_size = sizeof(gather),
      .layers = &layer,
      .num_layers = 1,
      .source_strides = kv_strides,
      .sequences_kv = sequences_kv,
      .cache = {.strides = tokens_outermost(CAPACITY, NUM_HEADS_KV), .capacity = CAPACITY},
      .observations = observation,
      .indices = indices,
      .num_kept = num_kept,
      .index_batch_stride = NUM_KEEP,
      .index_head_stride = NUM_KEEP,
      .index_heads = 1,
      .max_keep = NUM_KEEP,
      .kept_lens = kept_len,
      .batch = 1,
      .num_heads_kv = NUM_HEADS_KV,
      .head_dim = HEAD_DIM,
      .dtype = WKV_F16,
      .flags = flags,
  };
  check(kernels->gather(&gather), "gather");

  for (int w = 0; w < NUM_WINDOWS; ++w) {
    int kept = 0;
    for (int i = 0; i < *num_kept; ++i) kept |= indices[i] == w;
    printf("window %2d, tokens %3d to %3d: score %.5f%s\n", w, w * WINDOW_LEN,
           w * WINDOW_LEN + WINDOW_LEN - 1, scores[w], kept ? ", kept" : "");
  }
  printf("%d of %d tokens are in the cache; flags %u\n", *kept_len, SEQLEN, *flags);

  /* The cache holds the kept windows in their order, and then the suffix. */
  int wrong = *num_kept != NUM_KEEP || *kept_len != CAPACITY || *flags != 0;
  const size_t row = NUM_HEADS_KV * HEAD_DIM;
  for (int p = 0; p < *kept_len; ++p) {
    const int inside = p / WINDOW_LEN < NUM_KEEP;
    const int token = inside ? indices[p / WINDOW_LEN] * WINDOW_LEN + p % WINDOW_LEN
                             : SEQLEN - CAPACITY + p;
    wrong |= memcmp((uint16_t*)layer.k_cache + p * row, k + token * row, row * 2) != 0;
    wrong |= memcmp((uint16_t*)layer.v_cache + p * row, v + token * row, row * 2) != 0;
  }
  int best = 0;
  for (int w = 1; w < NUM_WINDOWS; ++w) best = scores[w] > scores[best] ? w : best;
  wrong |= best != 6;
  if (wrong) fprintf(stderr, "the cache does not hold what it should\n");

  /* What a launcher refuses, it explains. */
  wkv_gather_params bad = gather;
  bad.head_dim = 48;
  if (kernels->gather(&bad) == WKV_INVALID_ARGUMENT) printf("refused: %s\n", wkv_last_error());

  void* memory[] = {q.data, o.data,   k,        v,        lse.data, observation,   flags,        scores,
                    num_windows, num_keep, num_kept, indices, kept_len, layer.k_cache, layer.v_cache,
                    score.workspace};
  for (size_t i = 0; i < sizeof(memory) / sizeof(memory[0]); ++i) free(memory[i]);
  return wrong ? EXIT_FAILURE : EXIT_SUCCESS;
}
