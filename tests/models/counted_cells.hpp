// Cells of counts for tests of autoencoders, and folders of them that somebody broke.
#pragma once

#include <ATen/ATen.h>

#include <nlohmann/json.hpp>

#include "../shared_folder.hpp"
#include "retort/cells/csr_block.hpp"
#include "retort/models/cell_vae.hpp"
#include "retort/run/index.hpp"
#include "retort/run/random.hpp"

namespace retort {

constexpr std::int64_t genes = 37;

// Cells with counts of about a third of the genes; the last has none but one.
inline CsrBlock some_cells(std::int64_t cells, std::uint64_t key = 1) {
  Random random(5, purpose::simulate, key);
  CsrBlock block;
  block.genes = genes;
  for (std::int64_t c = 0; c < cells; ++c) {
    for (std::int64_t g = 0; g < genes; ++g)
      if (c + 1 == cells ? g == 3 : random.uniform() < 0.3 || g == c)
        block.indices.push_back(static_cast<std::int32_t>(g)),
            block.values.push_back(static_cast<float>(1 + random.below(20)));
    block.indptr.push_back(std::ssize(block.indices));
  }
  return block;
}

inline at::Tensor dense(CsrBlock const& block) {
  at::Tensor x = at::zeros({block.rows(), block.genes});
  for (std::int64_t c = 0; c < block.rows(); ++c)
    for (auto k = block.indptr[index(c)]; k < block.indptr[index(c) + 1]; ++k)
      x.index_put_({at::tensor(c), at::tensor(std::int64_t{block.indices[index(k)]})}, block.values[index(k)]);
  return x;
}

inline VaeOrigin some_origin() {
  VaeOrigin origin{{}, "atlas 1"};
  for (std::int64_t g = 0; g < genes; ++g) origin.gene_names.push_back(fmt::format("gene {}", g));
  return origin;
}

// What loading says of a folder after `change` to its config.json; it is put back afterwards.
inline std::string failure_of_config(std::filesystem::path const& folder,
                                     std::function<void(nlohmann::json&)> const& change) {
  auto const file = folder / "config.json";
  auto const before = bytes_of_file(file);
  auto config = nlohmann::json::parse(before);
  change(config);
  std::ofstream(file) << config;
  auto const text = failure_of(ExitCode::bad_input, [&] { load_vae(folder); });
  std::ofstream(file) << before;
  return text;
}

// Files that are not there, or cut, or no JSON.
inline void expect_broken_files_refused(std::filesystem::path const& folder, std::string const& model) {
  failure_of(ExitCode::missing_input, [&] { load_vae(folder / "nowhere"); });
  for (auto const& name : {std::string("config.json"), model + ".safetensors"}) {
    auto const before = bytes_of_file(folder / name);
    for (auto const size : {std::size_t{0}, std::size_t{30}, before.size() / 2, before.size() - 3}) {
      std::ofstream(folder / name, std::ios::binary) << before.substr(0, size);
      failure_of(ExitCode::bad_input, [&] { load_vae(folder); });
    }
    std::filesystem::remove(folder / name);
    failure_of(ExitCode::missing_input, [&] { load_vae(folder); });
    std::ofstream(folder / name, std::ios::binary) << before;
  }
  for (auto const& text : {"[]", "7", "{\"model\": 7}", "{\"model\": [\"scvi_vae\"]}"}) {
    auto const before = bytes_of_file(folder / "config.json");
    std::ofstream(folder / "config.json") << text;
    failure_of(ExitCode::bad_input, [&] { load_vae(folder); });
    std::ofstream(folder / "config.json") << before;
  }
}

}  // namespace retort
