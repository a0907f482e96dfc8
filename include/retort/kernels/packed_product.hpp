// Products of a few rows with a matrix that is used many times.
#pragma once

#include <ATen/core/Tensor.h>

namespace retort {

// Rearranges a float32 matrix [in, out], any strides, on the CPU: [ceil(out / 64)][in][64], padded with zeros. A
// general product does so in every call, which at a few rows costs more than the product: packed once it is three times
// as fast as at::mm at 11 rows and twice at 60 (1,024 x 1,024, one thread, AVX-512).
at::Tensor pack_matrix(at::Tensor const& matrix);

// result [n, out] = input [n, in] @ matrix + bias [out]. The last dimension of input and result lies together. Every
// element is one sum in the order of the inputs, so the bits of a row do not depend on the other rows.
void multiply_packed_out(at::Tensor const& result, at::Tensor const& input, at::Tensor const& packed,
                         at::Tensor const& bias);
at::Tensor multiply_packed(at::Tensor const& input, at::Tensor const& packed, at::Tensor const& bias);

}  // namespace retort
