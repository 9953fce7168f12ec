#pragma once

namespace windowkv::inline WKV_MACHINE::ptx {

void load_matrices(uint32_t* fragment, int count, bool transposed, const void* row, Where where);
void store_matrices(void* row, const uint32_t* fragment, int count, bool transposed, Where where);

template <int N>
WKV_FN void load_matrix(uint32_t (&fragment)[N], const void* row, Where where) {
  static_assert(N == 1 || N == 2 || N == 4);
  load_matrices(fragment, N, false, row, where);
}
template <int N>
WKV_FN void load_matrix_transposed(uint32_t (&fragment)[N], const void* row, Where where) {
  static_assert(N == 1 || N == 2 || N == 4);
  load_matrices(fragment, N, true, row, where);
}
template <int N>
WKV_FN void store_matrix(void* row, const uint32_t (&fragment)[N], Where where) {
  static_assert(N == 1 || N == 2 || N == 4);
  store_matrices(row, fragment, N, false, where);
}
template <int N>
WKV_FN void store_matrix_transposed(void* row, const uint32_t (&fragment)[N], Where where) {
  static_assert(N == 1 || N == 2 || N == 4);
  store_matrices(row, fragment, N, true, where);
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
