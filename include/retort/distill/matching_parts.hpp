// The parts that a matching's name asks for.
#pragma once

#include <string>

namespace retort {

// "dm" (class means), "dc" (gradients of a head) or "dm+dc"; "head" (HeadMatching), "genes" (GeneMatching) or
// "head+genes"; "none" leaves a set as it starts.
struct MatchingParts {
  std::string name;
  bool means = false, gradients = false, head = false, genes = false;
  bool is_none() const { return !means && !gradients && !head && !genes; }
};
// Throws Failure(usage).
MatchingParts matching_parts(std::string const& name);

}  // namespace retort
