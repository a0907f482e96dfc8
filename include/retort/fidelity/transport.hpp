// Wasserstein distances between real and generated cells: exact optimal transport.
#pragma once

#include <ATen/core/Tensor.h>

namespace retort {

// The least mean cost of moving n equal weights onto m equal weights, cost [n, m] float64, exactly; n and m may differ
// (then a weight is divided). Shortest augmenting paths with potentials (Jonker and Volgenant 1987), carried over from
// assignment to transport. 2,000 x 2,000 take about a second, 2,000 x 1,999 half a minute: weights are cut into n m /
// gcd(n, m) units, so take equal numbers of cells where you may (the papers do). As ot.emd2 of POT with uniform
// weights. Not collective. Throws Failure(bad_input) at a cost that is not finite.
double transport_cost(at::Tensor const& cost);

// W2 = sqrt of the transport cost of squared Euclidean distances with uniform weights, as CFGen and scLDM report it
// (methods 3.7). real [n, width], generated [m, width], float32 or float64; one cell is enough. Holds one n x m matrix.
// Not collective. Throws Failure(bad_input): other types, different widths, a value that is not finite.
double wasserstein2(at::Tensor const& real, at::Tensor const& generated);

// W1 of all values, whatever cell and gene they are of (scRDiT, methods 2.5): the area between the two distribution
// functions, as scipy.stats.wasserstein_distance. [n, genes] and [m, genes]; n and m may differ.
// Not collective. Throws Failure(bad_input) like wasserstein2.
double wasserstein1_of_values(at::Tensor const& real, at::Tensor const& generated);

}  // namespace retort
