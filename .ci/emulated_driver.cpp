// Runs the samples and the probes of the emulated GPU through its C ABI and prints a hash of each
// result; the faults named on the command line must be reported. Two builds of the emulated GPU
// must print the same: see compilers.sh.

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "machines/machines.h"
#include "samples/samples.h"
#include "windowkv_testing.h"

namespace {

constexpr int kSchedules = 5;

struct Random {
  uint64_t state;
  uint32_t word() {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(state >> 32);
  }
  // Two finite numbers of f16 or bf16, below 2; as a float finite too.
  uint32_t halves() { return word() & 0xbfffbfff; }
};

uint64_t hash(const void* data, size_t bytes) {
  uint64_t value = 14695981039346656037u;
  for (size_t i = 0; i < bytes; ++i) {
    value = (value ^ static_cast<const unsigned char*>(data)[i]) * 1099511628211u;
  }
  return value;
}

struct Case {
  const char* probe;
  std::vector<int64_t> arguments;
  int blocks = 1;
  bool store = false;  // the tensor map is of the output
};

// A map of rows of four floats, and a box of 64 of them (32 for groups of stores).
wkv_tensor_spec tensor(const Case& probe) {
  wkv_tensor_spec spec = {};
  const uint32_t rows = std::strcmp(probe.probe, "tma_store_groups") == 0 ? 32 : 64;
  spec.element = 2;
  spec.rank = 2;
  spec.of_output = probe.store;
  spec.size[0] = 4;
  spec.size[1] = 128;
  spec.stride_bytes[1] = 16;
  spec.box[0] = 4;
  spec.box[1] = rows;
  return spec;
}

// What the probe wrote, or its report.
std::string run(const Case& probe, uint64_t seed) {
  constexpr size_t kWords = 1 << 18;
  Random random = {seed};
  std::vector<uint32_t> input(kWords), output(kWords, 0);
  for (uint32_t& word : input) word = random.halves();
  wkv_probe_params params = {};
  params.struct_size = sizeof(params);
  params.name = probe.probe;
  params.input = input.data();
  params.output = output.data();
  params.blocks = probe.blocks;
  for (size_t i = 0; i < probe.arguments.size(); ++i) params.arguments[i] = probe.arguments[i];
  params.tensor = tensor(probe);
  wkv_emulated_testing()->configure(seed, 1);
  const int status = wkv_emulated_testing()->probe(&params);
  char text[64];
  std::snprintf(text, sizeof(text), "%016llx",
                static_cast<unsigned long long>(hash(output.data(), kWords * 4)));
  return status == WKV_OK ? text : wkv_emulated_testing()->last_error();
}

std::vector<Case> probes() {
  std::vector<Case> all = {{"thread", {}, 2},
                           {"number", {}, 4},
                           {"widen", {}, 256},
                           {"mma", {0}},
                           {"mma", {1}},
                           {"acquire_release", {9}},
                           {"fence", {}, 5},
                           {"fence_shared", {}},
                           {"sync_threads", {}},
                           {"named_barrier", {4}},
                           {"sync_warp", {3}},
                           {"mbarrier", {5, 0}},
                           {"mbarrier", {5, 1}},
                           {"mbarrier_reuse", {3, 30}},
                           {"tma_load", {2, 1024, -1, 3}},
                           {"tma_store", {2, 1024, 1, 100}, 1, true},
                           {"tma_store_groups", {4, 0}, 1, true},
                           {"tma_multicast", {2, 1024}, 2},
                           {"cluster", {}, 4},
                           {"registers", {}},
                           {"wgmma_groups_0", {1}},
                           {"wgmma_groups_1", {1}},
                           {"wgmma_groups_3", {1}}};
  for (int64_t kind = 0; kind < 5; ++kind) all.push_back({"shuffle", {kind, 5, 16, 0xffffffff}});
  for (int64_t kind = 0; kind < 12; ++kind) all.push_back({"vote", {kind, 0xff00ff0f}});
  for (int64_t kind = 0; kind < 10; ++kind) all.push_back({"atomics", {kind, kind % 2}});
  for (int64_t count : {1, 2, 4}) {
    for (int64_t transposed : {0, 1}) {
      all.push_back({"ldmatrix", {count, transposed}});
      all.push_back({"stmatrix", {count, transposed}});
    }
  }
  for (int64_t bytes : {4, 8, 16}) all.push_back({"cp_async", {bytes, bytes - 1, 4}});
  // a in shared memory and in registers; 128-byte swizzle, rows of 8 at 1,024 bytes, four steps of
  // k.
  for (const char* name : {"wgmma_f16_64_k_mn", "wgmma_bf16_128_k_k", "wgmma_bf16_256_k_k"}) {
    for (int64_t registers : {0, 1}) {
      all.push_back({name, {registers, 3, 0, 1024, 0, 1024, 32 | int64_t{32} << 32, 4}});
    }
  }
  return all;
}

int run_samples(uint64_t seed) {
  constexpr int64_t m = 70, n = 72, k = 104;
  Random random = {seed};
  std::vector<uint32_t> a(m * k / 2), b(n * k / 2);
  for (uint32_t& word : a) word = random.halves();
  for (uint32_t& word : b) word = random.halves();
  std::vector<float> sums(m), c(m * n);
  std::vector<uint16_t> c_half(m * n);
  wkv_emulated_testing()->configure(seed, 2);
  wkv_row_sum_params rows = {};
  rows.struct_size = sizeof(rows);
  rows.input = reinterpret_cast<const float*>(a.data());
  rows.output = sums.data();
  rows.rows = m;
  rows.columns = rows.input_stride = k / 2;
  int status = wkv_emulated_row_sum(&rows);
  wkv_product_params product = {};
  product.struct_size = sizeof(product);
  product.a = a.data();
  product.b = b.data();
  product.m = m;
  product.n = n;
  product.k = product.a_stride = product.b_stride = k;
  product.c_stride = n;
  for (wkv_dtype dtype : {WKV_F16, WKV_BF16}) {
    product.dtype = dtype;
    product.c = c.data();
    status |= wkv_emulated_mma_product(&product);
    product.c = c_half.data();
    status |= wkv_emulated_wgmma_product(&product);
    std::printf("samples %d: %016llx %016llx %016llx\n", dtype,
                static_cast<unsigned long long>(hash(sums.data(), sums.size() * 4)),
                static_cast<unsigned long long>(hash(c.data(), c.size() * 4)),
                static_cast<unsigned long long>(hash(c_half.data(), c_half.size() * 2)));
  }
  if (status != WKV_OK) std::printf("%s\n", wkv_emulated_testing()->last_error());
  return status;
}

}  // namespace

int main(int count, char** faults) {
  int failed = 0;
  for (uint64_t seed = 0; seed < kSchedules; ++seed) {
    failed |= run_samples(seed);
    for (const Case& probe : probes()) {
      const std::string text = run(probe, seed);
      std::printf("%s: %s\n", probe.probe, text.c_str());
      failed |= text.find(' ') != std::string::npos;
    }
    for (int i = 1; i < count; ++i) {
      const std::string name = faults[i];
      const Case fault = {
          faults[i], {}, name.rfind("cluster", 0) == 0 ? 2 : 1, name.rfind("tma_store", 0) == 0};
      // Which of several accesses of a race is named depends on the compiler.
      const std::string text = run(fault, seed);
      const bool reported = text.rfind("test/faults.cpp:", 0) == 0;
      std::printf("%s: %s\n", faults[i], reported ? "reported" : text.c_str());
      failed |= !reported;
    }
  }
  return failed == 0 ? 0 : 1;
}
