//! The best of each row: a radix select over histograms in shared memory.

use super::{Bug, bugs};

#[rustfmt::skip]
pub(crate) const BUGS: &[Bug] = bugs! {
    "no-barrier-after-counting", "the digit is looked for while other warps count",
        [("kernel.cuh", "    });\n    ptx::sync_threads();\n\n    const Digit found", "    });\n\n    const Digit found")];
    "no-barrier-after-clearing", "warps count while others clear the histograms",
        [("kernel.cuh", "raise_flag(params.flags, WKV_FLAG_NAN);\n  ptx::sync_threads();\n", "raise_flag(params.flags, WKV_FLAG_NAN);\n")];
    "no-barrier-before-writing", "a warp reads the others' counts before they are there",
        [("kernel.cuh", "  ptx::sync_threads();\n\n  // Keys of the runs before this one.", "  // Keys of the runs before this one.")];
    "histograms-not-cleared", "the histograms start as they are",
        [("kernel.cuh", "smem.histograms[pass][threadIdx.x] = 0;", "(void)0;")];
    "plain-count", "the counts are not atomic",
        [("kernel.cuh", "ptx::atomic_add(&smem.histograms[pass][key >> shift & (kBins - 1)], 1u);",
          "++smem.histograms[pass][key >> shift & (kBins - 1)];")];
    "one-histogram", "all digits are counted into one histogram",
        [("kernel.cuh", "ptx::atomic_add(&smem.histograms[pass]", "ptx::atomic_add(&smem.histograms[0]"),
         ("kernel.cuh", "find_digit(smem.histograms[pass], rank)", "find_digit(smem.histograms[0], rank)")];
    "order-of-negatives", "negative numbers are ordered by their size",
        [("kernel.cuh", "score == score ? ordered_key(score)", "score == score ? __builtin_bit_cast(uint32_t, score + 0.0f) ^ 0x80000000")];
    "minus-zero", "-0 is less than 0",
        [("kernel.cuh", "score == score ? ordered_key(score)", "__builtin_bit_cast(uint32_t, score) == 0x80000000 ? 0x7fffffff : score == score ? ordered_key(score)")];
    "nan-is-largest", "a NaN wins",
        [("kernel.cuh", "score == score ? ordered_key(score) : kKeyOfMinusInfinity", "ordered_key(score)")];
    "nan-of-one-lane", "only lane 0 tells of a NaN",
        [("kernel.cuh", "ptx::vote_any(run.load())", "run.load()")];
    "rank-off-by-one", "the threshold is one too low",
        [("kernel.cuh", "rank = num_keep - 1;", "rank = num_keep;")];
    "ends-too-early", "the search ends at the first digit with enough keys",
        [("kernel.cuh", "if (rank + 1 == found.count)", "if (rank + 1 <= found.count)")];
    "ties-of-each-run", "every warp takes ties as if it were the first",
        [("kernel.cuh", "    equal += smem.equal[warp];\n", "")];
    "ties-all-kept", "all keys equal to the threshold are written",
        [("kernel.cuh", "key == threshold.key && equal_before < threshold.equal", "key == threshold.key")];
    "whole-row-is-read", "a row that is kept whole is selected from",
        [("kernel.cuh", "if (wanted == num_windows) {", "if (num_windows == 0) {")];
    "none-kept", "a row of which nothing is kept is searched for the best of none",
        [("kernel.cuh", "  if (num_keep == 0) return;\n", "")];
    "windows-not-clamped", "the number of windows is taken as it is",
        [("kernel.cuh", "clamp(windows_given, 0, params.max_windows)", "clamp(windows_given, 0, kMaxWindows)")];
    "room-not-looked-at", "more are written than there is room for",
        [("kernel.cuh", "min(wanted, params.max_keep)", "wanted")];
    "tail-one-too-far", "the score after the last one takes part",
        [("kernel.cuh", "      held[step] = index < num_windows ?", "      held[step] = index <= num_windows ?"),
         ("kernel.cuh", "const bool inside = first + step * 32 < num_windows;", "const bool inside = first + step * 32 <= num_windows;")];
    "ballot-in-branch", "only the lanes with a large key vote",
        [("kernel.cuh", "const uint32_t lanes_above = ptx::ballot(key > threshold.key);",
          "uint32_t lanes_above = 0;\n    if (key > threshold.key) lanes_above = ptx::ballot(true);")];
};
