// retort-ingest: any number of strangers' h5ad files become one narrow atlas, RUN/atlas.h5ad.
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <numeric>

#include "retort/cells/atlas_writer.hpp"
#include "retort/cells/split.hpp"
#include "retort/ingest/ingest_options.hpp"
#include "retort/ingest/ingest_scan.hpp"
#include "retort/ingest/ingest_source.hpp"
#include "retort/ingest/ingest_summary.hpp"
#include "retort/ingest/memory_plan.hpp"
#include "retort/ingest/row_shuffle.hpp"
#include "retort/programs/sections.hpp"
#include "retort/run/index.hpp"
#include "retort/session/session.hpp"

namespace {

using namespace retort;

// The rows of `column` that lie in [share) of the atlas, without the categories that no kept cell has.
AtlasRows::Column take_column(CodedColumn const& column, std::string const& name,
                              std::vector<std::int64_t> const& kept_rows, std::vector<std::int64_t> const& order,
                              RowRange share) {
  std::vector<std::int32_t> place(column.categories.size(), -1);
  for (auto const row : kept_rows)
    if (auto const code = column.codes[index(row)]; code >= 0) place[index(code)] = 0;
  AtlasRows::Column taken{name, {}, {}};
  for (std::size_t i = 0; i < place.size(); ++i) {
    if (place[i] < 0) continue;
    place[i] = static_cast<std::int32_t>(taken.categories.size());
    taken.categories.push_back(column.categories[i]);
  }
  for (std::int64_t p = share.begin; p < share.end; ++p) {
    auto const row = kept_rows[index(order[index(p)])];
    auto const code = column.codes[index(row)];
    taken.codes.push_back(code < 0 ? -1 : place[index(code)]);
  }
  return taken;
}

// Which file each cell came from, as a column.
CodedColumn file_column(std::vector<IngestSource> const& sources) {
  CodedColumn column;
  for (auto const& source : sources) {
    column.categories.push_back(std::filesystem::path(source.input->name()).filename().string());
    column.codes.insert(column.codes.end(), index(source.input->cells()),
                        static_cast<std::int32_t>(column.categories.size()) - 1);
  }
  return column;
}

// The split knows only the first label: a rare class of another may have gone to the other parts, and could not be
// learned.
void require_fit_cells(std::vector<CodedColumn> const& columns, std::vector<std::string> const& names,
                       std::vector<std::int64_t> const& kept_rows, std::vector<Part> const& parts) {
  for (std::size_t c = 1; c < columns.size(); ++c) {
    std::vector<std::int64_t> cells(columns[c].categories.size(), 0), fit(cells);
    for (std::size_t i = 0; i < kept_rows.size(); ++i) {
      auto const code = index(columns[c].codes[index(kept_rows[i])]);
      ++cells[code];
      fit[code] += parts[i] == Part::fit;
    }
    for (std::size_t code = 0; code < fit.size(); ++code)
      if (cells[code] > 0 && fit[code] == 0)
        fail(ExitCode::bad_input,
             "class '{}' of '{}' has {} cells and none to learn from (the split goes by '{}'). Remove its cells, or "
             "put '{}' first in ingest.label",
             columns[c].categories[code], names[c], cells[code], names[0], names[c]);
  }
}

void ingest(Session& session, IngestOptions const& options, CellsOptions const& cells_options) {
  Communicator const& ranks = session.ranks;
  std::int64_t limit = 0;
  ranks.together([&] {
    require_sane(options);
    limit = parse_bytes(cells_options.memory_limit, "cells.memory_limit");
  });
  std::vector<std::filesystem::path> inputs(options.input.begin(), options.input.end());
  if (!options.vocabulary.empty()) inputs.emplace_back(options.vocabulary);
  if (session.is_done(inputs)) return;

  // Open every file; find the layer that holds counts.
  auto sources = open_sources(ranks, options);
  std::vector<CodedColumn> label_columns;
  std::int64_t cells_read = 0;
  ranks.together([&] {
    require_labels(sources, options.label);
    for (auto const& name : options.label) label_columns.push_back(joined_column(sources, name));
    for (auto const& source : sources) cells_read += source.input->cells();
  });
  CodedColumn const labels =
      label_columns.empty() ? CodedColumn{} : label_columns.front();  // the one that the split goes by
  std::vector<std::uint8_t> wanted(index(cells_read), 1);
  for (auto const& column : label_columns)
    for (std::size_t i = 0; i < column.codes.size(); ++i) wanted[i] = wanted[i] && column.codes[i] >= 0;
  choose_layers(ranks, sources, options, std::int64_t{1} << 20);  // enough for the first values

  // Share out the memory of a rank.
  std::int64_t entries = 0;
  bool any_csc = false;
  for (auto const& source : sources) {
    entries += source.matrix->entries();
    any_csc = any_csc || source.matrix->storage() == CountMatrix::Storage::csc;
  }
  MemoryPlan plan;
  ranks.together([&] { plan = plan_memory(limit, cells_read, entries / ranks.size() * 8, any_csc); });
  if (session.dry_run) {
    if (!ranks.is_root()) return;
    for (auto const& source : sources)
      std::printf("read   %s: %s cells x %s genes, %s as %s, %s, %s entries\n", source.input->name().c_str(),
                  with_commas(source.matrix->rows()).c_str(), with_commas(source.matrix->columns()).c_str(),
                  source.choice().layer.name.c_str(), name_of(source.choice().kind).c_str(),
                  source.matrix->storage_name(), with_commas(source.matrix->entries()).c_str());
    auto const shuffle = plan_shuffle(cells_read, entries, 2, 4, plan.waiting, ranks.size());
    std::printf("rows   %s cells, about %s per rank on %d ranks\n", with_commas(cells_read).c_str(),
                with_commas(cells_read / ranks.size()).c_str(), ranks.size());
    std::printf(
        "memory %s bytes per rank at most: %s for the program and the lists of cells, %s entries per piece, %s bytes "
        "kept, %s waiting\n",
        with_commas(limit).c_str(), with_commas(plan.fixed).c_str(), with_commas(plan.piece_entries).c_str(),
        with_commas(plan.kept).c_str(), with_commas(plan.waiting).c_str());
    std::printf("steps  1 pass to check and count, %lld to shuffle, then %s (at most about %s bytes)\n",
                static_cast<long long>(shuffle.windows), session.product("", "atlas.h5ad").c_str(),
                with_commas(entries * (2 + shuffle.value_bytes)).c_str());
    return;
  }
  if (any_csc)  // now with the window that the plan allows
    for (auto& source : sources) open_matrix(ranks, source, options, plan.csc_window);

  // First pass: check every value, count, decide which cells and genes stay.
  std::int64_t own_rows = 0, done = 0;
  for (auto const& source : sources) own_rows += source.matrix->share().size();
  auto reading = session.progress("read", cells_read, "cells");
  auto const ticks_of = [&](Progress& progress) {
    return [&](std::int64_t rows) {
      progress.update(std::min(cells_read, (done += rows) * cells_read / std::max<std::int64_t>(1, own_rows)));
    };
  };
  auto scanned = scan_sources(ranks, sources, options, wanted, plan, ticks_of(reading));
  reading.finish();
  auto summary = summarise(sources, scanned, options);

  // Who trains and who tests; where each kept cell lies.
  auto const seed = static_cast<std::uint64_t>(session.run.seed);
  std::vector<std::int64_t> kept_rows;  // in the order of the inputs
  std::vector<std::int32_t> classes;
  for (std::size_t row = 0; row < scanned.kept.size(); ++row) {
    if (!scanned.kept[row]) continue;
    kept_rows.push_back(static_cast<std::int64_t>(row));
    classes.push_back(labels.codes.empty() ? 0 : labels.codes[row]);
  }
  auto const class_count = std::max<std::int64_t>(1, std::ssize(labels.categories));
  auto const parts = stratified_split(classes, class_count, {options.test_fraction, options.held_out_fraction}, seed);
  auto const order = shuffled_order(std::ssize(kept_rows), seed);
  std::vector<std::int64_t> position(order.size());
  for (std::size_t p = 0; p < order.size(); ++p) position[index(order[p])] = static_cast<std::int64_t>(p);

  std::vector<std::vector<std::int64_t>> cells_of(index(class_count), std::vector<std::int64_t>(3, 0));
  for (std::size_t i = 0; i < classes.size(); ++i) ++cells_of[index(classes[i])][index(parts[i])];
  std::vector<std::string> alone;
  for (std::size_t c = 0; c < cells_of.size(); ++c) {
    auto const& counts = cells_of[c];
    if (counts[0] + counts[1] + counts[2] == 0) continue;
    summary.classes.push_back(labels.categories.empty() ? "" : labels.categories[c]);
    summary.cells_of.push_back(counts);
    if (counts[0] + counts[1] + counts[2] == 1) alone.push_back("'" + summary.classes.back() + "'");
  }
  ranks.together([&] {
    if (!options.label.empty() && alone.size() == summary.classes.size())
      fail(ExitCode::bad_input,
           "column '{}' has {} classes of one cell each (none can be learned and tested). Name another column with "
           "ingest.label",
           options.label.front(), alone.size());
  });
  if (auto const count = alone.size(); count > 0) {
    constexpr std::size_t told = 10;
    if (count > told) {
      alone.resize(told);
      alone.push_back(fmt::format("and {} more", count - told));
    }
    session.say(fmt::format("{} of one cell stay{} in train and {} left out of test: {}",
                            count == 1 ? "a class" : fmt::format("{} classes", count), count == 1 ? "s" : "",
                            count == 1 ? "is" : "are", fmt::join(alone, ", ")));
  }

  ranks.together([&] { require_fit_cells(label_columns, options.label, kept_rows, parts); });

  // Second pass: every row to the rank that writes its place.
  auto const cells = std::ssize(kept_rows);
  int const gene_bytes = scanned.vocabulary.names.size() <= (std::size_t{1} << 16) ? 2 : 4;
  auto shuffle = plan_shuffle(cells, scanned.entries, gene_bytes, value_bytes_for(scanned.largest, scanned.kind),
                              plan.waiting, ranks.size());
  shuffle.windows = ranks.max(shuffle.windows);  // a rank's free memory is its own, the windows are everybody's
  std::vector<ShuffledSource> shuffled;
  auto next_kept = kept_rows.begin();
  for (std::size_t i = 0; i < sources.size(); ++i) {
    RowRange const share = sources[i].matrix->share();
    auto const begin = std::lower_bound(next_kept, kept_rows.end(), sources[i].first_row + share.begin);
    auto const end = std::lower_bound(begin, kept_rows.end(), sources[i].first_row + share.end);
    shuffled.push_back(
        {*scanned.scans[i], std::span(position).subspan(index(begin - kept_rows.begin()), index(end - begin))});
  }
  auto const row_entries = shuffled_row_entries(ranks, shuffle, shuffled, scanned.gene_to);
  RowRange const own = shuffle.share(ranks.rank(), ranks.size());
  AtlasForm form;
  form.cells = cells;
  form.genes = std::ssize(scanned.genes);
  form.whole = scanned.kind == ValueKind::counts;
  form.largest = scanned.largest;
  form.gzip = options.compression == "gzip" ? 4 : 0;
  AtlasWriter writer(ranks, session.product("", "atlas.h5ad"), form, own, row_entries);

  done = 0;
  own_rows = std::accumulate(shuffled.begin(), shuffled.end(), std::int64_t{0},
                             [](std::int64_t sum, auto const& source) { return sum + std::ssize(source.positions); });
  auto writing = session.progress("shuffle and write", cells_read, "cells");
  std::vector<std::uint32_t> genes, values;
  auto const write = [&](RowRange rows, ArrivedRows const& arrived) {
    for (std::int64_t row = rows.begin; row < rows.end; ++row) {
      arrived.append_to(row, genes, values);
      if (std::ssize(genes) < plan.piece_entries && row + 1 < rows.end) continue;
      writer.append(genes, values);
      genes.clear();
      values.clear();
    }
  };
  shuffle_rows(ranks, shuffle, shuffled, scanned.gene_to, write, ticks_of(writing));
  writing.finish();

  // Columns of obs, one after the other; then the names.
  AtlasRows rows;
  ranks.together([&] {
    for (std::int64_t p = own.begin; p < own.end; ++p) {
      auto const cell = index(order[index(p)]);
      rows.source_rows.push_back(kept_rows[cell]);
      rows.parts.push_back(parts[cell]);
    }
    for (auto const& name : kept_columns(sources, options.label)) {
      if (name == "split" || name == "held_out" || name == "source_row" || name == "source_file") continue;  // ours
      rows.columns.push_back(take_column(joined_column(sources, name), name, kept_rows, order, own));
    }
    if (sources.size() > 1)
      rows.columns.push_back(take_column(file_column(sources), "source_file", kept_rows, order, own));
  });
  AtlasNotes notes;
  notes.holds_counts = scanned.kind != ValueKind::log;
  notes.label = summary.label;
  notes.shuffle_seed = session.run.seed;
  summary.value_bytes = value_bytes_for(scanned.largest, scanned.kind);
  summary.value_type = scanned.kind != ValueKind::counts ? "float32" : fmt::format("uint{}", 8 * summary.value_bytes);
  summary.index_bytes = form.genes <= 256 ? 1 : form.genes <= 65536 ? 2 : 4;
  summary.index_type = fmt::format("uint{}", 8 * summary.index_bytes);
  auto told = summary.json();
  for (auto& input : told["files"])
    input.erase("remark");  // quotes the first fault that was met, which depends on the ranks
  notes.details = {{"ingest", told}};
  writer.finish(rows, {scanned.genes, {}}, notes);

  ranks.together([&] {
    if (!ranks.is_root()) return;
    write_text(session.folder.own() / "summary.json", json_text(summary.json(), 2) + "\n");
    std::fputs(summary.table().c_str(), stdout);
  });
  session.set_done({session.product("", "atlas.h5ad")});
}

}  // namespace

int main(int argc, char** argv) {
  IngestOptions options;
  CellsOptions cells;
  OptionTable table = program_table("ingest", "makes one narrow, shuffled and split atlas of any number of h5ad files");
  add_ingest_options(table, options);
  add_cells_options(table, cells);
  table.without_effect("run.shards");
  return run_program(argc, argv, table, [&](Session& session) { ingest(session, options, cells); });
}
