// The steps of attention that a warp does on its own, with s, p and o in registers. A warp has kM
// times 16 rows of q, its fragments are those of mma.m16n8k16: thread `lane` has the rows lane / 4
// (h = 0) and lane / 4 + 8 (h = 1) of each 16. Tiles in shared memory are as in head_tile.cuh.

#pragma once

#include <cmath>

#include "common/head_tile.cuh"
#include "common/math.cuh"
#include "ptx/ldmatrix.h"
#include "ptx/machine.h"
#include "ptx/mma.h"
#include "ptx/shuffle.h"
#include "ptx/vote.h"

namespace windowkv::inline WKV_MACHINE {

// s[16 kM, kN] += q[0 : 16 kM, d] @ k[0 : kN, d]^T, s as [kM][kN / 8][4]
template <class T, int kHeadDim, int kM, int kColumns>
WKV_FN void multiply_qk(float (&s)[kM][kColumns][4], const T* q_smem, const T* k_smem,
                        unsigned lane_idx) {
#pragma unroll
  for (int k = 0; k < kRowPieces<kHeadDim>; k += 2) {
    // Matrices: rows 0-7 and 8-15 of the left half of 16 columns, then of the right half.
    uint32_t q_rmem[kM][4];
#pragma unroll
    for (int i = 0; i < kM; ++i) {
      const unsigned row = i * 16 + lane_idx % 16;
      ptx::load_matrix(q_rmem[i], q_smem + piece_index<kHeadDim>(row, k + lane_idx / 16 % 2));
    }
#pragma unroll
    for (int j = 0; j < kColumns; j += 2) {
      // Matrices: the left and right half of 8 keys, then of the next 8.
      uint32_t k_rmem[4];
      const unsigned row = j * 8 + lane_idx / 16 * 8 + lane_idx % 8;
      ptx::load_matrix(k_rmem, k_smem + piece_index<kHeadDim>(row, k + lane_idx / 8 % 2));
      const uint32_t low[2] = {k_rmem[0], k_rmem[1]}, high[2] = {k_rmem[2], k_rmem[3]};
#pragma unroll
      for (int i = 0; i < kM; ++i) {
        ptx::mma_m16n8k16<T>(s[i][j], q_rmem[i], low, s[i][j]);
        ptx::mma_m16n8k16<T>(s[i][j + 1], q_rmem[i], high, s[i][j + 1]);
      }
    }
  }
}

// o[16 kM, d] += p[16 kM, kN] @ v[0 : kN, d], p as [kM][kN / 16][4], o as [kM][d / 8][4]
template <class T, int kM, int kSteps, int kColumns>
WKV_FN void multiply_pv(float (&o)[kM][kColumns][4], const uint32_t (&p)[kM][kSteps][4],
                        const T* v_smem, unsigned lane_idx) {
#pragma unroll
  for (int k = 0; k < kSteps; ++k) {
#pragma unroll
    for (int j = 0; j < kColumns; j += 2) {
      // Matrices, transposed: keys 0-7 and 8-15 of 8 columns, then of the next 8.
      uint32_t v_rmem[4];
      const unsigned row = k * 16 + lane_idx % 16;
      ptx::load_matrix_transposed(v_rmem,
                                  v_smem + piece_index<kColumns * 8>(row, j + lane_idx / 16 % 2));
      const uint32_t low[2] = {v_rmem[0], v_rmem[1]}, high[2] = {v_rmem[2], v_rmem[3]};
#pragma unroll
      for (int i = 0; i < kM; ++i) {
        ptx::mma_m16n8k16<T>(o[i][j], p[i][k], low, o[i][j]);
        ptx::mma_m16n8k16<T>(o[i][j + 1], p[i][k], high, o[i][j + 1]);
      }
    }
  }
}

// Of row h of each 16, only the first `seen` columns of s are there. What the others hold may be
// NaN.
template <int kColumns>
WKV_FN void mask_row(float (&s)[kColumns][4], int h, int seen, unsigned lane_idx) {
#pragma unroll
  for (int j = 0; j < kColumns; ++j) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      if (static_cast<int>(j * 8 + lane_idx % 4 * 2 + e) >= seen) s[j][2 * h + e] = -kInfinity;
    }
  }
}

// Scores in the exponent of 2, s * softmax_scale_log2, are smaller than this. A maximum is rounded,
// and the p of a row are as much too large or too small together, which its sum takes out again.
// Below the limit that is by a factor of 2^0.5 at most; far beyond it, p would overflow or vanish.
inline constexpr float kMaxScore = 1 << 24;

// Where the online softmax of a thread's rows stands.
template <int kM>
struct RowState {
  float max[kM][2];  // of s * softmax_scale_log2 so far
  float sum[kM][2];  // of this thread's columns of p so far; a row's is that of its four lanes

  WKV_FN RowState() {
#pragma unroll
    for (int i = 0; i < 2 * kM; ++i) {
      max[i / 2][i % 2] = -kInfinity;
      sum[i / 2][i % 2] = 0;
    }
  }

  // The sum of p over a row, by its four lanes: 0 without a key, NaN for a maximum over the limit.
  WKV_FN float row_sum(int i, int h) const {
    float row = sum[i][h];
    row += ptx::shuffle_xor(row, 1);
    row += ptx::shuffle_xor(row, 2);
    const float size = fabsf(max[i][h]);
    return size < kMaxScore || max[i][h] == -kInfinity ? row : kNan;
  }
};

// p = exp2(s * softmax_scale_log2 - max), in half precision; o and the sums move to the new
// maximum. Columns that are masked in all rows change nothing.
template <class T, int kM, int kSteps, int kColumns>
WKV_FN void softmax(uint32_t (&p)[kM][kSteps][4], float (&o)[kM][kColumns][4], RowState<kM>& state,
                    const float (&s)[kM][2 * kSteps][4], float softmax_scale_log2) {
  float correction[kM][2];
  bool moved = false;
#pragma unroll
  for (int i = 0; i < kM; ++i) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      float max = -kInfinity;
#pragma unroll
      for (int j = 0; j < 2 * kSteps; ++j) {
        max = fmaxf(max, fmaxf(s[i][j][2 * h], s[i][j][2 * h + 1]));
      }
      // The four lanes of a row.
      max = fmaxf(max, ptx::shuffle_xor(max, 1));
      max = fmaxf(max, ptx::shuffle_xor(max, 2));
      const float before = state.max[i][h];
      const float now = fmaxf(before, max * softmax_scale_log2);
      // Exactly 1 where the maximum stays, also where there is none yet.
      correction[i][h] = before == now ? 1 : ptx::exp2_approx(before - now);
      moved |= before != now;
      state.max[i][h] = now;
      state.sum[i][h] *= correction[i][h];
    }
  }
  // Maxima seldom move after the first steps.
  if (ptx::vote_any(moved)) {
#pragma unroll
    for (int i = 0; i < kM; ++i) {
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) o[i][j][e] *= correction[i][e / 2];
      }
    }
  }
#pragma unroll
  for (int i = 0; i < kM; ++i) {
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      // Without a key so far, p is exp2(-inf) = 0, not exp2((-inf) - (-inf)).
      const float shift = state.max[i][h] == -kInfinity ? 0 : state.max[i][h];
#pragma unroll
      for (int k = 0; k < kSteps; ++k) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const float(&eight)[4] = s[i][2 * k + half];
          const float low = ptx::exp2_approx(fmaf(eight[2 * h], softmax_scale_log2, -shift));
          const float high = ptx::exp2_approx(fmaf(eight[2 * h + 1], softmax_scale_log2, -shift));
          state.sum[i][h] += low + high;
          p[i][k][2 * half + h] = ptx::pack<T>(low, high);
        }
      }
    }
  }
}

}  // namespace windowkv::inline WKV_MACHINE
