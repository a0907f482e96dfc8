// Counts drawn from what a decoder predicts.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "retort/models/cell_vae.hpp"

namespace retort {

// Whole counts [n, genes], float32: gamma-Poisson draws of mean library * softmax(logits) and inverse dispersion
// exp(log_theta). Cell i draws from the stream of (seed, purpose::counts, first + i) alone. `libraries`: expected sums
// of counts, [n]. Without end, the inverse dispersion makes it Poisson's. Throws Failure(failed) where a prediction is
// no number.
at::Tensor sample_counts(GenePrediction const& prediction, std::span<double const> libraries, std::uint64_t seed,
                         std::int64_t first);

// Gaussian: log-normalised expression, mean and unit noise, as scLDM's code samples it; cell i draws from the same
// stream.
at::Tensor sample_expression(GenePrediction const& prediction, std::uint64_t seed, std::int64_t first);

}  // namespace retort
