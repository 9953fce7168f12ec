//! The planted bugs: what each changes in which file of `cuda/samples`.

/// A bug, as replacements of text that occurs exactly once.
pub(crate) struct Bug {
    pub(crate) name: &'static str,
    /// The kernel's folder in `cuda/samples`.
    pub(crate) sample: &'static str,
    pub(crate) what: &'static str,
    /// File, text, text in its place.
    pub(crate) edits: &'static [(&'static str, &'static str, &'static str)],
}

macro_rules! bugs {
    ($(in $sample:literal: $($name:literal, $what:literal, [$(($file:literal, $old:literal, $new:literal)),+];)*)*) => {
        &[$($(Bug {
            name: $name,
            sample: $sample,
            what: $what,
            edits: &[$(($file, $old, $new)),+],
        },)*)*]
    };
}

#[rustfmt::skip]
pub(crate) const BUGS: &[Bug] = bugs! {
    in "reduction":
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

    in "mma_product":
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

    in "wgmma_product":
    "producer-phase", "the producer waits for the wrong phase",
        [("kernel.cuh", "parity_of(tile) ^ 1", "parity_of(tile)")];
    "consumer-phase", "the consumers wait for the wrong phase",
        [("kernel.cuh", "smem.full[stage], parity_of(tile))", "smem.full[stage], parity_of(tile) ^ 1)")];
    "late-phase-flip", "the phase flips one tile late",
        [("kernel.cuh", "return tile / kStages % 2;", "return (tile > 0 ? tile - 1 : 0) / kStages % 2;")];
    "no-proxy-fence", "the fence between stmatrix and the TMA store is gone",
        [("kernel.cuh", "  ptx::fence_proxy_async();\n", "")];
    "fence-of-one-thread", "one thread fences for all, before the barrier",
        [("kernel.cuh", "  ptx::fence_proxy_async();", "  if (threadIdx.x == 0) ptx::fence_proxy_async();")];
    "no-consumer-barrier", "the TMA store does not wait for the other warps",
        [("kernel.cuh", "  ptx::barrier_sync(kConsumersBarrier, kConsumerThreads);\n", "")];
    "barrier-of-all", "the consumers' barrier waits for the producer too",
        [("kernel.cuh", "barrier_sync(kConsumersBarrier, kConsumerThreads)", "barrier_sync(kConsumersBarrier, kThreads)")];
    "too-few-bytes", "the barrier expects one of the two tiles",
        [("kernel.cuh", "smem.full[stage], kStageBytes)", "smem.full[stage], kStageBytes / 2)")];
    "too-many-bytes", "the barrier expects a third tile",
        [("kernel.cuh", "smem.full[stage], kStageBytes)", "smem.full[stage], kStageBytes / 2 * 3)")];
    "stage-released-early", "a stage is given back while its product is in flight",
        [("kernel.cuh", "if (tile > 0 && lane_idx == 0) ptx::mbarrier_arrive(smem.empty[stage_of(tile - 1)]);",
          "if (lane_idx == 0) ptx::mbarrier_arrive(smem.empty[stage]);")];
    "wait-count", "two products stay in flight, and stages are given back as with one",
        [("kernel.cuh", "ptx::wgmma_wait<1>();", "ptx::wgmma_wait<2>();")];
    "no-last-wait", "the accumulators are read while the last product is in flight",
        [("kernel.cuh", "  ptx::wgmma_wait<0>();\n", "")];
    "no-wgmma-fence", "the accumulators are not fenced",
        [("kernel.cuh", "    ptx::wgmma_fence();\n", "")];
    "uninitialised-accumulator", "the first product adds to what the registers held",
        [("kernel.cuh", "tile > 0 || k > 0", "true")];
    "no-swizzle-on-store", "c is stored plain and read swizzled",
        [("kernel.cuh", "ptx::swizzled(kSwizzle, bytes) / 2", "bytes / 2")];
    "descriptor-stride", "the descriptor steps 4 rows instead of 8",
        [("kernel.cuh", "kSwizzle, 0, 8 * ptx", "kSwizzle, 0, 4 * ptx")];
    "no-mbarrier-fence", "the mbarriers' initialisation is not fenced",
        [("kernel.cuh", "    ptx::fence_mbarrier_init();\n", "")];
    "no-barrier-after-init", "nobody waits for the mbarriers' initialisation",
        [("kernel.cuh", "  ptx::sync_threads();\n", "")];
    "empty-count-one", "a stage counts as empty when one warp is done",
        [("kernel.cuh", "mbarrier_init(smem.empty[stage], kConsumerWarps)", "mbarrier_init(smem.empty[stage], 1)")];
    "empty-count-threads", "a stage waits for as many arrivals as there are threads",
        [("kernel.cuh", "mbarrier_init(smem.empty[stage], kConsumerWarps)", "mbarrier_init(smem.empty[stage], kConsumerThreads)")];
    "all-lanes-arrive", "every lane gives the stage back",
        [("kernel.cuh", "tile > 0 && lane_idx == 0", "tile > 0")];
    "store-not-awaited", "the kernel ends while the TMA store reads shared memory",
        [("kernel.cuh", "    ptx::tma_store_wait_read<0>();\n", "")];
    "swapped-coordinates", "the tile of c goes to the transposed place",
        [("kernel.cuh", "maps.c, smem.c, {first_n, first_m}", "maps.c, smem.c, {first_m, first_n}")];
    "swapped-fragment-rows", "rows g and g + 8 of c change places",
        [("kernel.cuh", "ptx::pack<T>(acc[j / 2 + 0], acc[j / 2 + 1]), ptx::pack<T>(acc[j / 2 + 2], acc[j / 2 + 3])",
          "ptx::pack<T>(acc[j / 2 + 2], acc[j / 2 + 3]), ptx::pack<T>(acc[j / 2 + 0], acc[j / 2 + 1])")];
    "c-over-a-stage", "c is put over a stage that other warps' products may still read",
        [("kernel.cuh", "store_matrix(smem.c +", "store_matrix(smem.a[stage_of(num_tiles - 1)] +"),
         ("kernel.cuh", "maps.c, smem.c,", "maps.c, smem.a[stage_of(num_tiles - 1)],")];
};
