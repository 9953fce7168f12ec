//! The product with `cp.async`, a ring of three stages, `ldmatrix` and `mma`.

use super::{Bug, bugs};

#[rustfmt::skip]
pub(crate) const BUGS: &[Bug] = bugs! {
    "no-barrier", "the barrier after the wait is gone",
        [("kernel.cuh", "    ptx::sync_threads();\n", "")];
    "wait-count", "the wait leaves one group too many in flight",
        [("kernel.cuh", "cp_async_wait<kStages - 2>", "cp_async_wait<kStages - 1>")];
    "no-wait", "nobody waits for the copies until the end",
        [("kernel.cuh", "    ptx::cp_async_wait<kStages - 2>();\n", ""),
         ("kernel.cuh", "  auto* c_gmem", "  ptx::cp_async_wait<0>();\n  auto* c_gmem")];
    "load-before-barrier", "the next stage is loaded before all are done with it",
        [("kernel.cuh", "    ptx::sync_threads();\n    load_stage(tile + kStages - 1);\n",
          "    load_stage(tile + kStages - 1);\n    ptx::sync_threads();\n")];
    "stage-reused-early", "the ring has two stages, loads are two ahead",
        [("kernel.cuh", "const int stage = tile % kStages;", "const int stage = tile % 2;"),
         ("kernel.cuh", "smem.a[tile % kStages]", "smem.a[tile % 2]"),
         ("kernel.cuh", "smem.b[tile % kStages]", "smem.b[tile % 2]")];
    "no-empty-group", "no group is committed for tiles past the end",
        [("kernel.cuh", "    }\n    // An empty group keeps the count of groups equal to the count of tiles.\n    ptx::cp_async_commit();\n",
          "      ptx::cp_async_commit();\n    }\n")];
    "swapped-fragment-rows", "rows 0-7 and 8-15 of a change places",
        [("kernel.cuh", "warp_m + i * 16 + lane_idx % 16", "warp_m + i * 16 + (lane_idx ^ 8) % 16")];
    "wrong-half-of-b", "the halves of b are picked by the wrong lanes",
        [("kernel.cuh", "k + lane_idx / 8 % 2 * 8", "k + lane_idx / 16 * 8")];
    "uninitialised-accumulator", "the accumulators start as they are",
        [("kernel.cuh", "float acc[kWarpM / 16][kWarpN / 8][4] = {};", "float acc[kWarpM / 16][kWarpN / 8][4];")];
    "row-past-the-end", "the row after the last one is loaded",
        [("kernel.cuh", "row < rows && column < k", "row <= rows && column < k")];
    "no-tail-of-k", "columns past k are loaded",
        [("kernel.cuh", "row < rows && column < k", "row < rows")];
    "no-zero-fill", "pieces outside the tensor take the tensor's first bytes",
        [("kernel.cuh", "inside ? 16 : 0", "16")];
    "store-one-too-far", "a column past c is stored",
        [("kernel.cuh", "column < params.n)", "column <= params.n)")];
    "no-swizzle-on-load", "the tiles are stored plain and read swizzled",
        [("kernel.cuh", "ptx::cp_async<16>(piece(tile_smem, i / kPieces, i % kPieces * 8),", "ptx::cp_async<16>(tile_smem + i * 8,")];
    "misaligned-copy", "the copies go to odd places",
        [("kernel.cuh", "ptx::cp_async<16>(piece(tile_smem, i / kPieces, i % kPieces * 8),", "ptx::cp_async<16>(piece(tile_smem, i / kPieces, i % kPieces * 8) + 1,")];
    "fifth-register", "the store reads a fifth accumulator of four",
        [("kernel.cuh", "e < 4; ++e", "e < 5; ++e")];
    "shift-by-width", "a mask is shifted by 32 and more",
        [("kernel.cuh", "const bool inside = row < rows && column < k;",
          "const bool inside = row < rows && column < k && ((1 << (i % 40)) | 1) != 0;")];
};
