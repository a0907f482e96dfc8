// Which sets a distillation makes, how large they may be, and what it needs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "retort/distill/distill_inputs.hpp"
#include "retort/distill/distilled_file.hpp"
#include "retort/distill/real_side.hpp"
#include "retort/distill/search_state.hpp"

namespace retort {

// All kinds of sets, in the order in which they are made.
std::vector<Recipe> recipes_of(DistillOptions const& options);

// Where a distillation of so many kinds of sets begins.
SearchState first_search_state(std::size_t kinds);

// What settings ask of the real side.
RealSide::Options real_side_options(DistillOptions const& options, HeadOptions const& head, Foundation const& encoder,
                                    std::uint64_t seed);

// Throws Failure(usage): the student of genes solves for as many numbers as the set has cells, once per class and step
// of Newton's method.
void require_sizes(DistillInputs const& in, DistillOptions const& options);

// One line per kind of set on stdout: cells, chunks, steps and memory per rank.
void print_distill_plan(DistillInputs const& in, DistillOptions const& options, HeadOptions const& head,
                        ShardPlan const& plan);

}  // namespace retort
