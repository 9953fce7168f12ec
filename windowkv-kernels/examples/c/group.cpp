// A whole group of layers through windowkv.h: prefill of each, scores and choice of windows by the
// first, one gather for all, and a new token's attention over the compressed caches, which is
// compared with the formula in double. It runs on the emulated GPU, whose memory is the host's.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <vector>

#include "windowkv.h"

namespace {

constexpr int kNumLayers = 3;
constexpr int kSeqlen = 150;
constexpr int kSuffixLen = 8;
constexpr int kWindowLen = 16;
constexpr int kNumHeadsQ = 4;
constexpr int kNumHeadsKv = 2;
constexpr int kHeadDim = 64;
constexpr int kNumWindows = (kSeqlen - kSuffixLen + kWindowLen - 1) / kWindowLen;
constexpr int kNumKeep = 3;
constexpr int kNewTokens = 1;
constexpr int kCapacity = kNumKeep * kWindowLen + kSuffixLen + kNewTokens;
constexpr float kScale = 0.125f;

void check(int status, const char* what) {
  if (status == WKV_OK) return;
  std::fprintf(stderr, "%s: status %d: %s\n", what, status, wkv_last_error());
  std::exit(EXIT_FAILURE);
}

// Device memory of zeros. The kernels want tensors at multiples of 16 bytes.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::size_t count) : data_(allocate(count)), count_(count) {}
  T* data() const { return data_.get(); }
  T& operator[](std::size_t i) const { return data_.get()[i]; }
  std::size_t size() const { return count_; }

 private:
  struct Free {
    void operator()(T* memory) const { std::free(memory); }
  };
  static T* allocate(std::size_t count) {
    const std::size_t bytes = (count * sizeof(T) + 255) / 256 * 256;
    auto* memory = static_cast<T*>(std::aligned_alloc(256, bytes));
    if (memory == nullptr) {
      std::fprintf(stderr, "%zu bytes of memory are not to be had\n", bytes);
      std::exit(EXIT_FAILURE);
    }
    std::uninitialized_value_construct_n(memory, bytes / sizeof(T));
    return memory;
  }

  std::unique_ptr<T, Free> data_;
  std::size_t count_;
};

// float16 by its bits.
double value(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const double size = exponent == 0 ? std::ldexp(fraction, -24)
                                    : std::ldexp(1024 + fraction, exponent - 25);
  return bits >> 15 != 0 ? -size : size;
}

// Between 1/4 and 2, of both signs.
DeviceArray<std::uint16_t> random_numbers(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  DeviceArray<std::uint16_t> numbers(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t bits = random();
    numbers[i] = static_cast<std::uint16_t>(bits >> 31 << 15 | (13 + (bits >> 16) % 3) << 10 |
                                            (bits & 1023));
  }
  return numbers;
}

wkv_tensor tensor(const DeviceArray<std::uint16_t>& memory, int tokens, int heads) {
  return {memory.data(), {std::int64_t{tokens} * heads * kHeadDim, heads * kHeadDim, kHeadDim}};
}

// What one layer has: the prompt's q, k, v, and its cache.
struct Layer {
  explicit Layer(unsigned seed)
      : q(random_numbers(kSeqlen * kNumHeadsQ * kHeadDim, seed)),
        k(random_numbers(kSeqlen * kNumHeadsKv * kHeadDim, seed + 1)),
        v(random_numbers(kSeqlen * kNumHeadsKv * kHeadDim, seed + 2)),
        q_new(random_numbers(kNumHeadsQ * kHeadDim, seed + 3)),
        k_new(random_numbers(kNumHeadsKv * kHeadDim, seed + 4)),
        v_new(random_numbers(kNumHeadsKv * kHeadDim, seed + 5)) {}

  DeviceArray<std::uint16_t> q, k, v, q_new, k_new, v_new;
  DeviceArray<std::uint16_t> o{kSeqlen * kNumHeadsQ * kHeadDim};
  DeviceArray<float> lse{kNumHeadsQ * kSeqlen};
  DeviceArray<std::uint16_t> k_cache{kCapacity * kNumHeadsKv * kHeadDim};
  DeviceArray<std::uint16_t> v_cache{kCapacity * kNumHeadsKv * kHeadDim};
  DeviceArray<std::uint16_t> o_new{kNumHeadsQ * kHeadDim};
};

// The largest difference of the new token's attention from the formula over the kept tokens.
double largest_error(const Layer& layer, const std::vector<int>& kept) {
  double largest = 0;
  for (int head = 0; head < kNumHeadsQ; ++head) {
    const int head_kv = head / (kNumHeadsQ / kNumHeadsKv);
    std::vector<double> sums(kHeadDim, 0.0);
    double total = 0;
    for (std::size_t i = 0; i <= kept.size(); ++i) {
      const bool is_new = i == kept.size();
      const std::size_t row =
          is_new ? head_kv * kHeadDim
                 : (static_cast<std::size_t>(kept[i]) * kNumHeadsKv + head_kv) * kHeadDim;
      const std::uint16_t* k = (is_new ? layer.k_new : layer.k).data() + row;
      const std::uint16_t* v = (is_new ? layer.v_new : layer.v).data() + row;
      double score = 0;
      for (int d = 0; d < kHeadDim; ++d) {
        score += value(layer.q_new[head * kHeadDim + d]) * value(k[d]) * kScale;
      }
      const double weight = std::exp(score);
      total += weight;
      for (int d = 0; d < kHeadDim; ++d) sums[d] += weight * value(v[d]);
    }
    for (int d = 0; d < kHeadDim; ++d) {
      const double error = std::fabs(value(layer.o_new[head * kHeadDim + d]) - sums[d] / total);
      largest = std::fmax(largest, error);
    }
  }
  return largest;
}

}  // namespace

int main() {
  const wkv_kernels* kernels = wkv_emulated_kernels();
  std::vector<Layer> layers;
  for (int i = 0; i < kNumLayers; ++i) layers.emplace_back(10 * i + 1);
  const wkv_sequences sequences = {nullptr, nullptr, kSeqlen, 0};
  DeviceArray<std::uint32_t> flags(1);

  for (Layer& layer : layers) {
    wkv_prefill_params prefill = {};
    prefill.struct_size = sizeof(prefill);
    prefill.q = tensor(layer.q, kSeqlen, kNumHeadsQ);
    prefill.k = tensor(layer.k, kSeqlen, kNumHeadsKv);
    prefill.v = tensor(layer.v, kSeqlen, kNumHeadsKv);
    prefill.o = tensor(layer.o, kSeqlen, kNumHeadsQ);
    prefill.lse = {layer.lse.data(), kNumHeadsQ * kSeqlen, kSeqlen};
    prefill.sequences_q = prefill.sequences_kv = sequences;
    prefill.batch = 1;
    prefill.num_heads_q = kNumHeadsQ;
    prefill.num_heads_kv = kNumHeadsKv;
    prefill.head_dim = kHeadDim;
    prefill.softmax_scale = kScale;
    prefill.dtype = WKV_F16;
    check(kernels->prefill(&prefill), "prefill");
  }

  // The leader scores: the suffix's rows are the last of its q.
  const Layer& leader = layers.front();
  DeviceArray<wkv_observation> observation(1);
  observation[0] = {kSuffixLen, kSuffixLen, kWindowLen, kWindowLen};
  DeviceArray<float> scores(kNumWindows);
  wkv_score_params score = {};
  score.struct_size = sizeof(score);
  score.q = tensor(leader.q, kSeqlen, kNumHeadsQ);
  score.k = tensor(leader.k, kSeqlen, kNumHeadsKv);
  score.lse = {leader.lse.data(), kNumHeadsQ * kSeqlen, kSeqlen};
  score.sequences_q = score.sequences_kv = sequences;
  score.observations = observation.data();
  score.window_scores = {scores.data(), kNumWindows, kNumWindows};
  score.column_heads = kNumHeadsKv;
  score.max_windows = kNumWindows;
  score.pooling_width = 1;
  score.batch = 1;
  score.num_heads_q = kNumHeadsQ;
  score.num_heads_kv = kNumHeadsKv;
  score.head_dim = kHeadDim;
  score.softmax_scale = kScale;
  score.dtype = WKV_F16;
  score.flags = flags.data();
  check(kernels->score_workspace_size(&score, &score.workspace_bytes), "score_workspace_size");
  DeviceArray<unsigned char> score_workspace(score.workspace_bytes);
  score.workspace = score_workspace.data();
  check(kernels->score(&score), "score");

  DeviceArray<std::int32_t> num_windows(1), num_keep(1), num_kept(1), indices(kNumKeep);
  num_windows[0] = kNumWindows;
  num_keep[0] = kNumKeep;
  wkv_select_params select = {};
  select.struct_size = sizeof(select);
  select.scores = scores.data();
  select.num_windows = num_windows.data();
  select.num_keep = num_keep.data();
  select.indices = indices.data();
  select.num_kept = num_kept.data();
  select.scores_stride = kNumWindows;
  select.indices_stride = kNumKeep;
  select.rows = 1;
  select.rows_per_sequence = 1;
  select.max_windows = kNumWindows;
  select.max_keep = kNumKeep;
  select.flags = flags.data();
  check(kernels->select(&select), "select");

  std::printf("scores:");
  for (int w = 0; w < kNumWindows; ++w) std::printf(" %.4f", scores[w]);
  std::printf("\n");

  // One gather for all layers of the group.
  std::vector<wkv_gather_layer> gather_layers;
  for (const Layer& layer : layers) {
    gather_layers.push_back(
        {layer.k.data(), layer.v.data(), layer.k_cache.data(), layer.v_cache.data()});
  }
  DeviceArray<std::int32_t> cache_lens(1);
  wkv_gather_params gather = {};
  gather.struct_size = sizeof(gather);
  gather.layers = gather_layers.data();
  gather.num_layers = kNumLayers;
  gather.source_strides = score.k.strides;
  gather.sequences_kv = sequences;
  gather.cache.strides = tensor(leader.k_cache, kCapacity, kNumHeadsKv).strides;
  gather.cache.capacity = kCapacity;
  gather.observations = observation.data();
  gather.indices = indices.data();
  gather.num_kept = num_kept.data();
  gather.index_batch_stride = gather.index_head_stride = kNumKeep;
  gather.index_heads = 1;
  gather.max_keep = kNumKeep;
  gather.kept_lens = cache_lens.data();
  gather.batch = 1;
  gather.num_heads_kv = kNumHeadsKv;
  gather.head_dim = kHeadDim;
  gather.dtype = WKV_F16;
  gather.flags = flags.data();
  check(kernels->gather(&gather), "gather");

  std::vector<int> kept;
  std::printf("kept windows:");
  for (int i = 0; i < num_kept[0]; ++i) {
    std::printf(" %d", indices[i]);
    for (int t = indices[i] * kWindowLen;
         t < std::min((indices[i] + 1) * kWindowLen, kSeqlen - kSuffixLen); ++t) {
      kept.push_back(t);
    }
  }
  for (int t = kSeqlen - kSuffixLen; t < kSeqlen; ++t) kept.push_back(t);
  std::printf("; %d of %d tokens are in the cache\n", cache_lens[0], kSeqlen);
  bool wrong = cache_lens[0] != static_cast<int>(kept.size());

  wkv_decode_params decode = {};
  decode.struct_size = sizeof(decode);
  decode.cache = gather.cache;
  decode.cache_lens = cache_lens.data();
  decode.batch = 1;
  decode.num_heads_q = kNumHeadsQ;
  decode.num_heads_kv = kNumHeadsKv;
  decode.head_dim = kHeadDim;
  decode.softmax_scale = kScale;
  decode.dtype = WKV_F16;
  decode.flags = flags.data();
  check(kernels->decode_workspace_size(&decode, &decode.workspace_bytes), "decode_workspace_size");
  DeviceArray<unsigned char> decode_workspace(decode.workspace_bytes);
  decode.workspace = decode_workspace.data();
  for (int i = 0; i < kNumLayers; ++i) {
    const Layer& layer = layers[i];
    decode.q = tensor(layer.q_new, 1, kNumHeadsQ);
    decode.k_new = tensor(layer.k_new, 1, kNumHeadsKv);
    decode.v_new = tensor(layer.v_new, 1, kNumHeadsKv);
    decode.o = tensor(layer.o_new, 1, kNumHeadsQ);
    decode.k_cache = layer.k_cache.data();
    decode.v_cache = layer.v_cache.data();
    check(kernels->decode(&decode), "decode");
    // The outputs are averages of numbers below 2, whose rounding to float16 is off by 2^-11.
    const double error = largest_error(layer, kept);
    std::printf("layer %d: attention of the new token is within %.1e of the formula\n", i, error);
    wrong |= !(error < 2e-3);
  }

  wkv_advance_params advance = {};
  advance.struct_size = sizeof(advance);
  advance.values = cache_lens.data();
  advance.count = 1;
  advance.amount = 1;
  check(kernels->advance(&advance), "advance");
  wrong |= cache_lens[0] != static_cast<int>(kept.size()) + 1 || flags[0] != 0;
  std::printf("now %d tokens; flags %u\n", cache_lens[0], flags[0]);
  if (wrong) std::fprintf(stderr, "that is not what it should be\n");
  return wrong ? EXIT_FAILURE : EXIT_SUCCESS;
}
