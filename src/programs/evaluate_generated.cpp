// retort-evaluate-generated: generated cells beside real test cells, and the autoencoder's reconstruction of them.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "retort/cells/batch_stream.hpp"
#include "retort/cells/libraries.hpp"
#include "retort/evaluate/generated_cells.hpp"
#include "retort/ranks/session.hpp"
#include "retort/run/random.hpp"

using namespace retort;

namespace {

// Section [evaluate_generated].
struct EvaluateGeneratedOptions {
  std::string atlas, vae, label;
  std::vector<std::string> generated;
  std::int64_t most_cells = 2000;
  FeatureSpaceOptions features;
};

void add_options(OptionTable& table, EvaluateGeneratedOptions& options) {
  table.add("evaluate_generated.atlas", options.atlas, "atlas h5ad; empty: RUN/atlas.h5ad")
      .add("evaluate_generated.generated", options.generated, "h5ads of generated cells; empty: RUN/generated.h5ad")
      .add("evaluate_generated.vae", options.vae, "folder of the autoencoder whose reconstruction is scored; empty: RUN/vae, where there is one")
      .add("evaluate_generated.label", options.label, "label column whose classes are compared; empty: the first that ingest was told")
      .add("evaluate_generated.most_cells", options.most_cells, "cells at most of each side in one comparison (exact transport takes their cube)")
      .add("evaluate_generated.genes", options.features.variable.count, "variable genes that span the space of comparison")
      .add("evaluate_generated.components", options.features.components, "its principal components");
}

// Real cells of other parts in the place of generated ones, as many of each class: the floor to read the others against.
KindsOfCells floor_of(Atlas const& atlas, Labels const& labels, KindsOfCells const& real, std::uint64_t seed) {
  std::vector<std::vector<std::int64_t>> train(labels.names.size());
  for (std::size_t row = 0; row < labels.codes.size(); ++row)
    if (atlas.parts()[row] != Part::test) train[static_cast<std::size_t>(labels.codes[row])].push_back(static_cast<std::int64_t>(row));
  KindsOfCells floor;
  std::vector<std::int64_t> rows;
  for (std::size_t c = 0; c < train.size(); ++c) {
    Random(seed, purpose::distances, c).shuffle(train[c]);
    auto const wanted = static_cast<std::size_t>(std::count(real.classes.begin(), real.classes.end(), static_cast<std::int32_t>(c)));
    for (std::size_t i = 0; i < std::min(wanted, train[c].size()); ++i) rows.push_back(train[c][i]), floor.classes.push_back(static_cast<std::int32_t>(c));
  }
  floor.counts = atlas.read(rows);
  return floor;
}

void evaluate(Session& session, EvaluateGeneratedOptions const& options) {
  auto const atlas_file = session.input(options.atlas, "atlas.h5ad");
  auto const vae_folder = session.input(options.vae, "vae");
  std::vector<std::filesystem::path> files(options.generated.begin(), options.generated.end());
  if (files.empty()) files.push_back(session.input("", "generated.h5ad"));
  bool const has_vae = !options.vae.empty() || std::filesystem::exists(vae_folder);
  session.ranks.together([&] {
    if (options.most_cells < 2) fail(ExitCode::usage, "evaluate_generated.most_cells is {} (it must be at least 2)", options.most_cells);
    require_input(atlas_file, "atlas");
    for (auto const& file : files) require_input(file, "generated cells");
    if (has_vae) require_input(vae_folder, "autoencoder");
  });
  auto inputs = files;
  inputs.push_back(atlas_file);
  if (has_vae) inputs.push_back(vae_folder);
  if (session.is_done(inputs)) return;

  // Real test cells, and the space that is fitted on them.
  auto const seed = static_cast<std::uint64_t>(session.run.seed);
  std::optional<Atlas> atlas;
  Labels labels;
  std::vector<std::int64_t> test;
  KindsOfCells real;
  std::optional<FeatureSpace> space;
  session.ranks.together([&] {
    atlas.emplace(atlas_file);
    if (!atlas->holds_counts()) fail(ExitCode::bad_input, "'{}' holds log values (generated cells are counts) Ingest a file with counts", atlas_file.string());
    labels = atlas->labels(options.label);
    test = rows_of_part(*atlas, Part::test);
    if (test.size() < 2) fail(ExitCode::bad_input, "'{}' has {} test cells (nothing to compare with) Ingest with a larger ingest.test_share", atlas_file.string(), test.size());
  });
  if (session.dry_run) {
    if (session.ranks.is_root()) std::printf("atlas            %s\ntest cells       %s of %s\nsets             %zu\n", atlas_file.c_str(), with_commas(std::ssize(test)).c_str(), with_commas(atlas->cells()).c_str(), files.size());
    return;
  }
  session.ranks.together([&] {
    real.counts = atlas->read(test);
    for (auto const row : test) real.classes.push_back(labels.codes[static_cast<std::size_t>(row)]);
    space.emplace(FeatureSpace::fit(real.counts, options.features));
  });

  // Each set beside them, the floor first.
  auto rows = nlohmann::json::array();
  auto progress = session.progress("evaluate-generated", std::ssize(files) + 1, "sets");
  auto const add = [&](std::string const& name, KindsOfCells const& cells) {
    auto row = json_of(score_generated(session.ranks, *space, real, cells, labels.classes(), options.most_cells));
    row["set"] = name;
    row["cells"] = cells.counts.rows();
    rows.push_back(std::move(row));
    progress.update(std::ssize(rows));
  };
  KindsOfCells cells;
  session.ranks.together([&] { cells = floor_of(*atlas, labels, real, seed); });
  add("train cells", cells);
  for (auto const& file : files) {
    session.ranks.together([&] { cells = read_generated(file, *atlas, labels); });
    add(file.stem().string(), cells);
  }
  progress.finish();

  nlohmann::json results{{"rows", rows}, {"classes", labels.names}, {"label", labels.column}, {"test_cells", test.size()}, {"genes", space->variable().genes.size()}, {"components", space->components()},
                         {"real", {{"zeros", 1 - static_cast<double>(real.counts.nonzeros()) / static_cast<double>(real.counts.rows() * real.counts.genes)}, {"library", mean_library(real.counts)}}}};
  if (has_vae) {
    std::unique_ptr<CellVae> vae;
    session.ranks.together([&] {
      vae = load_vae(vae_folder);
      if (vae->origin.gene_names != atlas->gene_names()) fail(ExitCode::bad_input, "'{}' has other genes than '{}'. Train it on this atlas", vae_folder.string(), atlas_file.string());
    });
    auto const scores = score_reconstruction(session.ranks, *vae, *atlas, test, seed);
    results["reconstruction"] = {{"re", scores.error}, {"pcc", scores.correlation}, {"mse", scores.squared_error}};
  }
  auto const output = session.product("", "generation.json");
  session.ranks.together([&] {
    if (session.ranks.is_root()) write_text(output, json_text(results, 2) + "\n");
  });
  if (session.ranks.is_root()) {
    std::printf("%-28s %8s %8s %8s %8s %8s %8s %8s %8s %10s\n", "set", "W2", "MMD2", "FD", "1-NN", "prec", "recall", "zeros", "zero gap", "library");
    for (auto const& row : results["rows"]) {
      std::printf("%-28s", row["set"].get<std::string>().c_str());
      for (char const* key : {"w2", "mmd2", "frechet", "neighbour_accuracy", "precision", "recall", "zeros", "zero_gap"}) std::printf(" %8.3f", row[key].is_number() ? row[key].get<double>() : std::nan(""));
      std::printf(" %10.1f\n", row["library"].get<double>());
    }
    std::printf("real test cells: %.3f zeros, library %.1f\n", results["real"]["zeros"].get<double>(), results["real"]["library"].get<double>());
    if (has_vae) std::printf("reconstruction of test cells: RE %.2f, PCC %.4f, MSE %.4f\n", results["reconstruction"]["re"].get<double>(), results["reconstruction"]["pcc"].get<double>(), results["reconstruction"]["mse"].get<double>());
  }
  session.set_done({output});
}

}  // namespace

int main(int argc, char** argv) {
  EvaluateGeneratedOptions options;
  OptionTable table("retort-evaluate-generated", "compares generated cells with real test cells, and scores an autoencoder's reconstruction");
  add_options(table, options);
  return run_program(argc, argv, table, [&](Session& session) { evaluate(session, options); });
}
