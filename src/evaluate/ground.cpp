#include "retort/evaluate/ground.hpp"

#include <ATen/ATen.h>

#include "retort/cells/feature_file.hpp"
#include "retort/run/error.hpp"

namespace retort {
namespace {

LabelledFeatures select(Ground const& ground, std::vector<std::int64_t> const& rows) {
  auto const codes = at::tensor(ground.labels.codes, at::kInt).to(at::kLong);
  auto const chosen = at::tensor(rows, at::kLong);
  return {ground.features.index_select(0, chosen), codes.index_select(0, chosen)};
}

}  // namespace

Ground open_ground(std::filesystem::path const& atlas, std::filesystem::path const& features, std::filesystem::path const& foundation, std::string const& label) {
  Ground ground;
  ground.atlas = std::make_unique<Atlas>(atlas);
  ground.labels = ground.atlas->labels(label);
  ground.foundation = std::make_unique<Foundation>(Foundation::load(foundation));
  ground.reader = std::make_unique<AlignedReader>(*ground.atlas, ground.foundation->gene_names());
  auto all = read_features(features);
  require_features_of(*ground.atlas, features, all);
  if (all.encoder != ground.foundation->weights_hash()) fail(ExitCode::bad_input, "'{}' was made by encoder {}, but '{}' is {}. Run retort-embed again", features.string(), all.encoder, foundation.string(), ground.foundation->weights_hash());
  ground.features = at::tensor(all.values, at::kFloat).view({all.rows, all.width});
  ground.train.resize(static_cast<std::size_t>(ground.labels.classes()));
  std::vector<std::int64_t> train, held_out, test;
  for (std::int64_t row = 0; row < all.rows; ++row) {
    auto const part = ground.atlas->parts()[static_cast<std::size_t>(row)];
    if (part == Part::test) {
      test.push_back(row);
      continue;
    }
    train.push_back(row);
    ground.train[static_cast<std::size_t>(ground.labels.codes[static_cast<std::size_t>(row)])].push_back(row);
    if (part == Part::held_out) held_out.push_back(row);
  }
  if (test.empty()) fail(ExitCode::bad_input, "'{}' has no test cells (every class has one cell, or ingest.test is 0). Ingest it with a test part", atlas.string());
  ground.fit_cells = static_cast<std::int64_t>(train.size() - held_out.size());
  ground.all_train = select(ground, train);
  ground.held_out = select(ground, held_out);
  ground.test = select(ground, test);
  ground.test_rows = std::move(test);
  return ground;
}

}  // namespace retort
