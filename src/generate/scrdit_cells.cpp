#include "retort/generate/scrdit_cells.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "retort/generate/conditions.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

std::int64_t test_cells(Atlas const& atlas, ScrditGenerator const& generator, std::filesystem::path const& folder) {
  std::unordered_set<std::string> const known(atlas.gene_names().begin(), atlas.gene_names().end());
  for (auto const& name : generator.gene_names)
    if (!known.contains(name))
      fail(ExitCode::bad_input,
           "'{}' draws gene '{}', which '{}' does not have. Train it on this atlas, or set generate.cells",
           folder.string(), name, atlas.file().string());
  if (generator.classes.empty()) return std::count(atlas.parts().begin(), atlas.parts().end(), Part::test);
  auto const labels = conditions_of(atlas, {generator.label});
  std::int64_t cells = 0;
  for (std::size_t row = 0; row < atlas.parts().size(); ++row)
    cells += atlas.parts()[row] == Part::test &&
             std::find(generator.classes.begin(), generator.classes.end(),
                       labels.conditions.name(labels.combination[row])) != generator.classes.end();
  return cells;
}

}  // namespace

NoiseSampler noise_sampler_of(std::string const& name) {
  if (name == "ddim") return NoiseSampler::ddim;
  if (name == "ddpm") return NoiseSampler::ddpm;
  fail(ExitCode::usage, "generate.solver is '{}' (of scRDiT it is ddim or ddpm)", name);
}

ScrditCells::ScrditCells(std::filesystem::path const& generator, std::filesystem::path const& atlas,
                         ScrditDrawing const& drawing)
    : drawing_(drawing), generator_(ScrditGenerator::load(generator)) {
  if (drawing_.cells == 0) drawing_.cells = test_cells(Atlas(atlas), generator_, generator);
  if (drawing_.cells == 0)
    fail(ExitCode::usage,
         "there is no cell to draw (the test part has none of what '{}' was trained on). Set generate.cells",
         generator.string());
}

DrawnCells ScrditCells::draw(GeneratedRows const& rows, std::uint64_t seed,
                             std::function<bool()> const& goes_on) const {
  DrawnCells drawn;
  auto const predict = [&](at::Tensor const& x, at::Tensor const& index) {
    if (!goes_on()) throw DrawingGivenUp();
    ++drawn.calls;
    return generator_.network.predict(x, index);
  };
  at::Tensor const samples = drawing_.sampler == NoiseSampler::ddpm
                                 ? sample_ddpm(predict, schedule_, rows, generator_.genes(), seed)
                                 : sample_ddim(predict, schedule_, drawing_.ddim, rows, generator_.genes(), seed);
  if (!samples.isfinite().all().item<bool>())
    fail(ExitCode::failed, "cells {} to {} are no finite numbers (the network's predictions exploded). Train it longer",
         rows.first, rows.first + rows.count - 1);
  drawn.x = generator_.values.expression(samples).contiguous();
  return drawn;
}

std::vector<CellSet::Column> ScrditCells::columns() const {
  if (generator_.classes.size() != 1) return {};
  return {{generator_.label, generator_.classes, std::vector<std::int32_t>(index(drawing_.cells), 0)}};
}

nlohmann::json ScrditCells::facts() const {
  nlohmann::json facts{{"model", "scrdit"},
                       {"network", generator_.network_name()},
                       {"zero_value", generator_.values.zero_value},
                       {"atlas", generator_.atlas}};
  if (drawing_.sampler == NoiseSampler::ddim)
    facts.update({{"stride", drawing_.ddim.stride}, {"eta", drawing_.ddim.eta}});
  if (!generator_.classes.empty()) facts.update({{"label", generator_.label}, {"classes", generator_.classes}});
  return facts;
}

}  // namespace retort
