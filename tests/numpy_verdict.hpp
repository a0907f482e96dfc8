// Hands arrays to Python and asks for its verdict.
#pragma once

#include <ATen/ATen.h>

#include "shared_folder.hpp"

namespace retort {

// A .npy file of float64, C order (NumPy's format 1.0).
inline void write_numpy(std::filesystem::path const& file, at::Tensor const& array) {
  at::Tensor const values = array.to(at::kDouble).contiguous();
  std::string header =
      fmt::format("{{'descr': '<f8', 'fortran_order': False, 'shape': ({},), }}", fmt::join(values.sizes(), ", "));
  header.append(63 - (10 + header.size()) % 64, ' ').append("\n");
  std::ofstream stream(file, std::ios::binary);
  stream.write("\x93NUMPY\x01\x00", 8)
      .put(static_cast<char>(header.size() % 256))
      .put(static_cast<char>(header.size() / 256));
  stream << header;
  stream.write(static_cast<char const*>(values.const_data_ptr()), static_cast<std::streamsize>(values.nbytes()));
}

inline at::Tensor number(double value) { return at::full({1}, value, at::kDouble); }

// Whether `script` ends well; `c` is the dictionary of the arrays (a single number is a float), near(a, b, rtol)
// asserts.
inline bool numpy_agrees(std::string const& name, std::map<std::string, at::Tensor> const& arrays,
                         std::string const& script) {
  Communicator const alone = Communicator::serial();
  SharedFolder const folder(alone, name);
  for (auto const& [key, array] : arrays) write_numpy(folder / (key + ".npy"), array);
  return python_agrees(folder.path, R"py(
import pathlib, numpy as np
c = {f.stem: np.load(f) for f in pathlib.Path('.').glob('*.npy')}
c = {k: float(v[0]) if v.shape == (1,) else v for k, v in c.items()}
def near(a, b, rtol=1e-9, atol=1e-12): np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)
)py" + script);
}

}  // namespace retort
