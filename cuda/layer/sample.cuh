// tokens[r] = the largest of logits[r, :], or a draw from its softmax at a temperature, of the
// top_k most probable tokens and of these the most probable whose sum reaches top_p
//
// One block a row; NaN counts as -inf, -0 as 0, and ties go to the lower token throughout. The
// weight of a token is
//
//   weight(logit) = floor(2^s exp((logit - max) / temperature)),  s = 62 - bits of vocab
//
// (2^s for the largest, infinite or not). Sums of weights are integers below 2^63, exact in any
// order, so that the result depends on no schedule and on no number of threads. Then
//
//   top_k: the top_k first tokens by descending logit, then ascending token
//   top_p: of these the first whose weights sum up to top_p * (sum of the weights) or more
//   draw:  of these, in ascending order of the token, the first with which the sum of weights
//          exceeds u * (sum of the weights), u = random / 2^64
//
// where `random` is the first 64 bits of Philox4x32-10 with the seed as key and the step as
// counter. Both cuts are found by a radix descent over the keys of the logits, which have their
// order: a histogram of weights (of ones, for top_k) over the next digit tells in which digit the
// cut lies. Runs of adjacent tokens are summed up to find the one with the draw, and a warp walks
// it.
//
// Shared memory: the histogram (16 KB), a weight and a count for each run (3 KB).

#pragma once

#include "common/flags.cuh"
#include "common/order.cuh"
#include "common/philox.cuh"
#include "layer/config.cuh"
#include "ptx/atomics.h"
#include "ptx/barrier.h"
#include "ptx/number.h"
#include "ptx/shuffle.h"
#include "ptx/thread.h"
#include "ptx/vote.h"

namespace windowkv::inline WKV_MACHINE::layer::sample {

WKV_FN float widened(float logit) { return logit; }
WKV_FN float widened(ptx::Half logit) { return ptx::to_float(logit); }
WKV_FN float widened(ptx::Bfloat16 logit) { return ptx::to_float(logit); }

// 0 is no token's key.
WKV_FN uint32_t key_of(float logit) {
  return logit == logit ? ordered_key(logit) : kKeyOfMinusInfinity;
}

// Calls visit(token, logit) for every token of the row, the threads side by side. A thread meets
// its tokens in ascending order.
template <int kThreads, class T, class Visit>
WKV_FN void for_each_logit(const T* logits, uint32_t vocab, const Visit& visit) {
  for (uint32_t first = threadIdx.x; first < vocab; first += kUnroll * kThreads) {
    T held[kUnroll];
#pragma unroll
    for (int i = 0; i < kUnroll; ++i) {
      const uint32_t token = first + i * kThreads;
      if (token < vocab) held[i] = logits[token];
    }
#pragma unroll
    for (int i = 0; i < kUnroll; ++i) {
      const uint32_t token = first + i * kThreads;
      if (token < vocab) visit(token, widened(held[i]));
    }
  }
}

// Sums of 64 bits over the lanes of a warp, or over those up to the calling one.
WKV_FN uint64_t shuffle_up(uint64_t value, int delta) {
  return ptx::shuffle_up(static_cast<uint32_t>(value), delta) |
         static_cast<uint64_t>(ptx::shuffle_up(static_cast<uint32_t>(value >> 32), delta)) << 32;
}
WKV_FN uint64_t shuffle(uint64_t value, int lane) {
  return ptx::shuffle(static_cast<uint32_t>(value), lane) |
         static_cast<uint64_t>(ptx::shuffle(static_cast<uint32_t>(value >> 32), lane)) << 32;
}
WKV_FN uint64_t warp_scan(uint64_t value) {
#pragma unroll
  for (int distance = 1; distance < 32; distance *= 2) {
    const uint64_t below = shuffle_up(value, distance);
    if (ptx::lane_idx() >= distance) value += below;
  }
  return value;
}

struct Scan {
  uint64_t before;  // the sum over the threads below this one
  uint64_t total;
};

// Between two calls the block meets once more.
template <int kThreads>
WKV_FN Scan block_scan(SharedStorage& smem, uint64_t value) {
  const int warp_idx = ptx::warp_idx();
  const uint64_t through = warp_scan(value);
  if (ptx::lane_idx() == 31) smem.warp_sums[warp_idx] = through;
  ptx::sync_threads();
  Scan scan = {through - value, 0};
  for (int warp = 0; warp < kThreads / 32; ++warp) {
    if (warp < warp_idx) scan.before += smem.warp_sums[warp];
    scan.total += smem.warp_sums[warp];
  }
  return scan;
}

struct Best {
  uint32_t key, token;
};

// The largest logit, and the lowest of its tokens.
template <int kThreads, class T>
WKV_FN Best find_best(SharedStorage& smem, const T* logits, uint32_t vocab, uint32_t* flags) {
  const int lane_idx = ptx::lane_idx();
  Best best = {0, 0xffffffff};
  bool nan = false;
  for_each_logit<kThreads>(logits, vocab, [&](uint32_t token, float logit) {
    nan |= logit != logit;
    const uint32_t key = key_of(logit);
    if (key > best.key) best = {key, token};
  });
  if (ptx::vote_any(nan) && lane_idx == 0) raise_flag(flags, WKV_FLAG_NAN);

  const auto reduce = [](const Best& own) {
    const uint32_t key = ptx::reduce_max(own.key);
    return Best{key, ptx::reduce_min(own.key == key ? own.token : 0xffffffff)};
  };
  best = reduce(best);
  if (lane_idx == 0) {
    smem.warp_keys[ptx::warp_idx()] = best.key;
    smem.warp_tokens[ptx::warp_idx()] = best.token;
  }
  ptx::sync_threads();
  const bool has_warp = lane_idx < kThreads / 32;
  return reduce({has_warp ? smem.warp_keys[lane_idx] : 0,
                 has_warp ? smem.warp_tokens[lane_idx] : 0xffffffff});
}

// The weight of a logit by its key.
struct Weights {
  uint32_t max_key;
  float max;
  float log2e_over_temperature;
  int bits;  // s

  WKV_FN uint64_t operator()(uint32_t key) const {
    if (key == max_key) return uint64_t{1} << bits;
    const float exponent = (value_of_key(key) - max) * log2e_over_temperature;
    // A power of two scales exactly.
    return static_cast<uint64_t>(ptx::exp2_approx(exponent) *
                                 static_cast<float>(uint64_t{1} << bits));
  }
};

// Tokens: all whose key is above `key`, and the first `ties` of those that have it.
struct Members {
  uint32_t key;
  uint32_t ties;
};

// Where a sum over the members, by descending key, passes a rank.
struct Cut {
  uint32_t key;
  uint64_t before;  // the sum over larger keys
  uint64_t rank;
};

// The cut of the sum of weight(key) over the members at rank_of(sum), which is less than the sum.
// Called by all threads; the histogram is clear before and after.
template <int kThreads, class T, class Weight, class Rank>
WKV_FN Cut find_cut(SharedStorage& smem, const T* logits, uint32_t vocab, const Members& members,
                    const Weight& weight, const Rank& rank_of) {
  constexpr int kOwnBins = kBins / kThreads;
  Cut cut = {0, 0, 0};
#pragma unroll 1
  for (int pass = 0; pass < kPasses; ++pass) {
    const int shift = digit_shift(pass), bits = digit_bits(pass);
    const auto add = [&](uint32_t key, uint32_t count) {
      if (pass > 0 && key >> shift >> bits != cut.key) return;
      const uint64_t sum = count * weight(key);
      const uint32_t bin = key >> shift & ((1u << bits) - 1);
      const auto low = static_cast<uint32_t>(sum);
      const uint32_t carry = ptx::atomic_add(&smem.low[bin], low) > ~low;
      const uint32_t high = static_cast<uint32_t>(sum >> 32) + carry;
      if (high != 0) ptx::atomic_add(&smem.high[bin], high);
    };
    for_each_logit<kThreads>(logits, vocab, [&](uint32_t, float logit) {
      const uint32_t key = key_of(logit);
      if (key > members.key) add(key, 1);
    });
    if (threadIdx.x == 0 && members.ties > 0) add(members.key, members.ties);
    ptx::sync_threads();

    // Thread 0 has the largest keys.
    const int highest = kBins - 1 - static_cast<int>(threadIdx.x) * kOwnBins;
    uint64_t sums[kOwnBins];
    uint64_t sum = 0;
#pragma unroll
    for (int i = 0; i < kOwnBins; ++i) {
      const int bin = highest - i;
      sums[i] = smem.low[bin] | static_cast<uint64_t>(smem.high[bin]) << 32;
      smem.low[bin] = smem.high[bin] = 0;
      sum += sums[i];
    }
    const Scan scan = block_scan<kThreads>(smem, sum);
    if (pass == 0) cut.rank = rank_of(scan.total);
    const uint64_t wanted = cut.rank - cut.before;
    uint64_t before = scan.before;
#pragma unroll
    for (int i = 0; i < kOwnBins; ++i) {
      if (before <= wanted && wanted < before + sums[i]) {
        smem.found = {before, static_cast<uint32_t>(highest - i), 0};
      }
      before += sums[i];
    }
    ptx::sync_threads();
    cut.key = cut.key << bits | smem.found.index;
    cut.before += smem.found.before;
  }
  return cut;
}

// The members with the top_k largest logits.
template <int kThreads, class T>
WKV_FN Members cut_top_k(SharedStorage& smem, const T* logits, uint32_t vocab, uint32_t top_k) {
  const Cut cut = find_cut<kThreads>(
      smem, logits, vocab, {0, 0}, [](uint32_t) { return uint64_t{1}; },
      [&](uint64_t) { return uint64_t{top_k} - 1; });
  return {cut.key, static_cast<uint32_t>(top_k - cut.before)};
}

// Of the members those whose weights sum up to top_p of all.
template <int kThreads, class T>
WKV_FN Members cut_top_p(SharedStorage& smem, const T* logits, uint32_t vocab,
                         const Members& members, const Weights& weights, float top_p) {
  const auto fraction = static_cast<uint64_t>(top_p * 0x1p64f);
  const Cut cut = find_cut<kThreads>(smem, logits, vocab, members, weights, [&](uint64_t total) {
    // The least integer that is top_p * total or more, minus 1.
    const uint64_t below = multiply_high(total, fraction);
    return total * fraction != 0 ? below : below > 0 ? below - 1 : 0;
  });
  const uint64_t weight = weights(cut.key);
  return {cut.key, static_cast<uint32_t>((cut.rank - cut.before) / weight) + 1};
}

// The first token, in ascending order, with which the sum of the members' weights exceeds
// random / 2^64 of the whole sum. Called by all threads; the result is in those of warp 0.
template <int kThreads, class T>
WKV_FN uint32_t draw(SharedStorage& smem, const T* logits, uint32_t vocab, const Members& members,
                     const Weights& weights, uint64_t random) {
  const int lane_idx = ptx::lane_idx();
  const uint32_t segment_len = ceil_div(vocab, kSegments * 32u) * 32;
  const uint64_t tie_weight = members.ties > 0 ? weights(members.key) : 0;

  for (int segment = ptx::warp_idx(); segment < kSegments; segment += kThreads / 32) {
    const uint64_t first = uint64_t{segment_len} * segment;
    const uint64_t end = min<uint64_t>(first + segment_len, vocab);
    uint64_t sum = 0;
    uint32_t ties = 0;
    for (uint64_t token = first + lane_idx; token < end; token += 32) {
      const uint32_t key = key_of(widened(logits[token]));
      if (key > members.key) sum += weights(key);
      ties += key == members.key;
    }
    sum = warp_scan(sum);
    ties = ptx::reduce_add(ties);
    if (lane_idx == 31) {
      smem.segment_weights[segment] = sum;
      smem.segment_ties[segment] = ties;
    }
  }
  ptx::sync_threads();

  const bool has_segment = threadIdx.x < kSegments;
  const uint32_t ties = has_segment ? smem.segment_ties[threadIdx.x] : 0;
  const uint64_t ties_before = block_scan<kThreads>(smem, ties).before;
  const uint64_t ties_left = ties_before < members.ties ? members.ties - ties_before : 0;
  const uint64_t own_ties = min<uint64_t>(ties, ties_left);
  ptx::sync_threads();
  const uint64_t sum = has_segment ? smem.segment_weights[threadIdx.x] + own_ties * tie_weight : 0;
  const Scan scan = block_scan<kThreads>(smem, sum);
  uint64_t wanted = multiply_high(scan.total, random);
  if (scan.before <= wanted && wanted < scan.before + sum) {
    smem.found = {scan.before, threadIdx.x, static_cast<uint32_t>(ties_before)};
  }
  ptx::sync_threads();
  if (ptx::warp_idx() != 0) return 0;

  wanted -= smem.found.before;
  uint32_t tie = smem.found.ties_before;
  const uint32_t lanes_below = (1u << lane_idx) - 1;
  for (uint64_t first = uint64_t{segment_len} * smem.found.index; first < vocab; first += 32) {
    const uint64_t token = first + lane_idx;
    const uint32_t key = token < vocab ? key_of(widened(logits[token])) : 0;
    const bool tied = members.ties > 0 && key == members.key;
    const uint32_t tied_lanes = ptx::ballot(tied);
    const bool member =
        key > members.key || (tied && tie + count_bits(tied_lanes & lanes_below) < members.ties);
    const uint64_t through = warp_scan(member ? weights(key) : 0);
    const int lanes_passed = count_bits(ptx::ballot(through <= wanted));
    if (lanes_passed < 32) return static_cast<uint32_t>(first) + lanes_passed;
    wanted -= shuffle(through, 31);
    tie += count_bits(tied_lanes);
  }
  return vocab - 1;
}

// A sampling whose numbers are in their ranges.
WKV_FN wkv_sampling checked(wkv_sampling sampling, bool* out_of_range) {
  const bool cold = !(sampling.temperature > 0 && sampling.temperature < kInfinity);
  const bool wide = !(sampling.top_p > 0 && sampling.top_p <= 1);
  *out_of_range = (cold && sampling.temperature != 0) || wide || sampling.top_k < 0;
  if (cold) sampling.temperature = 0;
  if (wide) sampling.top_p = 1;
  if (sampling.top_k < 0) sampling.top_k = 0;
  return sampling;
}

template <class T, int kThreads>
__global__ void __launch_bounds__(kThreads)
    sample_kernel(const __grid_constant__ wkv_sample_params params) {
  auto& smem = ptx::shared_memory<SharedStorage>();
  const int64_t row = blockIdx.x;
  const T* logits = static_cast<const T*>(params.logits) + row * params.logits_stride;
  const uint32_t vocab = params.vocab;
  const bool sampled = params.sampling != nullptr;
  const int32_t step = sampled ? params.steps[row] : 0;
  if (step < 0) return;

  bool out_of_range = false;
  wkv_sampling sampling = {};
  if (sampled) sampling = checked(params.sampling[row], &out_of_range);
  if (out_of_range && threadIdx.x == 0) raise_flag(params.flags, WKV_FLAG_RANGE);

  const Best best = find_best<kThreads>(smem, logits, vocab, params.flags);
  if (sampling.temperature == 0) {
    if (threadIdx.x == 0) params.tokens[row] = static_cast<int32_t>(best.token);
    return;
  }

  for (int bin = threadIdx.x; bin < kBins; bin += kThreads) smem.low[bin] = smem.high[bin] = 0;
  ptx::sync_threads();
  int bits = 62;
  for (uint32_t left = vocab; left > 0; left /= 2) --bits;
  const Weights weights = {best.key, value_of_key(best.key), kLog2E / sampling.temperature, bits};

  Members members = {0, 0};
  if (sampling.top_k > 0 && static_cast<uint32_t>(sampling.top_k) < vocab) {
    members = cut_top_k<kThreads>(smem, logits, vocab, sampling.top_k);
  }
  if (sampling.top_p < 1) {
    members = cut_top_p<kThreads>(smem, logits, vocab, members, weights, sampling.top_p);
  }
  const PhiloxBlock random = philox({{static_cast<uint32_t>(step), 0, 0, 0}}, sampling.seed);
  const uint32_t token =
      draw<kThreads>(smem, logits, vocab, members, weights,
                     random.words[0] | static_cast<uint64_t>(random.words[1]) << 32);
  if (threadIdx.x == 0) params.tokens[row] = static_cast<int32_t>(token);
}

}  // namespace windowkv::inline WKV_MACHINE::layer::sample
