// The Frechet distance of the Gaussians that real and generated cells would be.
#pragma once

#include <ATen/core/Tensor.h>

namespace retort {

// FD = |mu1 - mu2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), squared as the papers report it (methods 3.7); means and
// covariances (ddof 1) of real [n, width] and generated [m, width], n and m at least 2. The trace of the root is the
// sum of the singular values of S1^(1/2) S2^(1/2): those of S1^(1/2) S2 S1^(1/2) are their squares, and their roots
// would lose half of the digits where fewer cells than dimensions make S1 or S2 singular. Never below 0. Not
// collective. Throws Failure(bad_input): one cell, other types, different widths, a value that is not finite.
double frechet_distance(at::Tensor const& real, at::Tensor const& generated);

}  // namespace retort
