//! The sum of each row: shuffles, shared memory, one barrier.

use super::{Bug, bugs};

#[rustfmt::skip]
pub(crate) const BUGS: &[Bug] = bugs! {
    "no-barrier", "the barrier between writing and reading the warps' sums is gone",
        [("kernel.cuh", "  ptx::sync_threads();\n", "")];
    "barrier-of-one-warp", "only warp 0 comes to the barrier",
        [("kernel.cuh", "  ptx::sync_threads();", "  if (warp_idx == 0) ptx::sync_threads();")];
    "divergent-barrier", "the lanes of a warp come to the barrier from two branches",
        [("kernel.cuh", "  ptx::sync_threads();",
          "  if (lane_idx < 16) {\n    ptx::sync_threads();\n  } else {\n    ptx::sync_threads();\n  }")];
    "tail-one-too-far", "the sum reads one column past the row",
        [("kernel.cuh", "c < params.columns", "c <= params.columns")];
    "tail-one-short", "the sum leaves the last column out",
        [("kernel.cuh", "c < params.columns", "c + 1 < params.columns")];
    "shuffle-starts-at-8", "the shuffles add 16 of 32 lanes",
        [("kernel.cuh", "distance = 16", "distance = 8")];
    "shuffle-half-mask", "the shuffles name half of the lanes that take part",
        [("kernel.cuh", "shuffle_xor(value, distance)", "shuffle_xor(value, distance, 0xffff)")];
    "shuffle-in-branch", "the last shuffles run in 8 lanes and name 32",
        [("kernel.cuh", "    sum = warp_sum(lane_idx < kWarps ? smem.warp_sums[lane_idx] : 0);",
          "    if (lane_idx < kWarps) sum = warp_sum(smem.warp_sums[lane_idx]);")];
    "slot-past-the-plan", "lane 8 reads past the warps' sums",
        [("kernel.cuh", "lane_idx < kWarps ?", "lane_idx <= kWarps ?")];
    "plan-too-small", "the plan of shared memory has one slot too few",
        [("config.cuh", "warp_sums[kWarps]", "warp_sums[kWarps - 1]")];
    "all-lanes-write", "every lane writes its warp's slot",
        [("kernel.cuh", "if (lane_idx == 0) smem.warp_sums", "smem.warp_sums")];
    "two-warps-one-slot", "two warps share a slot",
        [("kernel.cuh", "warp_sums[warp_idx] = sum", "warp_sums[warp_idx / 2] = sum")];
};
