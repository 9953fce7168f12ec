#pragma once

namespace windowkv::inline WKV_MACHINE::ptx {

WKV_FN bool vote_all(bool predicate, uint32_t mask, Where) { return __all_sync(mask, predicate); }
WKV_FN bool vote_any(bool predicate, uint32_t mask, Where) { return __any_sync(mask, predicate); }
WKV_FN uint32_t ballot(bool predicate, uint32_t mask, Where) {
  return __ballot_sync(mask, predicate);
}
WKV_FN uint32_t match_any(uint32_t value, uint32_t mask, Where) {
  return __match_any_sync(mask, value);
}
WKV_FN uint32_t reduce_add(uint32_t value, uint32_t mask, Where) {
  return __reduce_add_sync(mask, value);
}
WKV_FN uint32_t reduce_min(uint32_t value, uint32_t mask, Where) {
  return __reduce_min_sync(mask, value);
}
WKV_FN uint32_t reduce_max(uint32_t value, uint32_t mask, Where) {
  return __reduce_max_sync(mask, value);
}
WKV_FN int32_t reduce_min(int32_t value, uint32_t mask, Where) {
  return __reduce_min_sync(mask, value);
}
WKV_FN int32_t reduce_max(int32_t value, uint32_t mask, Where) {
  return __reduce_max_sync(mask, value);
}
WKV_FN uint32_t reduce_and(uint32_t value, uint32_t mask, Where) {
  return __reduce_and_sync(mask, value);
}
WKV_FN uint32_t reduce_or(uint32_t value, uint32_t mask, Where) {
  return __reduce_or_sync(mask, value);
}
WKV_FN uint32_t reduce_xor(uint32_t value, uint32_t mask, Where) {
  return __reduce_xor_sync(mask, value);
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
