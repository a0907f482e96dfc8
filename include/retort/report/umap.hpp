// Points in two dimensions such that neighbours stay neighbours (UMAP; McInnes, Healy, Melville, arXiv 1802.03426), by
// the library umappp.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace retort {

// Points [n, width], row-major -> [n, 2]. 15 neighbours, minimum distance 0.3. Starts from the eigenvectors of the
// neighbour graph; where the graph has several parts, from the two principal components. One thread: a function of
// points and seed alone. Not collective. Throws Failure(bad_input) where a number is not finite.
std::vector<double> umap(std::span<float const> points, std::int64_t width, std::uint64_t seed);

}  // namespace retort
