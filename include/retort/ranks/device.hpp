// Where a rank's tensors live.
#pragma once

#include <c10/core/Device.h>

#include <string>

#include "retort/ranks/communicator.hpp"

namespace retort {

// Collective. "auto": a GPU where this build has CUDA and every rank of every node has one of its own, else the CPU;
// "cpu"; "cuda", which throws Failure(usage) where a rank would have none. A rank's GPU is its rank within the node.
c10::Device choose_device(Communicator const& ranks, std::string const& asked);
// Of programs that compute on CPUs alone: "auto" and "cpu". Throws Failure(usage) for "cuda".
void require_cpu(std::string const& asked);

}  // namespace retort
