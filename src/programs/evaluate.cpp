// retort-evaluate: how well classifiers do that were trained on distilled sets, beside the sets that cost nothing.
#include <ATen/ATen.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "retort/audits/audits.hpp"
#include "retort/evaluate/cross_architecture.hpp"
#include "retort/evaluate/gene_regression.hpp"
#include "retort/evaluate/image_network.hpp"
#include "retort/evaluate/judged_sets.hpp"
#include "retort/evaluate/pathway_transformer.hpp"
#include "retort/evaluate/results_table.hpp"
#include "retort/programs/sections.hpp"
#include "retort/run/index.hpp"
#include "retort/run/stopwatch.hpp"
#include "retort/session/session.hpp"

using namespace retort;

namespace {

// Section [evaluate].
struct EvaluateOptions {
  std::string atlas, features, foundation, distilled, label;
  std::int64_t heads = 10, draws = 5;
  std::vector<std::int64_t> spc;
  bool audits = true;
  std::vector<std::string> classifiers{"head", "celltypist"};
  std::string pathways;
  TeachingOptions cnn{.steps = 300, .batch = 32, .rate = 3e-3}, tosica{.steps = 300, .batch = 8, .rate = 1e-3};
  std::vector<std::string> rows{"full",   "genes",      "random",      "medoid",
                                "kmeans", "class_mean", "kmeans_mean", "distilled"};
};

void add_evaluate_options(OptionTable& table, EvaluateOptions& options) {
  table.add("evaluate.atlas", options.atlas, "atlas h5ad; empty: RUN/atlas.h5ad")
      .add("evaluate.features", options.features, "its features; empty: RUN/features.h5ad")
      .add("evaluate.foundation", options.foundation, "folder of the foundation model; empty: RUN/foundation")
      .add("evaluate.distilled", options.distilled,
           "folder of distilled sets, VARIANT-MATCHING-spcN-drawK.h5ad; empty: RUN/distilled")
      .add("evaluate.label", options.label, "label column; empty: the first that ingest was told")
      .add("evaluate.heads", options.heads, "fresh heads trained on each set")
      .add("evaluate.draws", options.draws, "draws of random cells")
      .add("evaluate.spc", options.spc,
           "cells per class of the sets to compare with; empty: those of the distilled sets, or 1 and 10")
      .add("evaluate.classifiers", options.classifiers,
           "what is trained on the sets: head (on frozen features, see [head]), celltypist (logistic regression on "
           "standardised genes, one class against the rest), logistic (scikit-learn's, on genes as they are), cnn "
           "(convolutions on images of genes, in scDeepInsight's place), tosica (transformer of pathways)")
      .add("evaluate.audits", options.audits,
           "audit the sets: membership inference, zeros and detected genes, marker genes, rare classes, paired tests")
      .add("evaluate.cnn_steps", options.cnn.steps,
           "steps of 32 cells that a cnn is trained for, on every set and on all cells")
      .add("evaluate.cnn_rate", options.cnn.rate, "its learning rate at the first step")
      .add("evaluate.tosica_steps", options.tosica.steps,
           "steps of 8 cells that a tosica is trained for, on every set and on all cells")
      .add("evaluate.tosica_rate", options.tosica.rate, "its learning rate at the first step")
      .add("evaluate.pathways", options.pathways, "GMT file of tosica's pathways; empty: random gene sets")
      .add("evaluate.rows", options.rows,
           "rows of the table: full, genes, random, medoid, kmeans, class_mean, kmeans_mean, distilled");
}

void check(EvaluateOptions const& options) {
  std::vector<std::string> const known = EvaluateOptions().rows;
  for (auto const& row : options.rows)
    if (std::find(known.begin(), known.end(), row) == known.end())
      fail(ExitCode::usage, "evaluate.rows has '{}' (the rows are {})", row, fmt::join(known, ", "));
  for (auto const& classifier : options.classifiers)
    if (classifier != "head" && classifier != "celltypist" && classifier != "logistic" && classifier != "cnn" &&
        classifier != "tosica")
      fail(ExitCode::usage,
           "evaluate.classifiers has '{}' (the classifiers are head, celltypist, logistic, cnn and tosica)",
           classifier);
  if (!(options.cnn.rate > 0 && options.tosica.rate > 0))
    fail(ExitCode::usage, "evaluate.cnn_rate is {} and evaluate.tosica_rate is {} (both must be above 0)",
         options.cnn.rate, options.tosica.rate);
  if (options.cnn.steps < 1 || options.tosica.steps < 1)
    fail(ExitCode::usage, "evaluate.cnn_steps is {} and evaluate.tosica_steps is {} (both must be at least 1)",
         options.cnn.steps, options.tosica.steps);
  if (options.heads < 1 || options.draws < 1)
    fail(ExitCode::usage, "evaluate.heads is {} and evaluate.draws is {} (both must be at least 1)", options.heads,
         options.draws);
  for (auto const spc : options.spc)
    if (spc < 1) fail(ExitCode::usage, "evaluate.spc has {} (a set needs at least one cell per class)", spc);
}

void print_plan(Session const& session, EvaluationData const& data, EvaluateOptions const& options,
                HeadOptions const& head, std::vector<DistilledFile> const& files, std::set<std::int64_t> const& spc) {
  if (!session.ranks.is_root()) return;
  auto const train = data.all_train.labels.size(0);
  std::printf(
      "atlas            %s\n"
      "cells            %s: %s to train on, %s to test\n"
      "distilled sets   %zu\n"
      "cells per class  %s\n"
      "rows             %s\n"
      "heads            %s per set, %s epochs\n"
      "steps            %s per head of full data\n"
      "memory per rank  about %s MB\n",
      data.atlas->file().c_str(), with_commas(data.atlas->cells()).c_str(), with_commas(train).c_str(),
      with_commas(data.test.labels.size(0)).c_str(), files.size(), fmt::format("{}", fmt::join(spc, ", ")).c_str(),
      fmt::format("{}", fmt::join(options.rows, ", ")).c_str(), with_commas(options.heads).c_str(),
      with_commas(head.epochs).c_str(),
      with_commas(head.passes_over(train) * ((train + head.batch - 1) / head.batch)).c_str(),
      with_commas((data.features.numel() * 12 + data.atlas->nonzeros() * 16 / session.ranks.size()) / 1'000'000 + 300)
          .c_str());
}

// What genes are laid out by: a thousand train cells, every so many.
CsrBlock some_train_cells(EvaluationData const& data) {
  constexpr std::size_t most = 1000;
  std::vector<std::int64_t> rows;
  for (auto const& of_class : data.train) rows.insert(rows.end(), of_class.begin(), of_class.end());
  std::sort(rows.begin(), rows.end());
  auto const count = std::min(most, rows.size());
  std::vector<std::int64_t> some;
  for (std::size_t i = 0; i < count; ++i) some.push_back(rows[i * rows.size() / count]);
  return data.reader->read(some);
}

void evaluate(Session& session, EvaluateOptions const& options, HeadOptions const& head) {
  auto const atlas_file = session.input(options.atlas, "atlas.h5ad");
  auto const features_file = session.input(options.features, "features.h5ad");
  auto const foundation_folder = session.input(options.foundation, "foundation");
  auto const wanted = [&](char const* row) {
    return std::find(options.rows.begin(), options.rows.end(), row) != options.rows.end();
  };
  auto const product_file = session.input("", "distilled.h5ad");
  std::vector<DistilledFile> files;
  std::optional<DistilledName> product;
  session.ranks.together([&] {
    require_input(atlas_file, "atlas");
    require_input(features_file, "features");
    require_input(foundation_folder, "foundation model");
    if (!options.pathways.empty()) require_input(options.pathways, "pathways");
    if (wanted("distilled"))
      files = find_distilled(session.product(options.distilled, "distilled")), product = product_set(product_file);
  });
  std::vector<std::filesystem::path> inputs{atlas_file, features_file, foundation_folder};
  for (auto const& file : files) inputs.push_back(file.file);
  if (product) inputs.push_back(product_file);
  if (!options.pathways.empty()) inputs.push_back(options.pathways);
  if (session.is_done(inputs)) return;

  // Real cells and their features.
  auto const seed = static_cast<std::uint64_t>(session.run.seed);
  EvaluationData data = session.ranks.together(
      [&] { return open_evaluation_data(atlas_file, features_file, foundation_folder, options.label); });
  auto const classes = data.labels.classes();
  std::set<std::int64_t> spc(options.spc.begin(), options.spc.end());
  if (spc.empty()) {
    for (auto const& file : files) spc.insert(file.name.spc);
    if (files.empty()) spc = {1, 10};
  }
  if (session.dry_run) return print_plan(session, data, options, head, files, spc);
  auto const tested = std::get<0>(at::_unique(data.test.labels));
  std::vector<std::string> untested;
  for (std::int64_t c = 0; c < classes; ++c)
    if (!tested.eq(c).any().item<bool>()) untested.push_back(data.labels.names[index(c)]);
  if (!untested.empty())
    session.say(fmt::format("left out of the scores, for want of test cells: '{}'", fmt::join(untested, "', '")));

  // The sets: what was distilled, read back, and what costs nothing.
  std::vector<JudgedSet> sets;
  auto seconds = distilling_seconds(session.folder.path() / "distill" / "log.jsonl");
  for (auto const cells_a_class : spc) {
    add_baselines(session, data, options.rows, options.draws, cells_a_class, sets);
    for (auto const& file : files) {
      auto const& name = file.name;
      if (name.spc != cells_a_class) continue;
      auto const same = [&](JudgedSet const& last) {
        return last.variant == name.variant && last.matching == name.matching && last.spc == name.spc;
      };
      if (sets.empty() || !same(sets.back())) sets.push_back({name.variant, name.matching, name.spc, {}});
      sets.back().draws.push_back({[&data, path = file.file] {
                                     return read_distilled(path, data.foundation->gene_names(), data.labels.column,
                                                           data.labels.names, data.atlas->identity());
                                   },
                                   seconds[file.file.stem().string()],
                                   {},
                                   file.file.stem().string()});
    }
  }
  encode_sets(session, *data.foundation, sets);

  // Heads.
  std::vector<ResultRow> rows;
  std::int64_t trainings = 0;
  for (auto const& set : sets) trainings += std::ssize(set.draws);
  auto progress = session.progress("evaluate", (trainings + wanted("full")) * options.heads, "heads");
  std::int64_t trained = 0;
  auto confusions = nlohmann::json::array();  // of full data and of the product
  auto const keep_confusion = [&](std::string const& set, HeadScores const& scores) {
    auto counts = nlohmann::json::array();
    for (auto row = scores.confusion.begin(); row != scores.confusion.end(); row += classes)
      counts.push_back(std::vector(row, row + classes));
    confusions.push_back({{"set", set}, {"counts", counts}});
  };
  auto const heads_of = [&](LabelledFeatures const& set, std::size_t draw) {
    auto scores = train_and_score(session.ranks, set, data.test, data.held_out, classes, options.heads,
                                  draw * static_cast<std::uint64_t>(options.heads), head, seed);
    progress.update(trained += options.heads);
    return scores;
  };
  auto const trains = [&](char const* name) {
    return std::find(options.classifiers.begin(), options.classifiers.end(), name) != options.classifiers.end();
  };
  if (wanted("full")) {
    Stopwatch const watch;
    auto const scores = heads_of(data.all_train, 0);
    rows.push_back(row_of("full", "", 0, {scores}, watch.seconds()));
    rows.back().held_out_accuracy.reset();  // its heads have seen those cells
    keep_confusion("full", scores);
  }
  nlohmann::json regression_note;
  if (wanted("genes")) {
    Stopwatch const watch;
    ShardPlan const plan(session.run.shards, session.ranks.rank(), session.ranks.size());
    auto const regression = regress_on_genes(session.ranks, plan, *data.atlas, data.labels);
    HeadScores scores{{score(at::tensor(regression.predicted, at::kLong), data.test.labels, classes)}, {}};
    if (regression.held_out_accuracy) scores.held_out = {*regression.held_out_accuracy};
    rows.push_back(row_of("genes", "", 0, {scores}, watch.seconds()));
    regression_note = {{"penalty", regression.penalty},
                       {"iterations", regression.minimum.iterations},
                       {"largest_gradient", regression.minimum.largest_gradient},
                       {"converged", regression.minimum.converged}};
  }
  for (auto const& judged : sets) {
    if (!trains("head")) break;
    Stopwatch const watch;
    double making = 0;
    std::vector<HeadScores> draws;
    for (std::size_t draw = 0; draw < judged.draws.size(); ++draw) {
      draws.push_back(heads_of(judged.draws[draw].set, draw));
      making += judged.draws[draw].seconds;
      if (product && judged.draws[draw].name == set_stem(*product))
        keep_confusion(judged.draws[draw].name, draws.back());
    }
    rows.push_back(row_of(judged.variant, judged.matching, judged.spc, draws,
                          (making + watch.seconds()) / static_cast<double>(draws.size())));
    bool const is_distilled = !judged.matching.empty();
    if (!is_distilled) rows.back().held_out_accuracy.reset();  // its cells may be held-out cells
  }
  progress.finish();
  add_headroom(rows);

  // Other architectures.
  std::vector<JudgedRows> others;
  auto const judge = [&](char const* key, char const* title, std::int64_t models,
                         std::function<std::vector<ResultRow>(std::function<void()> const&)> const& rows_by) {
    auto trying = session.progress(key, models, "sets");
    std::int64_t tried = 0;
    others.push_back({key, title, rows_by([&] { trying.update(++tried); })});
    trying.finish();
  };
  ShardPlan const plan(session.run.shards, session.ranks.rank(), session.ranks.size());
  if (trains("celltypist") && !sets.empty())
    judge("celltypist", "CellTypist's classifier on the same sets", trainings,
          [&](auto const& tick) { return judge_by_celltypist(session.ranks, data, sets, tick); });
  if (trains("logistic") && !sets.empty())
    judge("logistic", "Logistic regression on genes as they are, on the same sets", trainings,
          [&](auto const& tick) { return judge_by_logistic_regression(session.ranks, data, sets, tick); });
  if (trains("cnn")) {
    auto const layout = session.ranks.together([&] { return lay_out_genes(some_train_cells(data), image_side); });
    judge("cnn", "A small convolutional network on images of genes (a stand-in for scDeepInsight) on the same sets",
          trainings + wanted("full"), [&](auto const& tick) {
            return judge_by_student(
                session.ranks, plan, data, sets,
                [&](std::uint64_t number) { return std::make_unique<ImageNetwork>(layout, classes, seed, number); },
                options.cnn, seed, wanted("full"), tick);
          });
  }
  nlohmann::json pathways_note;
  if (trains("tosica")) {
    auto const pathways = session.ranks.together([&] {
      return choose_pathways(options.pathways.empty() ? std::vector<GeneSet>() : read_gene_sets(options.pathways),
                             data.foundation->gene_names());
    });
    session.say(fmt::format("tosica: {}", pathways.origin));
    pathways_note = {{"random", pathways.random}, {"count", pathways.genes.size()}, {"origin", pathways.origin}};
    judge("tosica", "A transformer of pathways (TOSICA's architecture) on the same sets", trainings + wanted("full"),
          [&](auto const& tick) {
            return judge_by_student(
                session.ranks, plan, data, sets,
                [&](std::uint64_t number) {
                  return std::make_unique<PathwayTransformer>(pathways, data.foundation->shape().genes, classes, seed,
                                                              number);
                },
                options.tosica, seed, wanted("full"), tick);
          });
  }

  auto results = json_of(rows, data.labels.names);
  results["confusion"] = confusions;
  for (auto const& other : others) results[other.key] = json_of(other.rows, data.labels.names)["rows"];
  results["data"] = {{"cells", data.atlas->cells()},
                     {"genes", data.atlas->genes()},
                     {"label", data.labels.column},
                     {"classes", classes},
                     {"class_names", data.labels.names},
                     {"fit_cells", data.fit_cells},
                     {"held_out_cells", data.held_out.labels.size(0)},
                     {"test_cells", data.test.labels.size(0)},
                     {"classes_without_test_cells", untested},
                     {"encoder", data.foundation->weights_hash()},
                     {"heads", options.heads},
                     {"seed", session.run.seed}};
  if (!regression_note.is_null()) results["gene_regression"] = regression_note;
  if (!pathways_note.is_null()) results["pathways"] = pathways_note;
  if (options.audits && !sets.empty()) results["audits"] = audit(session, data, sets, head, rows, others);
  session.ranks.together([&] {
    if (session.ranks.is_root()) write_text(session.product("", "results.json"), json_text(results, 2) + "\n");
  });
  if (session.ranks.is_root()) {
    std::fputs(table_of(rows).c_str(), stdout);
    for (auto const& other : others) std::printf("\n%s\n%s", other.title.c_str(), table_of(other.rows).c_str());
    if (results.contains("audits")) std::printf("\nAudits\n%s", table_of_audits(results["audits"]).c_str());
  }
  session.set_done({session.product("", "results.json")});
}

}  // namespace

int main(int argc, char** argv) {
  EvaluateOptions options;
  HeadOptions head;
  OptionTable table = program_table(
      "evaluate",
      "trains classifiers on distilled sets, and on what they must beat, and scores them on real test cells");
  add_evaluate_options(table, options);
  add_head_options(table, head);
  return run_program(argc, argv, table, [&](Session& session) {
    session.ranks.together([&] {
      check(options);
      check_head_options(head);
    });
    evaluate(session, options, head);
  });
}
