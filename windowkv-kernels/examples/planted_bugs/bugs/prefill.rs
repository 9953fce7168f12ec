//! Attention over prompts.

use super::{Bug, bugs};

#[rustfmt::skip]
pub(crate) const BUGS: &[Bug] = bugs! {
    "no-barrier-before-k", "nobody waits for the others' part of k, nor until they are done with v",
        [("kernel.cuh", "    ptx::sync_threads();\n    load_kv(step + 1, false);", "    load_kv(step + 1, false);")];
    "load-before-barrier", "the next k is loaded before all are done with the v in its place",
        [("kernel.cuh", "    ptx::sync_threads();\n    load_kv(step + 1, false);",
          "    load_kv(step + 1, false);\n    ptx::sync_threads();")];
    "wait-count", "the wait for k leaves it in flight",
        [("kernel.cuh", "    ptx::cp_async_wait<1>();\n    ptx::sync_threads();\n    load_kv(step + 1, false);",
          "    ptx::cp_async_wait<2>();\n    ptx::sync_threads();\n    load_kv(step + 1, false);")];
    "ring-of-two", "the ring has two places, loads are two ahead",
        [("config.cuh", "kStages = 3", "kStages = 2")];
    "barrier-of-active-warps", "only the warps that see keys of the step come to the second barrier",
        [("kernel.cuh", "    ptx::sync_threads();\n    load_kv(step + 1, true);",
          "    if (active) ptx::sync_threads();\n    load_kv(step + 1, true);")];
    "q-not-awaited", "o is put over q while it may be in flight",
        [("kernel.cuh", "  ptx::cp_async_wait<0>();\n  ptx::sync_threads();\n  store", "  store")];
    "rows-past-the-end", "keys and values past the last one are loaded: 0 x NaN",
        [("kernel.cuh", "row_gmem + piece * kPiece, inside ? 16 : 0)", "row_gmem + piece * kPiece, 16)")];
    "mask-one-too-far", "a row sees the key after its own",
        [("/common/attention.cuh", ">= seen)", "> seen)")];
    "mask-only-last-step", "the last step is masked, and none before it",
        [("kernel.cuh", "if (warp_first_visible - kv_start < kTileN)", "if (step == num_steps - 1)")];
    "aligned-at-the-top", "row i sees key i, whatever the lengths are",
        [("kernel.cuh", "tile.first_token + 1 + sequence_kv.seqlen - sequence_q.seqlen", "tile.first_token + 1")];
    "finite-sentinel", "masked scores are -1e30",
        [("/common/attention.cuh", "s[j][2 * h + e] = -kInfinity", "s[j][2 * h + e] = -1e30f")];
    "inf-minus-inf", "rows without keys compute (-inf) - (-inf)",
        [("/common/attention.cuh", "const float shift = state.max[i][h] == -kInfinity ? 0 : state.max[i][h];",
          "const float shift = state.max[i][h];")];
    "o-not-rescaled", "o stays at the old maximum",
        [("/common/attention.cuh", "if (ptx::vote_any(moved))", "if (ptx::vote_any(moved) && false)")];
    "sum-of-two-lanes", "the sum is of two of a row's four lanes",
        [("/common/attention.cuh", "    row += ptx::shuffle_xor(row, 2);\n", "")];
    "heads-strided-as-contiguous", "the heads of k are taken to lie side by side",
        [("kernel.cuh", "head_kv * x.strides.head", "head_kv * kHeadDim")];
    "wrong-kv-head", "two KV heads' query heads read the first one's keys and values",
        [("kernel.cuh", "head_kv * x.strides.head", "head_kv / 2 * x.strides.head")];
    "grid-rounded-down", "the last tile has no block",
        [("config.cuh", "const int64_t tiles = ceil_div<int64_t>(params.sequences_q.max_seqlen * group, kTileM);",
          "const int64_t tiles = std::max<int64_t>(params.sequences_q.max_seqlen * group / kTileM, 1);")];
    "store-past-the-end", "rows after the last one are stored",
        [("kernel.cuh", "    if (row >= tile.num_rows) break;\n", "")];
    "lse-in-base-2", "lse is half in base 2",
        [("kernel.cuh", "fmaf(state.max[i][h], kLn2, logf(sum))", "state.max[i][h] + logf(sum)")];
    "offsets-of-32-bits", "offsets of keys and values are 32 bits wide",
        [("kernel.cuh", "x_gmem + (kv_start + first_row) * token_stride", "x_gmem + static_cast<int>((kv_start + first_row) * token_stride)")];
    "limit-not-told", "a row whose scores are so large that p is wrong is not NaN",
        [("/common/attention.cuh", "return size < kMaxScore || max[i][h] == -kInfinity ? row : kNan;", "return row;")];
    "heads-not-divisible", "a number of query heads that is no multiple of the KV heads is taken",
        [("/common/check.cpp", "num_heads_q % num_heads_kv == 0", "num_heads_q >= num_heads_kv")];
    "head-dim-not-checked", "a head_dim that there is no kernel for runs as one of 128",
        [("/common/check.cpp", "head_dim == 32 || head_dim == 64 || head_dim == 96 || head_dim == 128", "head_dim > 0"),
         ("/common/dispatch.h", "return set_error(WKV_INVALID_ARGUMENT, \"head_dim is not 32, 64, 96 or 128\");", "return run.template operator()<T, 128>();")];
    "empty-grid", "a batch of no sequences is launched",
        [("emulate.cpp", "  if (prefill::num_blocks(*params) == 0) return WKV_OK;\n", "")];
    "range-not-flagged", "cu_seqlens that descend raise no flag",
        [("kernel.cuh", "    raise_flag(params.flags, WKV_FLAG_RANGE);\n", "")];
    "seqlens-not-read", "padding is attended to",
        [("/common/sequences.cuh", "if (sequences.seqlens != nullptr) {\n    sequence.seqlen =", "if (false) {\n    sequence.seqlen =")];
};
