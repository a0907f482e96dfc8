// scRDiT's zero-negation (methods 2.1): a gene that is off is told from one that is low by a value far below zero.
#pragma once

#include <ATen/core/Tensor.h>

namespace retort {

// Its code's value.
inline constexpr double scrdit_negated_zero = -10;

// Expression for training: every exact 0 becomes `value`, the rest stays; a copy. Throws Failure(usage) where `value`
// is above 0: clamping could not bring the zeros back. 0 negates nothing.
at::Tensor negated_zeros(at::Tensor const& expression, double value = scrdit_negated_zero);

// Expression of sampled cells: what is below 0, negated zeros and what lies between, becomes 0.
at::Tensor clamped_at_zero(at::Tensor const& samples);

}  // namespace retort
