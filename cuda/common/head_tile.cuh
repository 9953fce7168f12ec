// Rows of one head, head_dim half-precision numbers each, as they lie in shared memory: pieces of
// 16 bytes, which trade places so that eight rows' pieces of one column fall into different banks,
// as ldmatrix reads them.

#pragma once

#include "common/vector.cuh"
#include "ptx/machine.h"

namespace windowkv::inline WKV_MACHINE {

// Numbers of a piece, and pieces of a row.
inline constexpr int kPiece = kVectorLength;
template <int kHeadDim>
inline constexpr int kRowPieces = kHeadDim / kPiece;

// Index of the first number of a piece. A row of 128 or 256 bytes starts at bank 0, and its pieces
// trade places within 128 bytes by the row; one of 64 or 192 bytes starts there every second time,
// and they trade places within 64 bytes by the pair of rows.
template <int kHeadDim>
WKV_BOTH unsigned piece_index(unsigned row, unsigned piece) {
  static_assert(kHeadDim % 32 == 0);
  constexpr unsigned kTraders = kHeadDim % 64 == 0 ? 8 : 4;
  const unsigned swap = kTraders == 8 ? row % 8 : row / 2 % 4;
  // Apart, so that what is known at compile time becomes the constant of an address.
  const unsigned place = piece / kTraders * kTraders + (piece % kTraders ^ swap);
  return row * kHeadDim + place * kPiece;
}

// How threads share the pieces of a tile: so many lanes side by side take pieces of one row.
template <int kHeadDim, int kThreads>
struct RowLoader {
  static constexpr int kPieces = kRowPieces<kHeadDim>;
  static constexpr int kLanes = kPieces % 8 == 0 ? 8 : 4;
  static constexpr int kRows = kThreads / kLanes;  // rows from one of a thread's to its next
  static_assert(kPieces % kLanes == 0);
};

}  // namespace windowkv::inline WKV_MACHINE
