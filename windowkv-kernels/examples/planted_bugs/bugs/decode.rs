//! Attention of one new token over a cache.

use super::{Bug, bugs};

#[rustfmt::skip]
pub(crate) const BUGS: &[Bug] = bugs! {
    "no-fence-before-count", "nothing orders a block's results before its count",
        [("kernel.cuh", "    ptx::fence_gpu();\n    uint32_t* counter", "    uint32_t* counter")];
    "no-barrier-before-count", "a block is counted before all of its threads have written",
        [("kernel.cuh", "  ptx::sync_threads();\n  if (threadIdx.x == 0) {", "  if (threadIdx.x == 0) {")];
    "counter-left", "the counter is not set back: state leaks into the next call",
        [("kernel.cuh", "      ptx::atomic_exchange(counter, 0);\n", "")];
    "last-block-early", "the block before the last adds up the splits",
        [("kernel.cuh", "if (smem.num_done == num_splits - 1)", "if (smem.num_done == num_splits - 2)"),
         ("kernel.cuh", "if (smem.num_done != num_splits - 1)", "if (smem.num_done != num_splits - 2)")];
    "unzeroed-in-silence", "a workspace that was not zeroed gives no result and no flag",
        [("kernel.cuh", "  if (smem.num_done == num_splits && work.split_idx == 0) refuse<T, kHeadDim>(params, work);\n", "")];
    "counts-by-one", "small numbers in a workspace that was not zeroed are taken for counts",
        [("config.cuh", "kCountStep = 0x9e3779b1", "kCountStep = 1"),
         ("config.cuh", "kCountInverse = 0x0e8b2f51", "kCountInverse = 1")];
    "inactive-split", "blocks beyond the last split write as well",
        [("kernel.cuh", "  if (work.split_idx >= num_splits) return;\n", "")];
    "empty-split", "a part without keys weighs exp2((-inf) - (-inf))",
        [("kernel.cuh", "    if (partial_max == -kInfinity && partial_sum == 0) return;\n    const float weight = partial_max == max ? 1 : ptx::exp2_approx(partial_max - max);",
          "    const float weight = ptx::exp2_approx(partial_max - max);")];
    "splits-of-the-batch", "the length of a split depends on the batch",
        [("kernel.cuh", "split_len(work.num_keys);", "split_len(work.num_keys) * params.batch;")];
    "parts-not-rescaled", "parts with different maxima are added as they are",
        [("kernel.cuh", "partial_max == max ? 1 : ptx::exp2_approx(partial_max - max);", "1;")];
    "new-token-from-the-cache", "the new token is read from the cache, where another block puts it",
        [("kernel.cuh", "if (token < work.cached) {", "if (token < min(work.num_keys, params.cache.capacity)) {"),
         ("kernel.cuh", "work.appends && first + row == work.cached", "false")];
    "full-cache-forgets", "a token that finds the cache full is not attended to",
        [("kernel.cuh", "cache_len >= 0 && params.k_new.data != nullptr", "cache_len >= 0 && cache_len < params.cache.capacity && params.k_new.data != nullptr")];
    "append-past-the-end", "a full cache is written past its end",
        [("kernel.cuh", "const bool fits = work.cached < params.cache.capacity;", "const bool fits = true;")];
    "left-sequences-append", "sequences that have left the batch append",
        [("kernel.cuh", "cache_len >= 0 && params.k_new.data != nullptr", "params.k_new.data != nullptr")];
    "page-table-not-read", "pages are taken to follow each other",
        [("/common/cache.cuh", "return page * cache.strides.batch", "return index * cache.strides.batch")];
    "empty-grid", "a batch of no sequences is launched",
        [("emulate.cpp", "  if (decode::shape_of(*params).num_blocks() == 0) return WKV_OK;\n", "")];
    "offsets-of-32-bits", "offsets of cached tokens are 32 bits wide",
        [("/common/cache.cuh", "return batch_idx * cache.strides.batch + token * cache.strides.token;",
          "return static_cast<int>(batch_idx * cache.strides.batch + token * cache.strides.token);")];
    "page-not-checked", "a page that is not there is read",
        [("/common/cache.cuh", "  if (page < 0 || page >= cache.num_pages) return kNoPage;\n", ""),
         ("kernel.cuh", "if (token < work.cached) {", "if (token < params.cache.capacity) {")];
    "misaligned-nothing", "a copy of nothing, past the last key, names an address that is not a multiple of 16 bytes",
        [("kernel.cuh", "(inside ? offsets[pass] : 0)", "offsets[pass]")];
    "tail-not-zeroed", "keys and values past the last one are loaded: 0 x NaN",
        [("kernel.cuh", "if (token < work.cached) {", "if (token < params.cache.capacity) {")];
    "tail-not-masked", "keys past the last one weigh exp(0)",
        [("kernel.cuh", "if (seen < kTileN)", "if (false)")];
    "no-warp-barrier-before-load", "a stage is loaded anew while lanes still read it",
        [("kernel.cuh", "    ptx::sync_warp();\n    load_step(step + kStages);", "    load_step(step + kStages);")];
    "wait-count", "the wait for v leaves it in flight",
        [("kernel.cuh", "cp_async_wait<2 * kStages - 2>", "cp_async_wait<2 * kStages - 1>")];
    "no-barrier-between-warps", "the warps' results are added before all have written theirs",
        [("kernel.cuh", "  ptx::sync_threads();\n\n  const Partials partials", "  const Partials partials")];
    "rows-past-the-group", "rows of heads that are not there are stored",
        [("kernel.cuh", "min(shape.group - head_tile * kTileM, kTileM)", "kTileM")];
    "first-tile-of-heads", "every tile of a group takes its first heads",
        [("kernel.cuh", "work.head_kv * shape.group + head_tile * kTileM", "work.head_kv * shape.group")];
    "workspace-not-checked", "a workspace that is too small is taken",
        [("config.cuh", "  check.workspace(params->workspace, params->workspace_bytes, workspace_bytes(*params));\n", "")];
    "counters-in-the-way", "the counters take as many words as the call has tiles, where another call has results",
        [("kernel.cuh", "partials.counters + kMaxTiles", "partials.counters + shape.num_tiles")];
};
