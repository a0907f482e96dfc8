// retort-report: one page with pictures of what a run, or several, came to.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "retort/cells/dense_cells.hpp"
#include "retort/cells/feature_file.hpp"
#include "retort/fidelity/generated_cells.hpp"
#include "retort/models/foundation.hpp"
#include "retort/models/gene_alignment.hpp"
#include "retort/programs/sections.hpp"
#include "retort/report/html.hpp"
#include "retort/report/sections.hpp"
#include "retort/report/texts.hpp"
#include "retort/run/index.hpp"
#include "retort/session/session.hpp"

using namespace retort;
using nlohmann::literals::operator""_json_pointer;

namespace {

// Section [report].
struct ReportOptions {
  std::vector<std::string> runs;
  std::string page;
  std::int64_t cells = 3000;
};

void add_report_options(OptionTable& table, ReportOptions& options) {
  table.add("report.runs", options.runs, "run folders to tell of; empty: RUN alone")
      .add("report.page", options.page, "HTML to write; empty: RUN/report.html")
      .add("report.cells", options.cells,
           "real test cells on the map, by class (at least 30 of each class, where it has them)");
}

struct Pictures {
  std::string map, expression;
};

// The two pictures that need cells. Class means are of up to 200 cells per class: enough for a shade.
Pictures pictures_of(FinishedRun const& run, ReportOptions const& options, std::uint64_t seed) {
  Atlas const atlas(run.file("atlas.h5ad"));
  auto const labels =
      atlas.labels(run.results.is_null() ? "" : run.results.value("/data/label"_json_pointer, std::string()));
  Pictures pictures;
  std::optional<Foundation> foundation;
  if (std::filesystem::exists(run.file("foundation/config.json")))
    foundation = Foundation::load(run.file("foundation"));
  std::optional<DistilledSet> distilled;
  std::vector<std::string> const genes = foundation ? foundation->gene_names() : atlas.gene_names();
  if (std::filesystem::exists(run.folder / "distilled.h5ad"))
    distilled = read_distilled(run.folder / "distilled.h5ad", genes, labels.column, labels.names, atlas.identity());
  auto const of_rows = [&](std::vector<std::int64_t> const& rows) {
    std::vector<std::int32_t> classes;
    for (auto const row : rows) classes.push_back(labels.codes[index(row)]);
    return classes;
  };
  auto const classes_of = [](at::Tensor const& of) {
    auto const narrow = of.to(at::kInt).contiguous();
    return std::vector<std::int32_t>(narrow.const_data_ptr<std::int32_t>(),
                                     narrow.const_data_ptr<std::int32_t>() + narrow.numel());
  };

  if (auto const file = run.file("features.h5ad"); std::filesystem::exists(file)) {
    auto const all = read_features(file);
    require_features_of(atlas, file, all);
    auto const rows = stratified_rows(labels, atlas.parts(), options.cells, 30, seed);
    MappedCells real{{}, of_rows(rows)}, made;
    for (auto const row : rows)
      real.features.insert(real.features.end(), all.values.begin() + row * all.width,
                           all.values.begin() + (row + 1) * all.width);
    if (distilled && foundation && foundation->weights_hash() == all.encoder) {
      at::NoGradGuard no_graph;
      auto const encoded = foundation->encode(distilled->cells).contiguous();
      made = {{encoded.const_data_ptr<float>(), encoded.const_data_ptr<float>() + encoded.numel()},
              classes_of(distilled->labels)};
    }
    pictures.map = map_section(real, made, all.width, labels.names, seed);
  }
  if (distilled) {
    AlignedReader const reader(atlas, genes);
    auto const rows = stratified_rows(labels, atlas.parts(), 0, 200, seed);
    auto const real = class_means(reader.read(rows), of_rows(rows), labels.classes());
    auto const made =
        class_means(compressed({distilled->cells.const_data_ptr<float>(), index(distilled->cells.numel())},
                               distilled->cells.size(1)),
                    classes_of(distilled->labels), labels.classes());
    pictures.expression = expression_section(real, made, genes, labels.names);
  }
  return pictures;
}

// At most so many cells of a set in the space of the comparison, at even distances: classes by their share.
MappedCells mapped(Comparison const& comparison, CellsOfKinds const& set, bool has_labels, std::int64_t most) {
  auto const cells = std::ssize(set.kinds), n = std::min(most, cells);
  auto const rows = (at::arange(n, at::kLong) * cells).div(std::max<std::int64_t>(1, n), "floor");
  auto const features = comparison.space.project(set.cells).index_select(0, rows).to(at::kFloat).contiguous();
  MappedCells some{{features.const_data_ptr<float>(), features.const_data_ptr<float>() + features.numel()}, {}};
  for (std::int64_t i = 0; i < n; ++i)
    some.classes.push_back(has_labels ? set.kinds[index(rows.const_data_ptr<std::int64_t>()[i])] : -1);
  return some;
}

// Real and generated cells in the space in which they were compared, a map for each comparison whose sets are still
// there.
std::string generated_maps(FinishedRun const& run, ReportOptions const& options, std::uint64_t seed) {
  if (run.generation.is_null()) return "";
  constexpr std::size_t most_sets = 5;
  auto const most_cells = std::min<std::int64_t>(options.cells, 1500);
  Atlas const atlas(run.file("atlas.h5ad"));
  auto const kinds = kinds_of(atlas, run.generation.value("columns", std::vector<std::string>{}));
  auto const& comparisons = run.generation.at("comparisons");
  std::string html;
  for (std::size_t c = 0; c < comparisons.size(); ++c) {
    std::optional<Comparison> comparison;
    std::vector<MappedSet> sets;
    for (auto const& [name, file, place] : generated_sets(run.generation)) {
      if (place != c || sets.size() == most_sets || !std::filesystem::exists(file)) continue;
      auto const set = read_generated(file, atlas, kinds);
      FeatureSpaceOptions space;
      space.variable.count = comparisons[c].at("variable_genes");
      space.components = comparisons[c].at("components");
      if (!comparison) comparison = comparison_with(atlas, kinds, rows_of_part(atlas, Part::test), set.terms, space);
      if (comparison->terms == set.terms)
        sets.push_back({name, mapped(*comparison, set.cells, set.terms.is_labelled, most_cells)});
    }
    if (!comparison) continue;
    html += generated_map_section(mapped(*comparison, comparison->real, true, most_cells), sets,
                                  comparison->space.components(),
                                  fmt::format(texts::space_of_comparison, comparison->space.components(),
                                              with_commas(std::ssize(comparison->space.variable().genes))),
                                  kinds.names, seed);
  }
  return html;
}

// What `work` makes of a run's JSON, which another version may have written otherwise.
template <class Work>
std::string told(FinishedRun const& run, char const* file, char const* program, Work const& work) {
  try {
    return work();
  } catch (nlohmann::json::exception const& error) {
    fail(ExitCode::bad_input, "'{}' is not as {} writes it ({}). Run {} again", (run.folder / file).string(), program,
         error.what(), program);
  }
}

std::string html_of_run(FinishedRun const& run, ReportOptions const& options, std::uint64_t seed) {
  auto const generated = told(run, "generation.json", "retort-evaluate-generated", [&] {
    return generated_verdict_section(run) + generation_section(run) + generated_maps(run, options, seed) +
           latents_section(run);
  });
  return told(run, "results.json", "retort-evaluate", [&] {
    auto const pictures = pictures_of(run, options, seed);
    return summary_section(run) + verdict_section(run) + usage_section(run) + generated + classes_section(run) +
           accuracy_section(run) + pictures.map + confusion_section(run) + pictures.expression + audits_section(run) +
           rows_section(run) + names_section(run) + training_section(run) + provenance_section(run);
  });
}

void report(Session& session, ReportOptions const& options) {
  std::vector<std::filesystem::path> folders(options.runs.begin(), options.runs.end());
  if (folders.empty()) folders.push_back(session.folder.path());
  auto const file = session.product(options.page, "report.html");
  std::vector<std::filesystem::path> inputs;
  session.ranks.together([&] {
    if (options.cells < 1)
      fail(ExitCode::usage, "report.cells is {} (a map needs cells). Give a number above 0", options.cells);
    for (auto const& folder : folders)
      for (auto const& one : files_of_page(folder, session.run.base)) inputs.push_back(one);
  });
  if (session.is_done(inputs)) return;
  if (session.dry_run) {
    if (session.ranks.is_root())
      std::printf("runs           %zu\nreal cells     about %s on a map\npage           %s\n", folders.size(),
                  with_commas(options.cells).c_str(), file.c_str());
    return;
  }

  // Pictures are seconds of one rank's work.
  session.ranks.together([&] {
    if (!session.ranks.is_root()) return;
    std::vector<FinishedRun> runs;
    for (auto const& folder : folders) runs.push_back(read_finished_run(folder, session.run.base));
    std::string body, title = "retort:";
    if (runs.size() > 1) body += runs_section(runs);
    for (auto const& run : runs) {
      body += html_of_run(run, options, static_cast<std::uint64_t>(session.run.seed));
      title += " " + run.name;
      for (auto const& part : run.missing) session.say(fmt::format("'{}': left out {}", run.name, part));
    }
    write_text(file, page(title, body));
  });
  session.say(fmt::format("report: {}", file.string()));
  session.set_done({file});
}

}  // namespace

int main(int argc, char** argv) {
  ReportOptions options;
  OptionTable table = program_table("report", "one self-contained HTML page with pictures of a finished run");
  add_report_options(table, options);
  table.without_effect("run.shards");
  return run_program(argc, argv, table, [&](Session& session) { report(session, options); });
}
