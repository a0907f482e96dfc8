// retort-evaluate-generated: generated cells beside real test cells, and what an autoencoder's latents and
// reconstructions keep of them.
#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "retort/cells/feature_file.hpp"
#include "retort/fidelity/embedding_classes.hpp"
#include "retort/fidelity/generated_cells.hpp"
#include "retort/fidelity/generation_baselines.hpp"
#include "retort/fidelity/reconstruction.hpp"
#include "retort/programs/sections.hpp"
#include "retort/ranks/device.hpp"
#include "retort/run/index.hpp"
#include "retort/session/session.hpp"

using namespace retort;

namespace {

// Section [evaluate_generated].
struct EvaluateGeneratedOptions {
  std::string atlas, vae, latents;
  std::vector<std::string> generated, labels, left_out;
  std::int64_t most_cells = 2000, neighbours = 15;
  FeatureSpaceOptions features;
};

void add_options(OptionTable& table, EvaluateGeneratedOptions& options) {
  table.add("evaluate_generated.atlas", options.atlas, "atlas h5ad; empty: RUN/atlas.h5ad")
      .add("evaluate_generated.generated", options.generated,
           "h5ads of generated cells, of counts or of log-normalised expression; empty: RUN/generated.h5ad")
      .add("evaluate_generated.vae", options.vae,
           "folder of the autoencoder whose reconstruction is scored; empty: RUN/vae, where there is one")
      .add("evaluate_generated.latents", options.latents,
           "latents of all cells by it, for the Gaussian prior and the classifiers; empty: RUN/latents.h5ad, where "
           "there is one")
      .add("evaluate_generated.label", options.labels,
           "label columns whose classes, or combinations of classes, are compared; empty: those that the first set was "
           "drawn for, or the first that ingest was told")
      .add("evaluate_generated.left_out", options.left_out,
           "classes or combinations (CLASS/CLASS) that the generators did not see, as diffusion.leave_out; their means "
           "are told apart")
      .add("evaluate_generated.most_cells", options.most_cells,
           "cells at most of each side in one comparison (exact transport takes their cube)")
      .add("evaluate_generated.genes", options.features.variable.count,
           "variable genes that span the space of comparison")
      .add("evaluate_generated.components", options.features.components, "its principal components")
      .add("evaluate_generated.neighbours", options.neighbours, "train cells that vote on a test cell's class");
}

// What there is of real cells and of the autoencoder.
struct Given {
  Atlas atlas;
  Kinds kinds;
  std::vector<std::int64_t> test;
  std::unique_ptr<CellVae> vae;
  std::optional<Features> latents;
};

// The run's own cells may be older than its autoencoder.
void require_decoded_by(CellVae const& vae, std::filesystem::path const& folder, std::filesystem::path const& file) {
  auto const encoder = origin_of(file).encoder;
  if (!encoder.empty() && encoder != vae.parameters().hash())
    fail(ExitCode::bad_input,
         "'{}' was drawn with another autoencoder than '{}'. Run retort-train-diffusion and retort-generate again, or "
         "name the file by evaluate_generated.generated",
         file.string(), folder.string());
}

Given read_given(EvaluateGeneratedOptions const& options, std::filesystem::path const& atlas_file,
                 std::filesystem::path const& vae_folder, std::filesystem::path const& latents_file,
                 std::vector<std::string> const& labels) {
  Given given{.atlas = Atlas(atlas_file), .kinds = {}, .test = {}, .vae = nullptr, .latents = {}};
  auto const& atlas = given.atlas;
  given.kinds = kinds_of(atlas, labels, options.left_out);
  given.test = rows_of_part(atlas, Part::test);
  if (given.test.size() < 2)
    fail(ExitCode::bad_input,
         "'{}' has {} test cells (nothing to compare with). Ingest with a larger ingest.test_fraction",
         atlas_file.string(), given.test.size());
  if (!vae_folder.empty()) {
    given.vae = load_vae(vae_folder);
    if (given.vae->origin.gene_names != atlas.gene_names())
      fail(ExitCode::bad_input, "'{}' has other genes than '{}'. Train it on this atlas", vae_folder.string(),
           atlas_file.string());
  }
  if (!latents_file.empty()) {
    given.latents = read_features(latents_file);
    require_features_of(atlas, latents_file, *given.latents);
    if (given.vae && given.latents->encoder != given.vae->parameters().hash())
      fail(ExitCode::bad_input, "'{}' holds latents of another autoencoder than '{}'. Run retort-train-vae again",
           latents_file.string(), vae_folder.string());
  }
  return given;
}

// The cells that sets on these terms are read against: their set, kind of row, what they are, and, where kinds were
// cut, which stand for all together.
struct Baseline {
  std::string set, kind;
  CellsOfKinds cells;
  std::vector<std::int64_t> in_proportion;
};

std::vector<Baseline> baselines(Session& session, Given const& given, Terms const& terms, std::int64_t most_cells) {
  auto const seed = static_cast<std::uint64_t>(session.run.seed);
  auto kinds = given.kinds;  // no more cells of a kind than take part in a distance
  for (auto& cells : kinds.test_cells) cells = std::min(cells, most_cells);
  bool const are_counts = terms.values == CellValues::counts;
  auto made = session.ranks.together([&] {
    std::vector<Baseline> from_atlas;
    from_atlas.push_back({"train cells", "floor", train_cells(given.atlas, kinds, terms, seed), {}});
    if (!are_counts)
      from_atlas.push_back(
          {"Gaussian of genes", "prior", gaussian_expression_cells(given.atlas, kinds, terms, seed), {}});
    return from_atlas;
  });
  bool const predicts_counts =
      given.vae && given.latents && given.vae->decode(at::zeros({1, given.vae->width()})).log_theta.defined();
  if (are_counts && predicts_counts) {
    auto const libraries = train_libraries(session.ranks, given.atlas, kinds);
    auto const add = [&](std::string const& set, std::string const& kind, LatentBaseline baseline) {
      made.push_back({set,
                      kind,
                      latent_cells(session.ranks, baseline, *given.vae, *given.latents, libraries, given.atlas, kinds,
                                   terms, seed),
                      {}});
    };
    add("latents of train cells", "autoencoder", LatentBaseline::train_cells);
    add("Gaussian of latents", "prior", LatentBaseline::gaussian_of_kind);
    add("N(0, I) latents", "standard prior", LatentBaseline::standard_normal);
  }
  std::erase_if(made, [](Baseline const& one) { return one.cells.kinds.empty(); });
  for (auto& one : made) one.in_proportion = rows_in_proportion(one.cells, given.kinds, terms, most_cells);
  return made;
}

// Classifiers of each label column, trained on the latents of train cells.
nlohmann::json classification(Session& session, Given const& given, std::int64_t neighbours) {
  auto const& latents = *given.latents;
  ShardPlan const plan(session.run.shards, session.ranks.rank(), session.ranks.size());
  auto const features = at::from_blob(const_cast<float*>(latents.values.data()), {latents.rows, latents.width});
  auto const take = [&](Labels const& labels, bool test) {
    std::vector<std::int64_t> rows, codes;
    for (std::size_t row = 0; row < labels.codes.size(); ++row) {
      if ((given.atlas.parts()[row] == Part::test) != test) continue;
      rows.push_back(static_cast<std::int64_t>(row));
      codes.push_back(labels.codes[row]);
    }
    return LabelledFeatures{features.index_select(0, at::tensor(rows, at::kLong)), at::tensor(codes, at::kLong)};
  };
  nlohmann::json of_column;
  for (auto const& column : given.kinds.columns) {
    auto const labels = given.atlas.labels(column);
    auto const train = take(labels, false), test = take(labels, true);
    if (!train.labels.size(0)) continue;
    of_column[column] = {
        {"classes", labels.classes()},
        {"neighbours",
         json_of(score_of_scores(neighbour_votes(session.ranks, train, test.features, labels.classes(), neighbours),
                                 test.labels))},
        {"logistic_regression",
         json_of(score_of_scores(regression_probabilities(session.ranks, plan, train, test.features, labels.classes()),
                                 test.labels))}};
  }
  return of_column;
}

// Runs name their sets alike: then the folder is part of the name.
std::string name_of(std::filesystem::path const& file, std::vector<std::filesystem::path> const& files) {
  auto const same =
      std::count_if(files.begin(), files.end(), [&](auto const& one) { return one.stem() == file.stem(); });
  return same > 1 ? std::filesystem::absolute(file).parent_path().filename().string() + "/" + file.stem().string()
                  : file.stem().string();
}

void print(nlohmann::json const& results) {
  std::printf("%-26s %8s %8s %8s %8s %8s %8s %6s %6s %6s %7s %8s %8s %9s\n", "set", "W2", "MMD2", "FD", "KL", "W1",
              "MMD sR", "1-NN", "prec", "recall", "zeros", "zero gap", "CV gap", "library");
  auto const shown = [](nlohmann::json const& row, char const* key) {
    return row[key].is_number() ? row[key].get<double>() : std::nan("");
  };
  for (std::size_t c = 0; c < results["comparisons"].size(); ++c) {
    auto const& comparison = results["comparisons"][c];
    for (auto const& row : results["rows"]) {
      if (row["comparison"] != c) continue;
      std::printf("%-26s", row["set"].get<std::string>().c_str());
      for (char const* key : {"w2", "mmd2", "frechet", "kl", "w1", "scrdit_mmd"})
        std::printf(" %8.4g", shown(row, key));
      for (char const* key : {"neighbour_accuracy", "precision", "recall"}) std::printf(" %6.3f", shown(row, key));
      std::printf(" %7.3f %8.3f %8.3f %9.1f\n", shown(row, "zeros"), shown(row, "zero_gap"),
                  shown(row, "variation_gap"), shown(row, "library"));
    }
    std::printf("real test cells: %.3f zeros, median CV %.3f, library %.1f; %s of %s genes\n",
                shown(comparison["real"], "zeros"), shown(comparison["real"], "variation"),
                shown(comparison["real"], "library"),
                comparison["values"] == "counts" ? "counts" : "log-normalised expression",
                with_commas(comparison["genes"]).c_str());
  }
  if (results.contains("reconstruction"))
    std::printf("reconstruction of test cells: RE %.2f, PCC %.4f, MSE %.4f\n", shown(results["reconstruction"], "re"),
                shown(results["reconstruction"], "pcc"), shown(results["reconstruction"], "mse"));
  if (!results.contains("classification")) return;
  for (auto const& [column, scores] : results["classification"].items())
    for (char const* name : {"neighbours", "logistic_regression"})
      std::printf("%s from latents, %s: accuracy %.2f %%, macro F1 %.2f %%, ROC-AUC %.4f, PR-AUC %.4f\n",
                  column.c_str(), name, shown(scores[name], "accuracy"), shown(scores[name], "macro_f1"),
                  shown(scores[name], "roc_auc"), shown(scores[name], "pr_auc"));
}

void evaluate(Session& session, EvaluateGeneratedOptions const& options) {
  auto const atlas_file = session.input(options.atlas, "atlas.h5ad");
  std::vector<std::filesystem::path> files(options.generated.begin(), options.generated.end());
  if (files.empty()) files.push_back(session.input("", "generated.h5ad"));
  auto const vae_folder = session.input_if_any(options.vae, "vae"),
             latents_file = session.input_if_any(options.latents, "latents.h5ad");
  auto inputs = files;
  inputs.push_back(atlas_file);
  for (auto const& path : {vae_folder, latents_file})
    if (!path.empty()) inputs.push_back(path);
  session.ranks.together([&] {
    require_cpu(session.run.device);
    if (options.most_cells < 2)
      fail(ExitCode::usage, "evaluate_generated.most_cells is {} (it must be at least 2)", options.most_cells);
    if (options.features.variable.count < 2 || options.features.components < 1)
      fail(ExitCode::usage,
           "evaluate_generated.genes {} must be at least 2 and evaluate_generated.components {} at least 1",
           options.features.variable.count, options.features.components);
    if (options.neighbours < 1)
      fail(ExitCode::usage, "evaluate_generated.neighbours is {} (it must be at least 1)", options.neighbours);
    require_input(atlas_file, "atlas");
    for (auto const& file : files) require_input(file, "generated cells");
    if (!vae_folder.empty()) require_input(vae_folder, "autoencoder");
    if (!latents_file.empty()) require_input(latents_file, "latents");
  });
  if (session.is_done(inputs)) return;
  auto const given = session.ranks.together([&] {
    auto read = read_given(options, atlas_file, vae_folder, latents_file,
                           options.labels.empty() ? origin_of(files.front()).columns : options.labels);
    if (options.generated.empty() && read.vae) require_decoded_by(*read.vae, vae_folder, files.front());
    return read;
  });
  auto const& kinds = given.kinds;
  if (session.dry_run) {
    if (session.ranks.is_root())
      std::printf(
          "atlas            %s\ntest cells       %s of %s, of %s kinds\nsets             %zu\nautoencoder      %s\n",
          atlas_file.c_str(), with_commas(std::ssize(given.test)).c_str(), with_commas(given.atlas.cells()).c_str(),
          with_commas(kinds.count()).c_str(), files.size(), vae_folder.empty() ? "none" : vae_folder.c_str());
    return;
  }

  // Each set beside real cells on its own terms; the baselines first where the terms are new.
  auto comparisons = nlohmann::json::array(), rows = nlohmann::json::array();
  std::vector<Comparison> opened;
  auto progress = session.progress("evaluate-generated", std::ssize(files), "sets");
  auto const add = [&](std::size_t comparison, std::string const& name, std::string const& kind,
                       CellsOfKinds const& cells, std::span<std::int64_t const> together = {}) {
    auto row = json_of(score_generated(session.ranks, opened[comparison], kinds, cells, options.most_cells, together));
    row.update({{"set", name}, {"kind", kind}, {"comparison", comparison}, {"cells", cells.kinds.size()}});
    rows.push_back(std::move(row));
  };
  for (std::size_t f = 0; f < files.size(); ++f) {
    auto const set = session.ranks.together([&] { return read_generated(files[f], given.atlas, kinds); });
    auto place =
        index(std::find_if(opened.begin(), opened.end(), [&](auto const& one) { return one.terms == set.terms; }) -
              opened.begin());
    if (place == opened.size()) {
      opened.push_back(session.ranks.together(
          [&] { return comparison_with(given.atlas, kinds, given.test, set.terms, options.features); }));
      comparisons.push_back(json_of(opened.back(), kinds));
      for (auto const& [name, kind, cells, together] : baselines(session, given, set.terms, options.most_cells))
        add(place, name, kind, cells, together);
    }
    add(place, name_of(files[f], files), "generated", set.cells);
    rows.back()["file"] = std::filesystem::absolute(files[f]).lexically_normal().string();
    progress.update(static_cast<std::int64_t>(f) + 1);
  }
  progress.finish();

  nlohmann::json results{{"rows", rows},
                         {"comparisons", comparisons},
                         {"columns", kinds.columns},
                         {"classes", kinds.names},
                         {"unseen", kinds.unseen},
                         {"train_cells_of_class", kinds.train_cells},
                         {"test_cells_of_class", kinds.test_cells},
                         {"test_cells", given.test.size()}};
  if (given.vae) {
    auto const scores = score_reconstruction(session.ranks, *given.vae, given.atlas, given.test,
                                             static_cast<std::uint64_t>(session.run.seed));
    results["reconstruction"] = {{"re", scores.error}, {"pcc", scores.correlation}, {"mse", scores.squared_error}};
  }
  if (given.latents) results["classification"] = classification(session, given, options.neighbours);
  auto const output = session.product("", "generation.json");
  session.ranks.together([&] {
    if (session.ranks.is_root()) write_text(output, json_text(results, 2) + "\n");
  });
  if (session.ranks.is_root()) print(results);
  session.set_done({output});
}

}  // namespace

int main(int argc, char** argv) {
  EvaluateGeneratedOptions options;
  OptionTable table =
      program_table("evaluate-generated",
                    "compares generated cells with real test cells, and scores what an autoencoder keeps of them");
  add_options(table, options);
  return run_program(argc, argv, table, [&](Session& session) { evaluate(session, options); });
}
