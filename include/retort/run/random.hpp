// Counter-based random numbers (Random123, Philox 4x32-10; Salmon et al., SC'11): a draw is a function of its key.
#pragma once

#include <Random123/philox.h>

#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

namespace retort {

// A stream of numbers named by (seed, purpose, a, b): never by the rank, so any number of ranks draws the same.
// Copy it freely; it holds only its key and its counter.
class Random {
 public:
  Random(std::uint64_t seed, std::uint32_t purpose, std::uint64_t a = 0, std::uint32_t b = 0)
      : key_{{static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32) ^ purpose * 0x9E3779B9u}},
        counter_{{0, b, static_cast<std::uint32_t>(a), static_cast<std::uint32_t>(a >> 32)}} {}

  std::uint32_t bits() {
    if (used_ == 4) {
      block_ = r123::Philox4x32()(counter_, key_);
      ++counter_[0];
      used_ = 0;
    }
    return block_[used_++];
  }
  std::uint64_t bits64() {
    std::uint64_t const high = bits();
    return high << 32 | bits();
  }
  // Uniform in [0, 1).
  double uniform() { return static_cast<double>(bits64() >> 11) * 0x1.0p-53; }
  // Uniform in [0, bound); the bias is below bound / 2^64.
  std::uint64_t below(std::uint64_t bound) {
    return static_cast<std::uint64_t>((static_cast<unsigned __int128>(bits64()) * bound) >> 64);
  }
  // Standard normal (Box and Muller).
  double normal() {
    double const radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
    return radius * std::cos(2.0 * std::numbers::pi * uniform());
  }
  // Fisher and Yates.
  template <class Value>
  void shuffle(std::vector<Value>& values) {
    for (std::size_t i = values.size(); i > 1; --i) std::swap(values[i - 1], values[below(i)]);
  }

 private:
  r123::Philox4x32::key_type key_;
  r123::Philox4x32::ctr_type counter_, block_{};
  unsigned used_ = 4;
};

// What a stream of numbers is for; two purposes never share numbers.
namespace purpose {
inline constexpr std::uint32_t weights = 1, split = 2, shuffle = 3, epoch = 4, dropout = 5, triplet = 6, diffusion = 7,
                               initial_cells = 8, head = 9, head_order = 10, simulate = 11, baseline = 12,
                               held_out = 13, real_sample = 14, student_weights = 15, student_cells = 16,
                               student_dropout = 17, random_pathways = 18, report = 20, generate_noise = 21,
                               counts = 22, distances = 23, vae = 24, size_factor = 25;
}

}  // namespace retort
