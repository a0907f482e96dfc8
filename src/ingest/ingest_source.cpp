#include "retort/ingest/ingest_source.hpp"

#include <fmt/ranges.h>

#include <algorithm>
#include <unordered_map>

#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {

namespace {

std::string described(IngestSource const& source, ValueFault const& fault) {
  auto const gene = index(fault.column);
  return fmt::format("'{}' {} has {} in row {} (gene '{}'), which {}", source.input->name(), source.choice().layer.name,
                     fault.value, fault.row, gene < source.genes.size() ? source.genes[gene] : "?", fault.problem);
}

// Whether the first rows of this rank's share are what the attempt takes them for.
std::optional<ValueFault> first_fault(IngestSource& source) {
  constexpr std::int64_t looked_at = 1 << 16;  // entries
  RowRange const share = source.matrix->share();
  if (share.size() == 0) return std::nullopt;
  RawRows raw;
  source.matrix->read(share.begin, source.matrix->piece_end(share.begin, looked_at), raw);
  GeneMap none;  // only the values are looked at
  none.to.assign(source.genes.size(), -1);
  CheckedRows ignored;
  return check_rows(raw, none, source.choice().kind, source.matrix->place(), share.begin, ignored);
}

}  // namespace

std::vector<IngestSource> open_sources(Communicator const& ranks, IngestOptions const& options) {
  std::vector<IngestSource> sources(options.input.size());
  ranks.together([&] {
    std::int64_t rows = 0;
    for (std::size_t i = 0; i < sources.size(); ++i) {
      auto& source = sources[i];
      source.input = std::make_unique<H5adInput>(options.input[i]);
      source.first_row = rows;
      rows += source.input->cells();
      auto const layers = options.layer == "auto" ? source.input->likely_layers()
                                                  : std::vector<InputLayer>{source.input->layer(options.layer)};
      for (auto const kind : {ValueKind::counts, ValueKind::log, ValueKind::real})
        for (auto const& layer : layers) source.attempts.push_back({layer, kind});
    }
  });
  return sources;
}

void open_matrix(Communicator const& ranks, IngestSource& source, IngestOptions const& options,
                 std::int64_t csc_window) {
  ranks.together([&] {
    auto const& layer = source.choice().layer;
    source.matrix.reset();
    source.genes = source.input->gene_names(layer, options.gene_column);
    source.matrix = std::make_unique<CountMatrix>(*source.input, layer, static_cast<std::int64_t>(source.genes.size()),
                                                  ranks.rank(), ranks.size(), csc_window);
  });
}

bool next_attempt_where_faulty(Communicator const& ranks, IngestSource& source,
                               std::optional<ValueFault> const& fault) {
  if (ranks.max(fault ? 1 : 0) == 0) return false;
  if (source.attempt == 0 || source.attempt + 1 == source.attempts.size()) {
    // The lowest rank's words, on all ranks.
    auto const texts = ranks.gather(fault ? described(source, *fault) : std::string());
    auto const first = std::find_if(texts.begin(), texts.end(), [](auto const& text) { return !text.empty(); });
    if (source.attempt == 0) source.remark = *first;
    if (source.attempt + 1 == source.attempts.size())
      ranks.together([&] {
        fail(ExitCode::bad_input,
             "{} (expression is finite and not negative). Repair the file, or name another matrix by ingest.layer",
             *first);
      });
  }
  ++source.attempt;
  return true;
}

void choose_layers(Communicator const& ranks, std::vector<IngestSource>& sources, IngestOptions const& options,
                   std::int64_t csc_window) {
  for (auto& source : sources) {
    std::optional<ValueFault> fault;
    do {
      open_matrix(ranks, source, options, csc_window);
      ranks.together([&] { fault = first_fault(source); });
    } while (next_attempt_where_faulty(ranks, source, fault));
  }
}

CodedColumn joined_column(std::vector<IngestSource> const& sources, std::string const& name) {
  CodedColumn joined;
  std::unordered_map<std::string, std::int32_t> places;
  for (auto const& source : sources) {
    auto const* column = source.input->column(name);
    if (!column || column->kind == H5adInput::Kind::other) {
      joined.codes.resize(joined.codes.size() + index(source.input->cells()), -1);
      continue;
    }
    CodedColumn const own = read_column(*source.input, *column, source.input->cells());
    std::vector<std::int32_t> to;
    for (auto const& category : own.categories) {
      auto const [place, fresh] = places.try_emplace(category, static_cast<std::int32_t>(joined.categories.size()));
      if (fresh) joined.categories.push_back(category);
      to.push_back(place->second);
    }
    for (auto const code : own.codes) joined.codes.push_back(code < 0 ? -1 : to[index(code)]);
  }
  return joined;
}

void require_labels(std::vector<IngestSource> const& sources, std::vector<std::string> const& labels) {
  for (auto const& label : labels)
    for (auto const& source : sources) {
      auto const* column = source.input->column(label);
      if (column && column->kind != H5adInput::Kind::other) continue;
      std::vector<std::string> names;
      for (auto const& each : source.input->columns())
        if (each.kind != H5adInput::Kind::other) names.push_back(each.name);
      fail(ExitCode::bad_input, "'{}' has no {} '{}' in obs (it has {}). Set ingest.label to one of them",
           source.input->name(), column ? "classes but other values in column" : "label column", label,
           names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", ")));
    }
}

std::vector<std::string> kept_columns(std::vector<IngestSource> const& sources,
                                      std::vector<std::string> const& labels) {
  using Kind = H5adInput::Kind;
  std::vector<std::string> kept;
  for (auto const& source : sources)
    for (auto const& column : source.input->columns()) {
      bool const text =
          column.kind == Kind::categorical || column.kind == Kind::coded_records || column.kind == Kind::strings;
      bool const is_label = std::find(labels.begin(), labels.end(), column.name) != labels.end();
      if ((text || is_label) && std::find(kept.begin(), kept.end(), column.name) == kept.end())
        kept.push_back(column.name);
    }
  return kept;
}

}  // namespace retort
