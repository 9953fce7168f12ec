//! The gather: which tokens, in which order, and what lies outside.

use super::{Bug, bugs};

#[rustfmt::skip]
pub(crate) const BUGS: &[Bug] = bugs! {
    "whole-last-window", "the short last window counts as a whole one",
        [("kernel.cuh", "min(left, selection.window_len)", "selection.window_len")];
    "suffix-one-late", "the suffix starts one token late",
        [("kernel.cuh", "selection.review_len + (p - selection.num_chosen)", "selection.review_len + 1 + (p - selection.num_chosen)")];
    "suffix-not-clamped", "a suffix longer than its sequence is taken as it is",
        [("kernel.cuh", "seqlen - clamp(observation.suffix_len, 0, seqlen)", "seqlen - observation.suffix_len")];
    "no-barrier-in-place", "in place, a thread writes before the others have read",
        [("kernel.cuh", "    if (division.in_place) ptx::sync_threads();\n", "")];
    "shared-in-place", "in place, several blocks share the tokens",
        [("config.cuh", "divide(launch.params, in_place)", "divide(launch.params, false)")];
    "moves-up", "a window out of order is read from where the cache already is",
        [("kernel.cuh", "clamp(selection.indices[slot], slot, ", "clamp(selection.indices[slot], 0, ")];
    "window-not-clamped", "a window past the end of the sequence is read",
        [("kernel.cuh", "      clamp(selection.indices[slot], slot, int64_t{selection.num_windows} - 1));", "      selection.indices[slot]);"),
         ("kernel.cuh", "min(token, selection.seqlen - 1)", "token")];
    "count-not-clamped", "more windows are taken than a row of indices holds",
        [("kernel.cuh", "clamp(clamp(wanted, 0, params.max_keep), 0, selection.num_windows)", "clamp(wanted, 0, selection.num_windows)")];
    "none-kept-is-all", "a sequence that keeps no window is kept whole",
        [("kernel.cuh", "if (observation.window_len <= 0) return selection;", "if (observation.window_len <= 0 || wanted == 0) return selection;")];
    "capacity-ignored", "tokens are written past the capacity of the cache",
        [("kernel.cuh", "if (!fits) kept_len = params.cache.capacity;", "")];
    "capacity-not-told", "nobody is told that the cache was too small",
        [("kernel.cuh", "      if (!fits) raise_flag(params.flags, WKV_FLAG_CAPACITY);\n", "")];
    "order-not-checked", "a list out of order is not flagged",
        [("kernel.cuh", "head < params.index_heads && !ascending(selection)", "head < 0")];
    "page-not-checked", "a page that is not there is written",
        [("/common/cache.cuh", "page >= cache.num_pages", "page > cache.num_pages")];
    "pages-of-sequence-0", "all sequences use the pages of the first",
        [("/common/cache.cuh", "batch_idx * cache.page_table_stride + index", "index")];
    "one-list-for-all", "heads with lists of their own use the first head's",
        [("kernel.cuh", "params.index_heads == 1 ? 0 : head", "0")];
    "keys-as-values", "the values' cache gets the keys",
        [("kernel.cuh", "is_value ? layer.v_source : layer.k_source", "layer.k_source")];
    "first-layers-again", "a second launch gathers the first layers again",
        [("config.cuh", "params.layers + first", "params.layers")];
    "next-row-of-threads", "a thread takes the row of its neighbour's piece",
        [("kernel.cuh", "threadIdx.x / division.pieces;", "(threadIdx.x + 1) / division.pieces;")];
};
