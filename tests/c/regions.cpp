// What cuda/common/region.h says of random regions, against all of their bytes.

#include <cstdio>
#include <random>
#include <set>

#include "common/region.h"

namespace {

using windowkv::Region;

// Everything is a multiple of it.
constexpr int64_t kStep = 8;
char memory[1 << 16];

Region draw(std::mt19937& random) {
  const auto between = [&](int low, int high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  Region region = {
      "region", memory + sizeof(memory) / 2 + kStep * between(-60, 60), kStep * between(0, 4), {}};
  for (Region::Axis& axis : region.axes) {
    axis = {kStep * between(-40, 40), between(random() % 16 == 0 ? 0 : 1, 5)};
  }
  return region;
}

// The places of a region; *twice: whether there is one that steps lead to twice.
std::set<int64_t> places_of(const Region& region, bool* twice) {
  std::set<int64_t> places;
  *twice = false;
  const auto& [a, b, c] = region.axes;
  for (int64_t i = 0; i < a.count; ++i) {
    for (int64_t j = 0; j < b.count; ++j) {
      for (int64_t k = 0; k < c.count; ++k) {
        const int64_t first =
            windowkv::address(region.data) + i * a.stride + j * b.stride + k * c.stride;
        for (int64_t byte = 0; byte < region.inner; byte += kStep) {
          *twice |= !places.insert(first + byte).second;
        }
      }
    }
  }
  return places;
}

}  // namespace

int main() {
  std::mt19937 random(1);
  int failures = 0, overlaps = 0, twices = 0;
  constexpr int kCases = 20000;
  for (int i = 0; i < kCases; ++i) {
    const Region left = draw(random), right = draw(random);
    bool left_twice = false, right_twice = false;
    const std::set<int64_t> left_places = places_of(left, &left_twice);
    bool overlap = false;
    for (const int64_t place : places_of(right, &right_twice)) {
      overlap |= left_places.count(place) != 0;
    }
    overlaps += overlap;
    twices += left_twice;
    failures += left.overlaps(right) != overlap || right.overlaps(left) != overlap ||
                left.overlaps_itself() != left_twice || right.overlaps_itself() != right_twice;
  }
  std::printf("%d pairs of regions, %d that overlap, %d with a place twice: %d wrong answers\n",
              kCases, overlaps, twices, failures);
  return failures == 0 && overlaps > 1000 && twices > 1000 ? 0 : 1;
}
