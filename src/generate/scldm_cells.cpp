#include "retort/generate/scldm_cells.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "retort/generate/count_sampling.hpp"
#include "retort/run/error.hpp"

namespace retort {
namespace {

// The combination of each cell to draw, kinds one after the other.
std::vector<std::int64_t> kinds_to_draw(ScldmDrawing const& drawing, ScldmGenerator const& generator, Atlas const& atlas) {
  auto const& conditions = generator.conditions;
  std::vector<std::string> columns;
  for (auto const& column : conditions.columns()) columns.push_back(column.name);
  auto const conditioned = conditions_of(atlas, columns);
  std::vector<std::int64_t> counts(static_cast<std::size_t>(conditions.combinations()), drawing.cells);
  if (drawing.cells == 0) {
    std::vector<std::int64_t> in_test(static_cast<std::size_t>(conditioned.conditions.combinations()));
    for (std::size_t row = 0; row < conditioned.combination.size(); ++row) in_test[static_cast<std::size_t>(conditioned.combination[row])] += atlas.parts()[row] == Part::test;
    for (std::size_t combination = 0; combination < in_test.size(); ++combination)
      if (in_test[combination]) counts[static_cast<std::size_t>(conditions.of_name(conditioned.conditions.name(static_cast<std::int64_t>(combination))))] = in_test[combination];
  }
  std::vector<bool> wanted(counts.size(), drawing.only.empty());
  for (auto const& name : drawing.only) wanted[static_cast<std::size_t>(conditions.of_name(name))] = true;
  for (auto const combination : generator.unseen) {
    auto const place = static_cast<std::size_t>(combination);
    if (!wanted[place] || counts[place] == 0 || generator.knows(combination)) continue;
    bool const is_asked_for = drawing.cells == 0 || !drawing.only.empty(), may_be_summed = generator.conditioning == Conditioning::joint && conditions.columns().size() > 1;
    if (is_asked_for)
      fail(ExitCode::usage, "'{}' is not among what the generator was trained on ({}). Name others by generate.only{}", conditions.name(combination),
           may_be_summed ? "joint conditioning knows whole combinations alone" : "none of its cells had that class", may_be_summed ? ", or train with diffusion.conditioning=summed or additive" : "");
    wanted[place] = false;
  }
  std::vector<std::int64_t> kinds;
  for (std::size_t combination = 0; combination < counts.size(); ++combination)
    if (wanted[combination]) kinds.insert(kinds.end(), static_cast<std::size_t>(counts[combination]), static_cast<std::int64_t>(combination));
  if (kinds.empty()) fail(ExitCode::usage, "there is no cell to draw (the test part has none of generate.only) Set generate.cells");
  return kinds;
}

// The same genes in the same order: kinds and their numbers are taken from the atlas that the autoencoder knows.
void require_genes_of(std::vector<std::string> const& genes, std::filesystem::path const& vae, Atlas const& atlas) {
  auto const& others = atlas.gene_names();
  auto const place = static_cast<std::size_t>(std::mismatch(genes.begin(), genes.end(), others.begin(), others.end()).first - genes.begin());
  if (place == genes.size() && place == others.size()) return;
  auto const name = [&](std::vector<std::string> const& names) { return place < names.size() ? "'" + names[place] + "'" : "none"; };
  fail(ExitCode::bad_input, "'{}' knows other genes than '{}' ({} and {}; the first that differs is gene {}, {} and {}) Name the atlas that it was trained on by generate.atlas", vae.string(), atlas.file().string(), genes.size(), others.size(), place, name(genes), name(others));
}

}  // namespace

ScldmCells::ScldmCells(std::filesystem::path const& generator, std::filesystem::path const& vae, std::filesystem::path const& atlas, ScldmDrawing drawing)
    : drawing_(std::move(drawing)), vae_(load_vae(vae)), generator_(ScldmGenerator::load(generator)) {
  if (generator_.encoder != vae_->parameters().hash()) fail(ExitCode::bad_input, "'{}' was trained on latents of another autoencoder than '{}'. Run retort-train-diffusion again", generator.string(), vae.string());
  auto const& shape = generator_.network->shape();
  if (shape.tokens * shape.latent != vae_->width()) fail(ExitCode::bad_input, "'{}' makes {} latents a cell, '{}' reads {}", generator.string(), shape.tokens * shape.latent, vae.string(), vae_->width());
  Atlas const opened(atlas);
  require_genes_of(vae_->origin.gene_names, vae, opened);
  if (drawing_.cells == 0 && generator_.atlas != opened.identity()) fail(ExitCode::bad_input, "'{}' was not trained on '{}' (how many cells to draw is told by its test part). Name its atlas by generate.atlas, or set generate.cells", generator.string(), atlas.string());
  kinds_ = kinds_to_draw(drawing_, generator_, opened);
  auto const attributes = shape.attributes.size();
  auto& weights = drawing_.weights;
  if (weights.empty()) weights.assign(attributes, 1);
  if (weights.size() == 1) weights.assign(attributes, weights.front());
  if (weights.size() != attributes) fail(ExitCode::usage, "generate.weight has {} numbers ({} conditioning of {} columns takes {})", weights.size(), name_of(generator_.conditioning), generator_.conditions.columns().size(), attributes);
  bool const asks_for_unlabelled = drawing_.guidance == Guidance::additive || std::ranges::any_of(weights, [](double weight) { return weight != 1; });
  if (asks_for_unlabelled && generator_.unlabelled == 0) fail(ExitCode::usage, "'{}' cannot be guided (it never saw a cell without labels: diffusion.unlabelled was 0). Train it again, or leave generate.weight at 1", generator.string());
  c10::InferenceMode const no_graph;
  counts_ = vae_->decode(at::zeros({1, vae_->width()})).log_theta.defined();
}

DrawnCells ScldmCells::draw(GeneratedRows const& rows, std::uint64_t seed) const {
  auto const& shape = generator_.network->shape();
  auto const& weights = drawing_.weights;
  bool const unlabelled = std::all_of(weights.begin(), weights.end(), [](double weight) { return weight == 0; });
  std::vector<std::int64_t> labels;
  std::vector<double> libraries;
  for (auto row = rows.first; row < rows.first + rows.count; ++row) {
    auto const kind = kinds_[static_cast<std::size_t>(row)];
    auto const of_cell = generator_.conditions.labels(kind, generator_.conditioning);
    labels.insert(labels.end(), of_cell.begin(), of_cell.end());
    libraries.push_back(generator_.sizes.draw(unlabelled ? -1 : kind, seed, row));
  }
  auto const noise = row_noise(seed, rows, vae_->width(), 0).view({rows.count, shape.tokens, shape.latent});
  auto const drawn = flow(guided(*generator_.network, at::tensor(labels, at::kLong).view({rows.count, -1}), weights, drawing_.guidance), noise, drawing_.flow);
  auto const latents = drawn.state.reshape({rows.count, vae_->width()}).contiguous();
  auto const prediction = vae_->decode(latents);
  return {(counts_ ? sample_counts(prediction, libraries, seed, rows.first) : sample_expression(prediction, seed, rows.first, true)).contiguous(), latents, drawn.calls};
}

std::vector<CellSet::Column> ScldmCells::columns() const {
  std::vector<CellSet::Column> columns;
  for (auto const& [name, classes] : generator_.conditions.columns()) {
    CellSet::Column column{name, classes, {}};
    for (auto const kind : kinds_) column.codes.push_back(static_cast<std::int32_t>(generator_.conditions.classes(kind)[columns.size()]));
    columns.push_back(std::move(column));
  }
  return columns;
}

nlohmann::json ScldmCells::facts() const {
  std::vector<std::string> columns;
  for (auto const& column : generator_.conditions.columns()) columns.push_back(column.name);
  return {{"model", "scldm"}, {"columns", columns}, {"weight", drawing_.weights}, {"guidance", drawing_.guidance == Guidance::additive ? "additive" : "joint"}, {"steps", drawing_.flow.steps}, {"conditioning", name_of(generator_.conditioning)}, {"atlas", generator_.atlas}, {"encoder", generator_.encoder}};
}

}  // namespace retort
