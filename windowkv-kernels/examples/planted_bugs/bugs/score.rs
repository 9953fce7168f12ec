//! Column sums on the tensor cores, pooling, and means of the largest of a window.

use super::{Bug, bugs};

#[rustfmt::skip]
pub(crate) const BUGS: &[Bug] = bugs! {
    "no-wait", "nobody waits for keys and rows until the end",
        [("columns.cuh", "if (new_tile || !resident) ptx::cp_async_wait<0>();", "")];
    "no-barrier-of-chunks", "a chunk is used before it has landed for all, and its stage filled while it is read",
        [("columns.cuh", "if (first || !resident) {", "if (first) {")];
    "no-barrier-at-first", "the resident rows are used before they have landed for all",
        [("columns.cuh", "      ptx::sync_threads();\n    } else if (new_tile) {", "      if (!resident) ptx::sync_threads();\n    } else if (new_tile) {")];
    "keys-overwritten", "the next keys come while other lanes still take theirs",
        [("columns.cuh", "      ptx::sync_warp(ptx::kFullWarp);\n      if (step.tile + num_spans < num_tiles) load_k(step.tile + num_spans);", "      if (step.tile + num_spans < num_tiles) load_k(step.tile + num_spans);"),
         ("columns.cuh", "      for (int m = 0; m < kColumnTiles; ++m) {\n#pragma unroll\n        for (int d = 0; d < kHeadDim; d += 16) {\n          // Matrices: columns", "      for (int m = 0; m < kColumnTiles; ++m) {\n        if (m == 1 && step.tile + num_spans < num_tiles) load_k(step.tile + num_spans);\n#pragma unroll\n        for (int d = 0; d < kHeadDim; d += 16) {\n          // Matrices: columns")];
    "wrong-stage", "a chunk is loaded into the stage that is read",
        [("columns.cuh", "load_rows((stage ^ 1) * kChunkRows", "load_rows(stage * kChunkRows")];
    "mask-off-by-one", "a row does not see its own column",
        [("columns.cuh", "16 * m + 8 * e <= seen", "16 * m + 8 * e < seen")];
    "no-mask-on-the-diagonal", "rows that see the first column of a warp count as seeing all",
        [("columns.cuh", "position >= column + kWarpColumns - 1 &&", "position >= column &&")];
    "padding-observes", "rows of zeros at the end of a head observe",
        [("columns.cuh", "const bool observes = row + row_of_tile < visibility.rows;", "const bool observes = true;")];
    "first-rows-observe", "the first rows observe, and not the last",
        [("columns.cuh", "const int64_t first_row = observed.q.seqlen - rows;", "const int64_t first_row = 0;")];
    "row-without-keys", "a log-sum-exp of -inf gives infinite probabilities",
        [("columns.cuh", "lse == -INFINITY ? INFINITY : lse * kLog2E", "lse * kLog2E")];
    "keys-past-the-end", "keys behind the last are read",
        [("columns.cuh", "const bool inside = column < visibility.columns;", "const bool inside = true;")];
    "rows-past-the-end", "query rows behind the last are read",
        [("columns.cuh", "const bool inside = of_head < rows;", "const bool inside = true;")];
    "sums-of-the-last-head", "the sums of a head start from those of the head before",
        [("columns.cuh", "(step.chunk == first_chunk ? 0 : sums[i])", "sums[i]")];
    "first-chunk-too-late", "the chunk of rows on the diagonal is left out",
        [("columns.cuh", "return max(row, 0) / kChunkRows;", "return (max(row, 0) + kChunkRows - 1) / kChunkRows;")];
    "swapped-quad", "the sums of a quad go to each other's columns",
        [("columns.cuh", "return (odd ? second : first) + ptx::shuffle_xor(odd ? first : second, 1);", "return (odd ? first : second) + ptx::shuffle_xor(odd ? second : first, 1);")];
    "swapped-fragment-rows", "columns 0-7 and 8-15 of the keys change places",
        [("columns.cuh", "m * 16 + lane_idx % 16", "m * 16 + (lane_idx ^ 8) % 16")];
    "sequences-share-sums", "the sequences of a batch write over each other's sums",
        [("observed.cuh", "(int64_t{batch_idx} * params.num_heads_q + head)", "int64_t{head}")];
    "window-of-the-batch", "a window is no longer than the batch's longest sequence",
        [("observed.cuh", "clamp(given.window_len, 1, kMaxSeqlen)", "clamp(given.window_len, 1, params.sequences_kv.max_seqlen)")];
    "average-of-the-inside", "the average at the edges is over what lies inside",
        [("pool.cuh", "sum / static_cast<float>(params.pooling_width)", "sum / static_cast<float>(last - first + 1)")];
    "maximum-loses-nan", "the maximum passes a NaN by",
        [("pool.cuh", "if (other > largest || other != other) largest = other;", "if (other > largest) largest = other;")];
    "ties-left-out", "of equal columns in a short window none is kept",
        [("windows.cuh", "other > key || (other == key && first_lane + i < lane_idx)", "other >= key")];
    "zero-times-infinity", "columns that do not count are multiplied by 0",
        [("windows.cuh", "counts ? value : 0", "value * static_cast<float>(counts)")];
    "ties-of-long-windows", "of equal columns in a long window all are kept",
        [("windows.cuh", "const uint32_t taken = min(missing, equal);", "const uint32_t taken = equal;")];
    "halving-ends-early", "the search in a long window leaves the last bit out",
        [("windows.cuh", "bit != 0; bit >>= 1", "bit > 1u << 20; bit >>= 1")];
    "no-barrier-of-heads", "the sums over heads are read before they are there",
        [("windows.cuh", "  ptx::sync_threads();\n", "")];
    "more-windows-than-room", "windows are written that there is no room for",
        [("windows.cuh", "min(observed.num_windows, params.max_windows);", "observed.num_windows;")];
};
