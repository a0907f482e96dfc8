// Makes any row a cell: not negative, and log-normalised to 1e4.
#pragma once

#include <ATen/core/Tensor.h>

namespace retort {

// log1p(expm1(s) * 1e4 / sum(expm1(s))) with s = max(x, 0), row by row; [n, genes] -> [n, genes], differentiable, with
// a hand-written gradient. It is part of every generator, so that what is optimised is what is exported. `at_zero` is
// the derivative of max(x, 0) at 0: 0 for a network's output; 1 where x itself is optimised and kept >= 0, because a
// gene that starts at zero could not rise otherwise. A row without a positive value stays zero.
at::Tensor rescale_to_cell(at::Tensor const& x, double at_zero = 0);

}  // namespace retort
