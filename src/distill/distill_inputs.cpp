#include "retort/distill/distill_inputs.hpp"

#include <algorithm>
#include <cmath>

#include "retort/cells/feature_file.hpp"
#include "retort/cells/feature_rows.hpp"
#include "retort/distill/variant.hpp"

namespace retort {

DistillInputs::DistillInputs(Session const& session, DistillOptions const& options)
    : atlas_file(session.input(options.atlas, "atlas.h5ad")),
      features_file(session.input(options.features, "features.h5ad")),
      foundation_folder(session.input(options.foundation, "foundation")),
      generator_folder(session.input(options.generator, "generator")),
      needs_denoiser(std::any_of(options.variants.begin(), options.variants.end(),
                                 [](auto const& name) { return variant_kind(name).needs_denoiser; })) {}

std::vector<std::filesystem::path> DistillInputs::files() const {
  std::vector<std::filesystem::path> files{atlas_file, features_file, foundation_folder / "config.json"};
  if (needs_denoiser) files.push_back(generator_folder / "config.json");
  return files;
}

void DistillInputs::open(Session const& session, DistillOptions const& options, HeadOptions const& head,
                         ShardPlan const& plan) {
  atlas = std::make_unique<Atlas>(atlas_file);
  labels = atlas->labels(options.label);
  fit_rows = fit_rows_by_class(labels, atlas->parts());
  foundation = std::make_unique<Foundation>(Foundation::load(foundation_folder));
  foundation->freeze();
  reader = std::make_unique<AlignedReader>(*atlas, foundation->gene_names());
  std::string const encoder = foundation->weights_hash();
  auto const first = read_features(features_file, {0, 1});
  require_features_of(*atlas, features_file, first);
  if (first.encoder != encoder)
    fail(ExitCode::bad_input,
         "'{}' was made by encoder {}, '{}' is {} (features and networks must belong together). Run retort-embed again",
         features_file.string(), first.encoder, foundation_folder.string(), encoder);
  if (needs_denoiser) {
    denoiser = std::make_unique<Scdg>(Scdg::load(generator_folder));
    if (denoiser->encoder() != encoder || denoiser->atlas() != atlas->identity() ||
        denoiser->class_names() != labels.names)
      fail(ExitCode::bad_input,
           "'{}' was trained on other features, cells or classes than '{}' has. Run retort-train-diffusion again",
           generator_folder.string(), features_file.string());
  }
  feature_scale = scale_of_features(first.width, head);
  if (session.dry_run) return;
  real = std::make_unique<RealFeatures>([&](auto rows) { return read_feature_rows(features_file, rows); }, first.width,
                                        fit_rows, plan, feature_scale);
  held_out = std::make_unique<HeldOut>(features_file, labels, atlas->parts());
}

}  // namespace retort
