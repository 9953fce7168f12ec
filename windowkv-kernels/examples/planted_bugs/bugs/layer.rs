//! The small kernels of a layer, and the choice of a token.

use super::{Bug, bugs};

#[rustfmt::skip]
pub(crate) const BUGS: &[Bug] = bugs! {
    "norm-no-barrier", "the barrier between writing and reading the warps' sums of squares is gone",
        [("rms_norm.cuh", "  ptx::sync_threads();\n", "")];
    "norm-mean-of-vectors", "the sum of squares is divided by the number of vectors",
        [("rms_norm.cuh", "static_cast<float>(params.hidden)", "static_cast<float>(params.hidden / kVectorLength)")];
    "norm-forgets-the-rest", "the squares past the held columns are left out",
        [("rms_norm.cuh", "    sum += squares<T>(row.add_and_store(column));", "    row.add_and_store(column);")];
    "norm-adds-twice", "past the held columns the residual, already updated in place, is added again",
        [("rms_norm.cuh", "return sum != nullptr ? load_vector(sum + column) : add(column);", "return add(column);")];
    "norm-eps-outside", "eps is added to the root",
        [("rms_norm.cuh", "sqrtf(sum / static_cast<float>(params.hidden) + params.eps)", "(sqrtf(sum / static_cast<float>(params.hidden)) + params.eps)")];
    "rope-no-barrier", "heads are turned before the angles are there",
        [("rope.cuh", "  ptx::sync_threads();\n", "")];
    "rope-float-angle", "the angle is computed in float32",
        [("rope.cuh", "params.turns[pair] * static_cast<uint64_t>(position)",
          "static_cast<uint64_t>(fmodf(static_cast<float>(params.turns[pair]) * 0x1p-64f * position, 1.0f) * 0x1p64f)")];
    "rope-next-piece", "a piece is turned with the next one",
        [("rope.cuh", "rotate(low, low + pairs,", "rotate(low, low + kVectorLength,")];
    "rope-past-the-end", "the last block turns as many tokens as the others",
        [("rope.cuh", "static_cast<int>(min<int64_t>(params.tokens - first, kTokens))", "kTokens")];
    "rope-turns-absent", "a token without a position is turned",
        [("rope.cuh", "    if (params.positions[first + token] < 0) continue;\n", "")];
    "silu-overflow", "the fraction is multiplied by exp(gate) also where it overflows",
        [("silu_mul.cuh", "-fabsf(x) * kLog2E", "x * kLog2E"), ("silu_mul.cuh", "(x >= 0 ? 1 : decay)", "decay")];
    "silu-last-columns", "the last vector of a row is left out",
        [("elementwise.cuh", "if (column < static_cast<unsigned>(columns))", "if (column + kVectorLength < static_cast<unsigned>(columns))")];
    "embedding-id-not-checked", "the row after the table's last is read",
        [("embedding.cuh", "id < params.vocab", "id <= params.vocab")];
    "embedding-dense", "rows of the table are taken for adjacent",
        [("embedding.cuh", "id * params.table_stride", "int64_t{id} * params.hidden")];
    "sample-ties-up", "of equal logits the last one wins",
        [("sample.cuh", "if (key > best.key) best", "if (key >= best.key) best")];
    "sample-nan-wins", "NaN counts as the largest",
        [("sample.cuh", "return logit == logit ? ordered_key(logit) : kKeyOfMinusInfinity;", "return ordered_key(logit);")];
    "sample-dense", "rows of logits are taken for adjacent",
        [("sample.cuh", "row * params.logits_stride", "row * params.vocab")];
    "sample-absent", "a row that has left the batch is drawn",
        [("sample.cuh", "  if (step < 0) return;\n", "")];
    "sample-no-barrier", "the histogram is read before all have added to it",
        [("sample.cuh", "    if (threadIdx.x == 0 && members.ties > 0) add(members.key, members.ties);\n    ptx::sync_threads();\n",
          "    if (threadIdx.x == 0 && members.ties > 0) add(members.key, members.ties);\n")];
    "sample-plain-add", "threads add to the histogram without atomics",
        [("sample.cuh", "const uint32_t carry = ptx::atomic_add(&smem.low[bin], low) > ~low;",
          "const uint32_t carry = smem.low[bin] > ~low;\n      smem.low[bin] += low;")];
    "sample-high-lost", "the upper half of a weight is not added",
        [("sample.cuh", "if (high != 0) ptx::atomic_add(&smem.high[bin], high);", "(void)high;")];
    "sample-not-cleared", "the next digit is added to the last one's histogram",
        [("sample.cuh", "      smem.low[bin] = smem.high[bin] = 0;\n      sum", "      sum")];
    "sample-top-k-more", "one token too many stays",
        [("sample.cuh", "static_cast<uint32_t>(top_k - cut.before)", "static_cast<uint32_t>(top_k - cut.before) + 1")];
    "sample-all-ties", "all tokens equal to the last one that stays are counted",
        [("sample.cuh", "min<uint64_t>(ties, ties_left)", "ties")];
    "sample-sums-reused", "the second scan writes its sums before all have read the first's",
        [("sample.cuh", "  ptx::sync_threads();\n  const uint64_t sum =", "  const uint64_t sum =")];
    "sample-segment-short", "a run of tokens ends one before the next begins",
        [("sample.cuh", "min<uint64_t>(first + segment_len, vocab)", "min<uint64_t>(first + segment_len - 1, vocab)")];
    "sample-key-half", "half of the seed is not used",
        [("/common/philox.cuh", "static_cast<uint32_t>(key >> 32)", "0u")];
};
