// Probes of shuffle.h, vote.h, number.h, mma.h and ldmatrix.h: one warp each.

#pragma once

#include "ptx/ldmatrix.h"
#include "ptx/mma.h"
#include "ptx/number.h"
#include "ptx/shuffle.h"
#include "ptx/test/probe.cuh"
#include "ptx/vote.h"

namespace windowkv::inline WKV_MACHINE::probe {

// values: kind, operand, width, mask. uint32 of each lane -> uint32 of each lane of the mask.
__global__ void shuffle_probe(const __grid_constant__ Arguments arguments) {
  const int lane = ptx::lane_idx();
  const auto mask = static_cast<uint32_t>(arguments.values[3]);
  if (!(mask >> lane & 1)) return;
  const uint32_t value = in<uint32_t>(arguments, lane);
  const int operand = static_cast<int>(arguments.values[1]);
  const int width = static_cast<int>(arguments.values[2]);
  uint32_t result = 0;
  switch (arguments.values[0]) {
    case 0:
      result = ptx::shuffle(value, operand, mask, width);
      break;
    case 1:
      result = ptx::shuffle_up(value, operand, mask, width);
      break;
    case 2:
      result = ptx::shuffle_down(value, operand, mask, width);
      break;
    case 3:
      result = ptx::shuffle_xor(value, operand, mask, width);
      break;
    default:
      // Another type of 4 bytes.
      out<float>(arguments, lane) = ptx::shuffle(in<float>(arguments, lane), operand, mask, width);
      return;
  }
  out<uint32_t>(arguments, lane) = result;
}

// values: kind, mask. uint32 of each lane -> uint32 of each lane of the mask.
__global__ void vote_probe(const __grid_constant__ Arguments arguments) {
  const int lane = ptx::lane_idx();
  const auto mask = static_cast<uint32_t>(arguments.values[1]);
  if (!(mask >> lane & 1)) return;
  const uint32_t value = in<uint32_t>(arguments, lane);
  const auto number = static_cast<int32_t>(value);
  uint32_t result = 0;
  switch (arguments.values[0]) {
    case 0:
      result = ptx::vote_all(value & 1, mask);
      break;
    case 1:
      result = ptx::vote_any(value & 1, mask);
      break;
    case 2:
      result = ptx::ballot(value & 1, mask);
      break;
    case 3:
      result = ptx::match_any(value, mask);
      break;
    case 4:
      result = ptx::reduce_add(value, mask);
      break;
    case 5:
      result = ptx::reduce_min(value, mask);
      break;
    case 6:
      result = ptx::reduce_max(value, mask);
      break;
    case 7:
      result = static_cast<uint32_t>(ptx::reduce_min(number, mask));
      break;
    case 8:
      result = static_cast<uint32_t>(ptx::reduce_max(number, mask));
      break;
    case 9:
      result = ptx::reduce_and(value, mask);
      break;
    case 10:
      result = ptx::reduce_or(value, mask);
      break;
    default:
      result = ptx::reduce_xor(value, mask);
      break;
  }
  out<uint32_t>(arguments, lane) = result;
}

// One float a thread of the grid -> {f16, bf16, the pair of it and its neighbour's (thread ^ 1) in
// f16, the same in bf16, exp2 of it}, five uint32.
__global__ void number_probe(const __grid_constant__ Arguments arguments) {
  const int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x;
  const float value = in<float>(arguments, i);
  out<uint32_t>(arguments, 5 * i) = ptx::from_float<ptx::Half>(value).bits;
  out<uint32_t>(arguments, 5 * i + 1) = ptx::from_float<ptx::Bfloat16>(value).bits;
  const float other = in<float>(arguments, i ^ 1);
  out<uint32_t>(arguments, 5 * i + 2) = ptx::pack<ptx::Half>(value, other);
  out<uint32_t>(arguments, 5 * i + 3) = ptx::pack<ptx::Bfloat16>(value, other);
  out<float>(arguments, 5 * i + 4) = ptx::exp2_approx(value);
}

// Thread i of the grid widens the 16 bits i: {from f16, from bf16}, two floats.
__global__ void widen_probe(const __grid_constant__ Arguments arguments) {
  const int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x;
  out<float>(arguments, 2 * i) = ptx::to_float(ptx::Half{static_cast<uint16_t>(i)});
  out<float>(arguments, 2 * i + 1) = ptx::to_float(ptx::Bfloat16{static_cast<uint16_t>(i)});
}

// values: 0 f16, 1 bf16. Each lane's a[4], b[2] (uint32), c[4] (float) -> d[4].
__global__ void mma_probe(const __grid_constant__ Arguments arguments) {
  const int lane = ptx::lane_idx();
  uint32_t a[4], b[2];
  float c[4], d[4];
  for (int i = 0; i < 4; ++i) a[i] = in<uint32_t>(arguments, lane * 10 + i);
  for (int i = 0; i < 2; ++i) b[i] = in<uint32_t>(arguments, lane * 10 + 4 + i);
  for (int i = 0; i < 4; ++i) c[i] = in<float>(arguments, lane * 10 + 6 + i);
  if (arguments.values[0] == 0) {
    ptx::mma_m16n8k16<ptx::Half>(d, a, b, c);
  } else {
    ptx::mma_m16n8k16<ptx::Bfloat16>(d, a, b, c);
  }
  for (int i = 0; i < 4; ++i) out<float>(arguments, lane * 4 + i) = d[i];
}

struct alignas(128) MatrixStorage {
  uint16_t rows[32][8];
};

template <int N>
WKV_FN void load_matrix_probe(const Arguments& arguments) {
  auto& smem = ptx::shared_memory<MatrixStorage>();
  const int lane = ptx::lane_idx();
  for (int i = 0; i < 8; ++i) smem.rows[lane][i] = in<uint16_t>(arguments, lane * 8 + i);
  ptx::sync_warp();
  uint32_t fragment[N];
  if (arguments.values[1] != 0) {
    ptx::load_matrix_transposed(fragment, smem.rows[lane]);
  } else {
    ptx::load_matrix(fragment, smem.rows[lane]);
  }
  for (int i = 0; i < N; ++i) out<uint32_t>(arguments, lane * N + i) = fragment[i];
}

// values: matrices, transposed. 32 rows of 8 uint16 -> each lane's registers.
__global__ void ldmatrix_probe(const __grid_constant__ Arguments arguments) {
  if (arguments.values[0] == 1) load_matrix_probe<1>(arguments);
  if (arguments.values[0] == 2) load_matrix_probe<2>(arguments);
  if (arguments.values[0] == 4) load_matrix_probe<4>(arguments);
}

}  // namespace windowkv::inline WKV_MACHINE::probe
