//! The warp-specialised product with TMA, mbarriers and `wgmma`.

use super::{Bug, bugs};

#[rustfmt::skip]
pub(crate) const BUGS: &[Bug] = bugs! {
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
