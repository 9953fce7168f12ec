// Where the sequences of a batch lie. Lengths come from device memory: they are clamped to what the
// params say is there.

#pragma once

#include "common/math.cuh"
#include "ptx/machine.h"
#include "windowkv.h"

namespace windowkv::inline WKV_MACHINE {

// The rows of one sequence: row i of the tensor is at `base` + i * strides.token.
struct Sequence {
  int64_t first;  // row; 0 without cu_seqlens
  int64_t seqlen;
};

WKV_FN Sequence sequence_of(const wkv_sequences& sequences, int batch_idx) {
  Sequence sequence = {0, sequences.max_seqlen};
  if (sequences.cu_seqlens != nullptr) {
    sequence.first = clamp(sequences.cu_seqlens[batch_idx], 0, sequences.num_tokens);
    const int64_t end =
        clamp(sequences.cu_seqlens[batch_idx + 1], sequence.first, sequences.num_tokens);
    sequence.seqlen = clamp(end - sequence.first, 0, sequences.max_seqlen);
  }
  if (sequences.seqlens != nullptr) {
    sequence.seqlen = clamp(sequences.seqlens[batch_idx], 0, sequence.seqlen);
  }
  return sequence;
}

// Element offset of token 0, head 0 of a sequence.
WKV_FN int64_t sequence_offset(const wkv_sequences& sequences, const Sequence& sequence,
                               const wkv_strides& strides, int batch_idx) {
  return sequences.cu_seqlens != nullptr ? sequence.first * strides.token
                                         : batch_idx * strides.batch;
}

// The same for float32 rows.
WKV_FN int64_t sequence_offset(const wkv_sequences& sequences, const Sequence& sequence,
                               const wkv_rows_f32& rows, int batch_idx) {
  return sequences.cu_seqlens != nullptr ? sequence.first : batch_idx * rows.batch_stride;
}

// Whether what device memory says of the sequence had to be clamped.
WKV_FN bool sequence_clamped(const wkv_sequences& sequences, const Sequence& sequence,
                             int batch_idx) {
  if (sequences.cu_seqlens != nullptr) {
    const int64_t first = sequences.cu_seqlens[batch_idx];
    const int64_t end = sequences.cu_seqlens[batch_idx + 1];
    if (first != sequence.first || end < first || end > sequences.num_tokens) return true;
    if (sequences.seqlens == nullptr) return end - first != sequence.seqlen;
  }
  return sequences.seqlens != nullptr && sequences.seqlens[batch_idx] != sequence.seqlen;
}

}  // namespace windowkv::inline WKV_MACHINE
