#include "retort/ingest/ingest_summary.hpp"

#include <fmt/ranges.h>

#include <algorithm>

#include "retort/run/progress.hpp"

namespace retort {

IngestSummary summarise(std::vector<IngestSource> const& sources, ScannedSources const& scanned,
                        IngestOptions const& options) {
  IngestSummary summary;
  summary.kind = scanned.kind;
  summary.fixed_vocabulary = !options.vocabulary.empty();
  if (!options.label.empty()) summary.label = options.label.front();
  summary.labels = fmt::format("{}", fmt::join(options.label, "' or '"));
  summary.too_few = scanned.too_few;
  summary.cells_read = static_cast<std::int64_t>(scanned.kept.size());
  summary.cells = std::count(scanned.kept.begin(), scanned.kept.end(), std::uint8_t{1});
  summary.without_label = summary.cells_read - summary.cells - summary.too_few;
  summary.genes_registered = static_cast<std::int64_t>(scanned.vocabulary.names.size());
  summary.genes = static_cast<std::int64_t>(scanned.genes.size());
  summary.nonzeros = scanned.entries;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    auto const& source = sources[i];
    auto const& map = scanned.vocabulary.maps[i];
    summary.genes_read = std::max(summary.genes_read, static_cast<std::int64_t>(source.genes.size()));
    summary.files.push_back({source.input->name(), source.choice().layer.name, source.matrix->storage_name(),
                             source.remark, source.input->cells(), static_cast<std::int64_t>(source.genes.size()),
                             map.duplicates, map.dropped});
  }
  return summary;
}

std::string IngestSummary::table() const {
  std::string text;
  for (auto const& file : files) {
    text += fmt::format("{}: {} cells x {} genes, {}, {}", file.name, with_commas(file.cells), with_commas(file.genes),
                        file.layer, file.storage);
    if (file.duplicates)
      text += fmt::format(", {} genes summed into others of their symbol", with_commas(file.duplicates));
    if (file.unregistered) text += fmt::format(", {} genes not in the atlas", with_commas(file.unregistered));
    text += "\n";
    if (!file.remark.empty()) text += fmt::format("  {} was taken, because {}\n", file.layer, file.remark);
  }
  if (kind == ValueKind::log)
    text += "values are log values: kept as float32, not normalised again; models of counts refuse them\n";
  if (kind == ValueKind::real) text += "values are not whole: kept as float32 as they are\n";
  auto const row = [&](char const* what, std::int64_t count, std::string const& why = "") {
    text += fmt::format("{:<28}{:>16}{}{}\n", what, with_commas(count), why.empty() ? "" : "  ", why);
  };
  row("cells read", cells_read);
  if (without_label) row("  dropped", without_label, fmt::format("no label in '{}'", labels));
  if (too_few) row("  dropped", too_few, "too few counts");
  row("cells kept", cells);
  row("genes registered", genes_registered, fixed_vocabulary ? "the vocabulary's" : "");
  if (genes < genes_registered) row("  dropped", genes_registered - genes, "seen in too few cells");
  row("genes kept", genes);
  row("non-zeros", nonzeros,
      fmt::format("{:.1f} per cell",
                  static_cast<double>(nonzeros) / static_cast<double>(std::max<std::int64_t>(1, cells))));
  row("bytes per non-zero", value_bytes + index_bytes, fmt::format("{} values, {} indices", value_type, index_type));
  std::size_t width = 12;
  for (auto const& name : classes) width = std::max(width, name.size());
  text += fmt::format("{:<{}}  {:>12}{:>12}{:>12}{:>12}\n", label.empty() ? "part" : label, width, "cells", "fit",
                      "held out", "test");
  std::vector<std::int64_t> all(3, 0);
  auto const line = [&](std::string const& name, std::vector<std::int64_t> const& counts) {
    text +=
        fmt::format("{:<{}}  {:>12}{:>12}{:>12}{:>12}\n", name, width, with_commas(counts[0] + counts[1] + counts[2]),
                    with_commas(counts[0]), with_commas(counts[1]), with_commas(counts[2]));
  };
  for (std::size_t c = 0; c < classes.size(); ++c) {
    for (std::size_t part = 0; part < 3; ++part) all[part] += cells_of[c][part];
    if (!label.empty()) line(classes[c], cells_of[c]);
  }
  line("all", all);
  return text;
}

nlohmann::json IngestSummary::json() const {
  nlohmann::json inputs = nlohmann::json::array(), parts = nlohmann::json::array();
  for (auto const& file : files)
    inputs.push_back({{"file", file.name},
                      {"layer", file.layer},
                      {"storage", file.storage},
                      {"remark", file.remark},
                      {"cells", file.cells},
                      {"genes", file.genes},
                      {"duplicate_genes", file.duplicates},
                      {"genes_not_in_atlas", file.unregistered}});
  for (std::size_t c = 0; c < classes.size(); ++c)
    parts.push_back(
        {{"class", classes[c]}, {"fit", cells_of[c][0]}, {"held_out", cells_of[c][1]}, {"test", cells_of[c][2]}});
  return {
      {"files", inputs},
      {"values", name_of(kind)},
      {"holds_counts", kind != ValueKind::log},
      {"cells",
       {{"read", cells_read},
        {"dropped_without_label", without_label},
        {"dropped_few_counts", too_few},
        {"kept", cells}}},
      {"genes", {{"registered", genes_registered}, {"dropped_few_cells", genes_registered - genes}, {"kept", genes}}},
      {"nonzeros", nonzeros},
      {"value_type", value_type},
      {"index_type", index_type},
      {"bytes_a_nonzero", value_bytes + index_bytes},
      {"label", label},
      {"classes", parts}};
}

}  // namespace retort
