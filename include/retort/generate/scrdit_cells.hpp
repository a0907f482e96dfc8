// Cells from scRDiT: noise to log-normalised expression by DDPM or DDIM (methods 2.2).
#pragma once

#include <filesystem>
#include <string>

#include "retort/generate/cell_source.hpp"
#include "retort/generate/diffusion_samplers.hpp"
#include "retort/generate/scrdit_generator.hpp"

namespace retort {

enum class NoiseSampler { ddim, ddpm };
// Throws Failure(usage) for another name.
NoiseSampler noise_sampler_of(std::string const& name);

struct ScrditDrawing {
  std::int64_t cells = 0;  // 0: as many as the atlas's test part has of the classes that it was trained on
  NoiseSampler sampler = NoiseSampler::ddim;
  DdimSettings ddim;
};

class ScrditCells : public CellSource {
 public:
  // The atlas is read where `drawing.cells` is 0, and must have the generator's genes. Not collective. Throws
  // Failure(missing_input, bad_input, usage).
  ScrditCells(std::filesystem::path const& generator, std::filesystem::path const& atlas, ScrditDrawing const& drawing);

  std::int64_t cells() const override { return drawing_.cells; }
  std::vector<std::string> const& gene_names() const override { return generator_.gene_names; }
  std::string values() const override { return "log_normalised"; }
  // What is below 0 is 0.
  // Few: a block lasts as long as all its calls of the network, up to 999, and no checkpoint lies within one.
  std::int64_t rows_of_a_block() const override { return 4; }
  DrawnCells draw(GeneratedRows const& rows, std::uint64_t seed, std::function<bool()> const& goes_on) const override;
  // The class where it was trained on one alone.
  std::vector<CellSet::Column> columns() const override;
  nlohmann::json facts() const override;

 private:
  ScrditDrawing drawing_;
  ScrditGenerator generator_;
  NoiseSchedule schedule_ = scrdit_schedule();
};

}  // namespace retort
