// retort-evaluate: how well classifiers do that were trained on distilled sets, beside the sets that cost nothing.
#include <ATen/ATen.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "retort/cells/feature_file.hpp"
#include "retort/evaluate/baselines.hpp"
#include "retort/evaluate/distilled_sets.hpp"
#include "retort/evaluate/gene_regression.hpp"
#include "retort/evaluate/results_table.hpp"
#include "retort/models/foundation.hpp"
#include "retort/models/gene_alignment.hpp"
#include "retort/ranks/device.hpp"
#include "retort/ranks/session.hpp"
#include "retort/run/stopwatch.hpp"

using namespace retort;

namespace {

// Section [evaluate].
struct EvaluateOptions {
  std::string atlas, features, foundation, distilled, label;
  std::int64_t heads = 10, draws = 5;
  std::vector<std::int64_t> spc;
  std::vector<std::string> rows{"full", "genes", "random", "medoid", "kmeans", "class_mean", "kmeans_mean", "distilled"};
};

void add_evaluate_options(OptionTable& table, EvaluateOptions& options) {
  table.add("evaluate.atlas", options.atlas, "atlas h5ad; empty: RUN/atlas.h5ad")
      .add("evaluate.features", options.features, "its features; empty: RUN/features.h5ad")
      .add("evaluate.foundation", options.foundation, "folder of the foundation model; empty: RUN/foundation")
      .add("evaluate.distilled", options.distilled, "folder of distilled sets, VARIANT-MATCHING-spcN-drawK.h5ad; empty: RUN/distilled")
      .add("evaluate.label", options.label, "label column; empty: the one that ingest was told")
      .add("evaluate.heads", options.heads, "fresh heads trained on each set")
      .add("evaluate.draws", options.draws, "draws of random cells")
      .add("evaluate.spc", options.spc, "cells a class of the sets to compare with; empty: those of the distilled sets, or 1 and 10")
      .add("evaluate.rows", options.rows, "rows of the table: full, genes, random, medoid, kmeans, class_mean, kmeans_mean, distilled");
}

void check(EvaluateOptions const& options) {
  std::vector<std::string> const known = EvaluateOptions().rows;
  for (auto const& row : options.rows)
    if (std::find(known.begin(), known.end(), row) == known.end()) fail(ExitCode::usage, "evaluate.rows has '{}' (the rows are {})", row, fmt::join(known, ", "));
  if (options.heads < 1 || options.draws < 1) fail(ExitCode::usage, "evaluate.heads is {} and evaluate.draws is {} (both must be at least 1)", options.heads, options.draws);
  for (auto const spc : options.spc)
    if (spc < 1) fail(ExitCode::usage, "evaluate.spc has {} (a set needs at least one cell a class)", spc);
}

// One set to train heads on. `make` runs on one rank, which spreads the features.
struct Draw {
  std::function<DistilledSet()> make;
  double seconds = 0;  // of making it
  LabelledFeatures set;
};

// One row of the table that has a number of cells a class.
struct Candidate {
  std::string variant, matching;
  std::int64_t spc;
  std::vector<Draw> draws;
};

// Everything that is read once.
struct Ground {
  std::unique_ptr<Atlas> atlas;
  std::unique_ptr<Foundation> foundation;
  std::unique_ptr<AlignedReader> reader;
  Labels labels;
  at::Tensor features;  // [cells, width]
  RowsByClass train;
  LabelledFeatures all_train, held_out, test;
  std::int64_t fit_cells = 0;
};

LabelledFeatures select(Ground const& ground, std::vector<std::int64_t> const& rows) {
  auto const codes = at::tensor(ground.labels.codes, at::kInt).to(at::kLong);
  auto const chosen = at::tensor(rows, at::kLong);
  return {ground.features.index_select(0, chosen), codes.index_select(0, chosen)};
}

// Not collective.
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
  return ground;
}

// Collective: the rows that cost nothing, for one number of cells a class.
void add_baselines(Session const& session, EvaluateOptions const& options, Ground const& ground, std::int64_t spc, std::vector<Candidate>& candidates) {
  auto const seed = static_cast<std::uint64_t>(session.run.seed);
  auto const genes = ground.foundation->shape().genes;
  ShardPlan const plan(session.run.shards, session.ranks.rank(), session.ranks.size());
  ReadRows const read = [&ground](RowRange rows) { return ground.reader->read(rows.begin, rows.end); };
  auto const wanted = [&](char const* row) { return std::find(options.rows.begin(), options.rows.end(), row) != options.rows.end(); };
  auto const real_cells = [read, genes](ChosenRows const& chosen) {
    return [read, genes, chosen] { return DistilledSet{dense_rows(read, chosen.rows, genes), at::tensor(chosen.labels, at::kLong)}; };
  };
  auto const means = [&](std::vector<std::int64_t> const& groups, std::vector<std::int64_t> const& of_row, std::vector<std::int64_t> const& labels) {
    auto const count = static_cast<std::int64_t>(labels.size());
    auto const cells = group_means(session.ranks, plan, read, groups, count, genes).index_select(0, at::tensor(of_row, at::kLong));
    return [cells, labels] { return DistilledSet{cells, at::tensor(labels, at::kLong)}; };
  };

  if (wanted("random")) {
    Candidate random{"random", "", spc, {}};
    for (std::int64_t draw = 0; draw < options.draws; ++draw) random.draws.push_back({real_cells(random_rows(ground.train, spc, seed, static_cast<std::uint64_t>(draw))), 0, {}});
    candidates.push_back(std::move(random));
  }
  // At one cell a class k-means has one centroid, the mean, so the cell nearest it is the medoid.
  if (spc == 1) {
    Stopwatch const watch;
    auto const medoids = medoid_rows(ground.train, ground.features);
    double const seconds = watch.seconds();
    if (wanted("medoid")) candidates.push_back({"medoid", "", spc, {{real_cells(medoids), seconds, {}}}});
    if (wanted("class_mean")) {
      Stopwatch const mean_watch;
      std::vector<std::int64_t> groups(static_cast<std::size_t>(ground.atlas->cells()), -1), of_row;
      for (std::size_t i = 0; i < medoids.labels.size(); ++i) {
        for (auto const row : ground.train[static_cast<std::size_t>(medoids.labels[i])]) groups[static_cast<std::size_t>(row)] = static_cast<std::int64_t>(i);
        of_row.push_back(static_cast<std::int64_t>(i));
      }
      auto make = means(groups, of_row, medoids.labels);
      candidates.push_back({"class_mean", "", spc, {{std::move(make), mean_watch.seconds(), {}}}});
    }
  } else if (wanted("kmeans") || wanted("kmeans_mean")) {
    Stopwatch const watch;
    auto const clustered = kmeans_rows(session.ranks, ground.train, ground.features, spc, seed);
    if (wanted("kmeans")) candidates.push_back({"kmeans", "", spc, {{real_cells(clustered.nearest), watch.seconds(), {}}}});
    if (wanted("kmeans_mean")) {
      auto make = means(clustered.groups, clustered.group_of_row, clustered.nearest.labels);
      candidates.push_back({"kmeans_mean", "", spc, {{std::move(make), watch.seconds(), {}}}});
    }
  }
}

// Collective: makes and encodes all sets, each on one rank, and spreads labels and features.
void encode_sets(Session const& session, Foundation& foundation, std::vector<Candidate>& candidates) {
  auto const device = choose_device(session.ranks, session.run.device);
  foundation.to(device);
  std::vector<Draw*> draws;
  for (auto& candidate : candidates)
    for (auto& draw : candidate.draws) draws.push_back(&draw);
  auto const ranks = static_cast<std::size_t>(session.ranks.size());
  session.ranks.together([&] {
    at::NoGradGuard no_graph;
    for (std::size_t i = static_cast<std::size_t>(session.ranks.rank()); i < draws.size(); i += ranks) {
      auto const made = draws[i]->make();
      draws[i]->set = {foundation.encode(made.cells.to(device)).cpu().contiguous(), made.labels};
    }
  });
  auto const width = foundation.shape().latent;
  for (std::size_t i = 0; i < draws.size(); ++i) {
    auto const owner = static_cast<int>(i % ranks);
    auto& set = draws[i]->set;
    std::int64_t rows = session.ranks.rank() == owner ? set.labels.size(0) : 0;
    session.ranks.broadcast(std::span(&rows, 1), owner);
    if (session.ranks.rank() != owner) set = {at::empty({rows, width}, at::kFloat), at::empty({rows}, at::kLong)};
    session.ranks.broadcast(std::span(set.labels.data_ptr<std::int64_t>(), static_cast<std::size_t>(rows)), owner);
    session.ranks.broadcast(std::span(set.features.data_ptr<float>(), static_cast<std::size_t>(rows * width)), owner);
  }
}

void print_plan(Session const& session, Ground const& ground, EvaluateOptions const& options, HeadOptions const& head, std::vector<DistilledFile> const& files, std::set<std::int64_t> const& spc) {
  if (!session.ranks.is_root()) return;
  auto const train = ground.all_train.labels.size(0);
  std::printf("atlas            %s\ncells            %s: %s to train on, %s to test\ndistilled sets   %zu\ncells a class    %s\nrows             %s\nheads            %s a set, %s epochs\nsteps            %s a head of full data\nmemory a rank    about %s MB\n",
              ground.atlas->file().c_str(), with_commas(ground.atlas->cells()).c_str(), with_commas(train).c_str(), with_commas(ground.test.labels.size(0)).c_str(), files.size(),
              fmt::format("{}", fmt::join(spc, ", ")).c_str(), fmt::format("{}", fmt::join(options.rows, ", ")).c_str(), with_commas(options.heads).c_str(), with_commas(head.epochs).c_str(),
              with_commas(head.epochs * ((train + head.batch - 1) / head.batch)).c_str(),
              with_commas((ground.features.numel() * 12 + ground.atlas->nonzeros() * 16 / session.ranks.size()) / 1'000'000 + 300).c_str());
}

void evaluate(Session& session, EvaluateOptions const& options, HeadOptions const& head) {
  auto const atlas_file = session.input(options.atlas, "atlas.h5ad");
  auto const features_file = session.input(options.features, "features.h5ad");
  auto const foundation_folder = session.input(options.foundation, "foundation");
  auto const wanted = [&](char const* row) { return std::find(options.rows.begin(), options.rows.end(), row) != options.rows.end(); };
  std::vector<DistilledFile> files;
  session.ranks.together([&] {
    require_input(atlas_file, "atlas");
    require_input(features_file, "features");
    require_input(foundation_folder, "foundation model");
    if (wanted("distilled")) files = find_distilled(session.product(options.distilled, "distilled"));
  });
  std::vector<std::filesystem::path> inputs{atlas_file, features_file, foundation_folder};
  for (auto const& file : files) inputs.push_back(file.file);
  if (session.is_done(inputs)) return;

  // Real cells and their features.
  auto const seed = static_cast<std::uint64_t>(session.run.seed);
  Ground ground;
  session.ranks.together([&] { ground = open_ground(atlas_file, features_file, foundation_folder, options.label); });
  auto const classes = ground.labels.classes();
  std::set<std::int64_t> spc(options.spc.begin(), options.spc.end());
  if (spc.empty()) {
    for (auto const& file : files) spc.insert(file.name.spc);
    if (files.empty()) spc = {1, 10};
  }
  if (session.dry_run) return print_plan(session, ground, options, head, files, spc);
  auto const tested = std::get<0>(at::_unique(ground.test.labels));
  std::vector<std::string> untested;
  for (std::int64_t c = 0; c < classes; ++c)
    if (!tested.eq(c).any().item<bool>()) untested.push_back(ground.labels.names[static_cast<std::size_t>(c)]);
  if (!untested.empty()) session.say(fmt::format("left out of the scores, for want of test cells: '{}'", fmt::join(untested, "', '")));

  // The sets: what was distilled, read back, and what costs nothing.
  std::vector<Candidate> candidates;
  auto seconds = distilling_seconds(session.folder.path() / "distill" / "log.jsonl");
  for (auto const cells_a_class : spc) {
    add_baselines(session, options, ground, cells_a_class, candidates);
    for (auto const& file : files) {
      auto const& name = file.name;
      if (name.spc != cells_a_class) continue;
      auto const same = [&](Candidate const& last) { return last.variant == name.variant && last.matching == name.matching && last.spc == name.spc; };
      if (candidates.empty() || !same(candidates.back())) candidates.push_back({name.variant, name.matching, name.spc, {}});
      candidates.back().draws.push_back({[&ground, path = file.file] { return read_distilled(path, ground.foundation->gene_names(), ground.labels.column, ground.labels.names, ground.atlas->identity()); }, seconds[file.file.stem().string()], {}});
    }
  }
  encode_sets(session, *ground.foundation, candidates);

  // Heads.
  std::vector<ResultRow> rows;
  std::int64_t sets = wanted("full") ? 1 : 0;
  for (auto const& candidate : candidates) sets += static_cast<std::int64_t>(candidate.draws.size());
  auto progress = session.progress("evaluate", sets * options.heads, "heads");
  std::int64_t trained = 0;
  auto const heads_of = [&](LabelledFeatures const& set, std::size_t draw) {
    auto scores = train_and_score(session.ranks, set, ground.test, ground.held_out, classes, options.heads, draw * static_cast<std::uint64_t>(options.heads), head, seed);
    progress.update(trained += options.heads);
    return scores;
  };
  if (wanted("full")) {
    Stopwatch const watch;
    auto const scores = heads_of(ground.all_train, 0);
    rows.push_back(row_of("full", "", 0, {scores}, watch.seconds()));
    rows.back().held_out_accuracy.reset();  // its heads have seen those cells
  }
  nlohmann::json regression_note;
  if (wanted("genes")) {
    Stopwatch const watch;
    ShardPlan const plan(session.run.shards, session.ranks.rank(), session.ranks.size());
    auto const regression = regress_on_genes(session.ranks, plan, *ground.atlas, ground.labels);
    HeadScores scores{{score(at::tensor(regression.predicted, at::kLong), ground.test.labels, classes)}, {}};
    if (regression.held_out_accuracy) scores.held_out = {*regression.held_out_accuracy};
    rows.push_back(row_of("genes", "", 0, {scores}, watch.seconds()));
    regression_note = {{"penalty", regression.penalty}, {"iterations", regression.minimum.iterations}, {"largest_gradient", regression.minimum.largest_gradient}, {"converged", regression.minimum.converged}};
  }
  for (auto const& candidate : candidates) {
    Stopwatch const watch;
    double making = 0;
    std::vector<HeadScores> draws;
    for (std::size_t draw = 0; draw < candidate.draws.size(); ++draw) {
      draws.push_back(heads_of(candidate.draws[draw].set, draw));
      making += candidate.draws[draw].seconds;
    }
    rows.push_back(row_of(candidate.variant, candidate.matching, candidate.spc, draws, (making + watch.seconds()) / static_cast<double>(draws.size())));
    bool const is_distilled = !candidate.matching.empty();
    if (!is_distilled) rows.back().held_out_accuracy.reset();  // its cells may be held-out cells
  }
  progress.finish();
  add_headroom(rows);

  auto results = json_of(rows, ground.labels.names);
  results["data"] = {{"cells", ground.atlas->cells()}, {"genes", ground.atlas->genes()}, {"label", ground.labels.column}, {"classes", classes}, {"class_names", ground.labels.names},
                     {"fit_cells", ground.fit_cells}, {"held_out_cells", ground.held_out.labels.size(0)}, {"test_cells", ground.test.labels.size(0)}, {"classes_without_test_cells", untested},
                     {"encoder", ground.foundation->weights_hash()}, {"heads", options.heads}, {"seed", session.run.seed}};
  if (!regression_note.is_null()) results["gene_regression"] = regression_note;
  session.ranks.together([&] {
    if (session.ranks.is_root()) write_text(session.product("", "results.json"), json_text(results, 2) + "\n");
  });
  if (session.ranks.is_root()) std::fputs(table_of(rows).c_str(), stdout);
  session.set_done({session.product("", "results.json")});
}

}  // namespace

int main(int argc, char** argv) {
  EvaluateOptions options;
  HeadOptions head;
  OptionTable table("retort-evaluate", "trains classifiers on distilled sets, and on what they must beat, and scores them on real test cells");
  add_evaluate_options(table, options);
  add_head_options(table, head);
  return run_program(argc, argv, table, [&](Session& session) {
    session.ranks.together([&] { check(options); });
    evaluate(session, options, head);
  });
}
