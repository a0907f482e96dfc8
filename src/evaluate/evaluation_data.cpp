#include "retort/evaluate/evaluation_data.hpp"

#include <ATen/ATen.h>

#include "retort/cells/feature_file.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

LabelledFeatures select(EvaluationData const& data, std::vector<std::int64_t> const& rows) {
  auto const codes = at::tensor(data.labels.codes, at::kInt).to(at::kLong);
  auto const chosen = at::tensor(rows, at::kLong);
  return {data.features.index_select(0, chosen), codes.index_select(0, chosen)};
}

}  // namespace

EvaluationData open_evaluation_data(std::filesystem::path const& atlas, std::filesystem::path const& features,
                                    std::filesystem::path const& foundation, std::string const& label) {
  EvaluationData data;
  data.atlas = std::make_unique<Atlas>(atlas);
  data.labels = data.atlas->labels(label);
  data.foundation = std::make_unique<Foundation>(Foundation::load(foundation));
  data.reader = std::make_unique<AlignedReader>(*data.atlas, data.foundation->gene_names());
  auto all = read_features(features);
  require_features_of(*data.atlas, features, all);
  if (all.encoder != data.foundation->weights_hash())
    fail(ExitCode::bad_input, "'{}' was made by encoder {}, but '{}' is {}. Run retort-embed again", features.string(),
         all.encoder, foundation.string(), data.foundation->weights_hash());
  data.features = at::tensor(all.values, at::kFloat).view({all.rows, all.width});
  data.train.resize(index(data.labels.classes()));
  std::vector<std::int64_t> train, held_out, test;
  for (std::int64_t row = 0; row < all.rows; ++row) {
    auto const part = data.atlas->parts()[index(row)];
    if (part == Part::test) {
      test.push_back(row);
      continue;
    }
    train.push_back(row);
    data.train[index(data.labels.codes[index(row)])].push_back(row);
    if (part == Part::held_out) held_out.push_back(row);
  }
  if (test.empty())
    fail(ExitCode::bad_input,
         "'{}' has no test cells (every class has one cell, or ingest.test_fraction is 0). Ingest it with a larger one",
         atlas.string());
  data.fit_cells = static_cast<std::int64_t>(train.size() - held_out.size());
  data.all_train = select(data, train);
  data.held_out = select(data, held_out);
  data.test = select(data, test);
  data.test_rows = std::move(test);
  return data;
}

}  // namespace retort
