#pragma once

namespace windowkv::inline WKV_MACHINE::ptx {

enum class VoteKind { kBallot, kMatch, kAdd, kMin, kMax, kMinSigned, kMaxSigned, kAnd, kOr, kXor };
uint32_t vote_bits(VoteKind kind, uint32_t value, uint32_t mask, Where where);

WKV_FN uint32_t ballot(bool predicate, uint32_t mask, Where where) {
  return vote_bits(VoteKind::kBallot, predicate, mask, where);
}
WKV_FN bool vote_all(bool predicate, uint32_t mask, Where where) {
  return ballot(predicate, mask, where) == mask;
}
WKV_FN bool vote_any(bool predicate, uint32_t mask, Where where) {
  return ballot(predicate, mask, where) != 0;
}
WKV_FN uint32_t match_any(uint32_t value, uint32_t mask, Where where) {
  return vote_bits(VoteKind::kMatch, value, mask, where);
}
WKV_FN uint32_t reduce_add(uint32_t value, uint32_t mask, Where where) {
  return vote_bits(VoteKind::kAdd, value, mask, where);
}
WKV_FN uint32_t reduce_min(uint32_t value, uint32_t mask, Where where) {
  return vote_bits(VoteKind::kMin, value, mask, where);
}
WKV_FN uint32_t reduce_max(uint32_t value, uint32_t mask, Where where) {
  return vote_bits(VoteKind::kMax, value, mask, where);
}
WKV_FN int32_t reduce_min(int32_t value, uint32_t mask, Where where) {
  return static_cast<int32_t>(
      vote_bits(VoteKind::kMinSigned, static_cast<uint32_t>(value), mask, where));
}
WKV_FN int32_t reduce_max(int32_t value, uint32_t mask, Where where) {
  return static_cast<int32_t>(
      vote_bits(VoteKind::kMaxSigned, static_cast<uint32_t>(value), mask, where));
}
WKV_FN uint32_t reduce_and(uint32_t value, uint32_t mask, Where where) {
  return vote_bits(VoteKind::kAnd, value, mask, where);
}
WKV_FN uint32_t reduce_or(uint32_t value, uint32_t mask, Where where) {
  return vote_bits(VoteKind::kOr, value, mask, where);
}
WKV_FN uint32_t reduce_xor(uint32_t value, uint32_t mask, Where where) {
  return vote_bits(VoteKind::kXor, value, mask, where);
}

}  // namespace windowkv::inline WKV_MACHINE::ptx
