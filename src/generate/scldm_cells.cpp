#include "retort/generate/scldm_cells.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "retort/generate/count_sampling.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

// Test cells of each of the generator's combinations.
std::vector<std::int64_t> test_cells(ScldmGenerator const& generator, std::filesystem::path const& folder,
                                     Atlas const& atlas) {
  if (generator.atlas != atlas.identity())
    fail(ExitCode::bad_input,
         "'{}' was not trained on '{}' (how many cells to draw is told by its test part). Name its atlas by "
         "generate.atlas, or set generate.cells",
         folder.string(), atlas.file().string());
  std::vector<std::int64_t> counts(index(generator.conditions.combinations()));
  auto const [conditions, combination] = conditions_of(atlas, generator.conditions.column_names());
  if (conditions.columns() != generator.conditions.columns())
    fail(ExitCode::bad_input,
         "'{}' was trained on other classes than '{}' has in {} (its labels were changed since). Train it again, or "
         "set generate.cells",
         folder.string(), atlas.file().string(), fmt::join(generator.conditions.column_names(), ", "));
  for (std::size_t row = 0; row < combination.size(); ++row)
    counts[index(combination[row])] += atlas.parts()[row] == Part::test;
  return counts;
}

// The combination of each cell to draw, kinds one after the other; `counts` of each.
std::vector<std::int64_t> kinds_to_draw(ScldmDrawing const& drawing, ScldmGenerator const& generator,
                                        std::vector<std::int64_t> const& counts) {
  auto const& conditions = generator.conditions;
  auto const known = generator.known();
  std::vector<bool> wanted(counts.size(), drawing.only.empty());
  for (auto const& name : drawing.only) wanted[index(conditions.of_name(name))] = true;
  for (auto const combination : generator.unseen) {
    auto const place = index(combination);
    if (!wanted[place] || counts[place] == 0 || known[place]) continue;
    bool const is_asked_for = drawing.cells == 0 || !drawing.only.empty(),
               may_be_summed = generator.conditioning == Conditioning::joint && conditions.columns().size() > 1;
    if (is_asked_for)
      fail(ExitCode::usage, "'{}' is not among what the generator was trained on ({}). Name others by generate.only{}",
           conditions.name(combination),
           may_be_summed ? "joint conditioning knows whole combinations alone" : "none of its cells had that class",
           may_be_summed ? ", or train with diffusion.conditioning=summed or additive" : "");
    wanted[place] = false;
  }
  std::vector<std::int64_t> kinds;
  for (std::size_t combination = 0; combination < counts.size(); ++combination)
    if (wanted[combination])
      kinds.insert(kinds.end(), index(counts[combination]), static_cast<std::int64_t>(combination));
  if (kinds.empty())
    fail(ExitCode::usage, "there is no cell to draw (the test part has none of generate.only). Set generate.cells");
  return kinds;
}

}  // namespace

ScldmCells::ScldmCells(std::filesystem::path const& generator, std::filesystem::path const& vae,
                       std::filesystem::path const& atlas, ScldmDrawing drawing)
    : drawing_(std::move(drawing)), vae_(load_vae(vae)), generator_(ScldmGenerator::load(generator)) {
  if (generator_.encoder != vae_->parameters().hash())
    fail(ExitCode::bad_input,
         "'{}' was trained on latents of another autoencoder than '{}'. Run retort-train-diffusion again",
         generator.string(), vae.string());
  auto const& shape = generator_.network->shape();
  if (shape.tokens * shape.latent != vae_->width())
    fail(ExitCode::bad_input, "'{}' makes {} latents per cell, and '{}' reads {}", generator.string(),
         shape.tokens * shape.latent, vae.string(), vae_->width());
  kinds_ = kinds_to_draw(drawing_, generator_,
                         drawing_.cells ? std::vector(index(generator_.conditions.combinations()), drawing_.cells)
                                        : test_cells(generator_, generator, Atlas(atlas)));
  auto const attributes = shape.attributes.size();
  auto& weights = drawing_.weights;
  if (weights.empty()) weights.assign(attributes, 1);
  if (weights.size() == 1) weights.assign(attributes, weights.front());
  if (weights.size() != attributes)
    fail(ExitCode::usage, "generate.weight has {} numbers ({} conditioning of {} columns takes {})", weights.size(),
         name_of(generator_.conditioning), generator_.conditions.columns().size(), attributes);
  if (asks_for_unlabelled(weights, guidance()) && generator_.unlabelled == 0)
    fail(ExitCode::usage,
         "'{}' cannot be guided (it never saw a cell without labels: diffusion.unlabelled was 0). Train it again, or "
         "leave generate.weight at 1",
         generator.string());
  c10::InferenceMode const no_graph;
  counts_ = vae_->decode(at::zeros({1, vae_->width()})).log_theta.defined();
}

DrawnCells ScldmCells::draw(GeneratedRows const& rows, std::uint64_t seed, std::function<bool()> const& goes_on) const {
  auto const& shape = generator_.network->shape();
  auto const& weights = drawing_.weights;
  bool const unlabelled = std::all_of(weights.begin(), weights.end(), [](double weight) { return weight == 0; });
  std::vector<std::int64_t> labels;
  std::vector<double> libraries;
  for (auto row = rows.first; row < rows.first + rows.count; ++row) {
    auto const kind = kinds_[index(row)];
    auto const of_cell = generator_.conditions.labels(kind, generator_.conditioning);
    labels.insert(labels.end(), of_cell.begin(), of_cell.end());
    libraries.push_back(generator_.sizes.draw(unlabelled ? -1 : kind, seed, row));
  }
  auto const noise = row_noise(seed, rows, vae_->width(), 0).view({rows.count, shape.tokens, shape.latent});
  auto const velocity =
      guided(*generator_.network, at::tensor(labels, at::kLong).view({rows.count, -1}), weights, guidance());
  auto const drawn =
      flow([&](at::Tensor const& z, double t) { return goes_on() ? velocity(z, t) : throw DrawingGivenUp(); }, noise,
           drawing_.flow);
  auto const latents = drawn.state.reshape({rows.count, vae_->width()}).contiguous();
  auto const prediction = vae_->decode(latents);
  return {(counts_ ? sample_counts(prediction, libraries, seed, rows.first)
                   : sample_expression(prediction, seed, rows.first))
              .contiguous(),
          latents, drawn.calls};
}

std::vector<CellSet::Column> ScldmCells::columns() const {
  std::vector<CellSet::Column> columns;
  for (auto const& [name, classes] : generator_.conditions.columns()) {
    CellSet::Column column{name, classes, {}};
    for (auto const kind : kinds_)
      column.codes.push_back(static_cast<std::int32_t>(generator_.conditions.classes(kind)[columns.size()]));
    columns.push_back(std::move(column));
  }
  return columns;
}

nlohmann::json ScldmCells::facts() const {
  return {{"model", "scldm"},
          {"columns", generator_.conditions.column_names()},
          {"weight", drawing_.weights},
          {"guidance", guidance() == Guidance::additive ? "additive" : "joint"},
          {"steps", drawing_.flow.steps},
          {"conditioning", name_of(generator_.conditioning)},
          {"atlas", generator_.atlas},
          {"encoder", generator_.encoder}};
}

}  // namespace retort
