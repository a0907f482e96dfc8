#include "retort/ingest/ingest_scan.hpp"

#include <algorithm>
#include <numeric>

#include "retort/run/error.hpp"

namespace retort {

namespace {

void require_one_kind(std::vector<IngestSource> const& sources) {
  for (auto const& source : sources)
    if (source.choice().kind != sources[0].choice().kind)
      fail(ExitCode::bad_input,
           "'{}' holds {} in {}, and '{}' holds {} in {} (an atlas holds one kind). Ingest them apart",
           sources[0].input->name(), name_of(sources[0].choice().kind), sources[0].choice().layer.name,
           source.input->name(), name_of(source.choice().kind), source.choice().layer.name);
}

GeneVocabulary register_all(std::vector<IngestSource> const& sources, IngestOptions const& options) {
  std::vector<std::vector<std::string>> genes;
  std::vector<std::filesystem::path> files;
  for (auto const& source : sources) {
    genes.push_back(source.genes);
    files.emplace_back(source.input->name());
  }
  auto const fixed = options.vocabulary.empty() ? std::vector<std::string>{} : read_vocabulary(options.vocabulary);
  return register_genes(genes, parse_gene_join(options.genes), fixed, files);
}

// One attempt at all files; false where another layer of one must be taken.
bool scan_all(Communicator const& ranks, std::vector<IngestSource>& sources, IngestOptions const& options,
              std::vector<std::uint8_t> const& wanted, MemoryPlan const& plan,
              std::function<void(std::int64_t)> const& tick, ScannedSources& out) {
  ranks.together([&] {
    require_one_kind(sources);
    out.vocabulary = register_all(sources, options);
  });
  out.kind = sources[0].choice().kind;
  out.scans.clear();
  out.gene_cells.assign(out.vocabulary.names.size(), 0);
  std::int64_t room = plan.kept;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    auto& source = sources[i];
    RowRange const share = source.matrix->share();
    auto const first = wanted.begin() + source.first_row + share.begin;
    RowScan::Rules const rules{out.kind, static_cast<std::int64_t>(out.vocabulary.names.size()), options.min_counts,
                               plan.piece_entries};
    auto& scan = *out.scans.emplace_back(std::make_unique<RowScan>(
        *source.matrix, out.vocabulary.maps[i], rules, std::vector<std::uint8_t>(first, first + share.size())));
    ranks.together([&] { scan.run(room, out.gene_cells, tick); });
    if (next_attempt_where_faulty(ranks, source, scan.fault())) {
      out.scans.clear();
      open_matrix(ranks, source, options, plan.csc_window);
      return false;
    }
  }
  return true;
}

}  // namespace

ScannedSources scan_sources(Communicator const& ranks, std::vector<IngestSource>& sources, IngestOptions const& options,
                            std::vector<std::uint8_t> const& wanted, MemoryPlan const& plan,
                            std::function<void(std::int64_t)> const& tick) {
  ScannedSources out;
  while (!scan_all(ranks, sources, options, wanted, plan, tick, out)) {
  }
  for (auto const& scan : out.scans) {
    auto const kept = ranks.gather(std::span<std::uint8_t const>(scan->kept()));  // shares lie in rank order
    out.kept.insert(out.kept.end(), kept.begin(), kept.end());
    out.too_few += scan->too_few();
    out.largest = std::max(out.largest, scan->largest());
  }
  out.too_few = ranks.sum(out.too_few);
  out.largest = ranks.max(out.largest);
  ranks.sum(std::span(out.gene_cells));

  std::int64_t const least = options.vocabulary.empty() ? options.min_cells : 0;
  for (std::size_t gene = 0; gene < out.gene_cells.size(); ++gene) {
    bool const stays = out.gene_cells[gene] >= least;
    out.gene_to.push_back(stays ? static_cast<std::int32_t>(out.genes.size()) : -1);
    if (!stays) continue;
    out.genes.push_back(out.vocabulary.names[gene]);
    out.entries += out.gene_cells[gene];
  }
  ranks.together([&] {
    if (std::find(out.kept.begin(), out.kept.end(), std::uint8_t{1}) == out.kept.end())
      fail(ExitCode::bad_input,
           "no cell is left of {} ({} have fewer than {} counts, {} have no label). Check ingest.layer, ingest.label "
           "and ingest.min_counts",
           wanted.size(), out.too_few, options.min_counts, std::count(wanted.begin(), wanted.end(), std::uint8_t{0}));
    if (out.genes.empty() || out.entries == 0)
      fail(ExitCode::bad_input,
           "no gene is left of {} (none is seen in {} cells). Check ingest.layer and ingest.min_cells",
           out.vocabulary.names.size(), std::max<std::int64_t>(1, least));
  });
  return out;
}

}  // namespace retort
