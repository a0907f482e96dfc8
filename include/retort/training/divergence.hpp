// The end of a training that has left the numbers.
#pragma once

#include <string>

#include "retort/ranks/communicator.hpp"
#include "retort/ranks/gradient_arena.hpp"
#include "retort/session/checkpoint.hpp"

namespace retort {

// Collective, after arena.sum(): nothing where loss and norm, which are those of all ranks, are finite. Otherwise
// throws on all ranks Failure(failed) in the name of the first rank whose own shards are not, with `advice` ("Lower
// foundation.rate") and the last good checkpoint.
void require_finite(Communicator const& ranks, GradientArena const& arena, double loss, double norm,
                    std::string const& advice, Checkpoints const* checkpoints = nullptr);

}  // namespace retort
