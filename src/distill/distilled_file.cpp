#include "retort/distill/distilled_file.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "retort/files/h5ad_writer.hpp"

namespace retort {

std::string set_name(Recipe const& recipe, std::int64_t draw) {
  return fmt::format("{}-{}-spc{}-draw{}", recipe.variant, recipe.matching.name, recipe.spc, draw);
}

void write_set(DistillInputs const& in, Recipe const& recipe, std::int64_t draw, Candidate const& best, double by_genes,
               at::Tensor const& cells, at::Tensor const& codes, DistillOptions const& options, std::int64_t seed,
               std::filesystem::path const& file) {
  CellSet set;
  set.cells = cells.size(0);
  set.genes = cells.size(1);
  set.x.assign(cells.const_data_ptr<float>(), cells.const_data_ptr<float>() + cells.numel());
  set.gene_names = in.foundation->gene_names();
  CellSet::Column label{in.labels.column, in.labels.names, {}};
  for (std::int64_t row = 0; row < set.cells; ++row) label.codes.push_back(static_cast<std::int32_t>(row / recipe.spc));
  set.columns.push_back(std::move(label));
  if (codes.size(1) == in.foundation->shape().latent)
    set.obsm.push_back(
        {"X_latent", codes.size(1), {codes.const_data_ptr<float>(), codes.const_data_ptr<float>() + codes.numel()}});
  nlohmann::json const made{{"program", "retort-distill"},
                            {"variant", recipe.variant},
                            {"matching", recipe.matching.name},
                            {"spc", recipe.spc},
                            {"draw", draw},
                            {"seed", seed},
                            {"initial_cells", recipe.matching.is_none() ? 1 : initial_cells_of(options, recipe.spc)},
                            {"grow", options.grow},
                            {"optimiser", options.optimiser},
                            {"rate", best.rate},
                            {"iterations", best.iterations},
                            {"metric", options.metric},
                            {"heads", options.heads},
                            {"encoder_state", options.encoder},
                            {"outer_steps", inner_loop(options, recipe.spc).outer_steps},
                            {"inner_epochs", inner_loop(options, recipe.spc).inner_epochs},
                            {"head_steps", options.head_steps},
                            {"loss", best.loss},
                            {"held_out_accuracy", best.accuracy},
                            {"held_out_genes_accuracy", by_genes},
                            {"held_out_cells", in.held_out->cells()},
                            {"atlas", in.atlas->identity()},
                            {"vocabulary", in.atlas->vocabulary_hash()},
                            {"encoder", in.foundation->weights_hash()},
                            {"label", in.labels.column}};
  write_cell_set(file, set, {{"retort", made}});
}

std::optional<at::Tensor> smaller_set_centres(DistillInputs const& in, std::filesystem::path const& folder,
                                              Recipe const& recipe, std::int64_t draw, DistillOptions const& options) {
  Recipe smaller = recipe;
  smaller.spc = 0;
  for (std::int64_t const spc : options.spc) {
    if (spc == recipe.spc) break;  // sets are made in the order of options.spc
    if (spc < recipe.spc) smaller.spc = std::max(smaller.spc, spc);
  }
  if (!options.grow || smaller.spc == 0 || recipe.matching.is_none()) return std::nullopt;
  CellSet const set = read_cell_set(folder / (set_name(smaller, draw) + ".h5ad"));
  auto const latent =
      std::find_if(set.obsm.begin(), set.obsm.end(), [](auto const& one) { return one.name == "X_latent"; });
  auto const& values = latent != set.obsm.end() ? latent->values : set.x;
  return at::tensor(values, at::kFloat).view({in.labels.classes(), smaller.spc, -1}).mean(1);
}

}  // namespace retort
