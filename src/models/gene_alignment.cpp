#include "retort/models/gene_alignment.hpp"

#include <algorithm>
#include <utility>

#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {

AlignedReader::AlignedReader(Atlas const& atlas, std::vector<std::string> const& model_genes, double least_share)
    : atlas_(atlas),
      model_genes_(static_cast<std::int64_t>(model_genes.size())),
      same_(atlas.gene_names() == model_genes) {
  if (same_) {
    map_.found = model_genes_;
    return;
  }
  if (!atlas.holds_counts())
    fail(ExitCode::bad_input,
         "'{}' has no counts, only log values over its own genes, and the model has other genes (cells are normalised "
         "over the model's). Ingest a file with counts, or train a model on this atlas",
         atlas.file().string());
  map_ = register_genes({atlas.gene_names()}, GeneJoin::intersection, model_genes, {atlas.file()}).maps.front();
  if (static_cast<double>(map_.found) < least_share * static_cast<double>(model_genes_)) {
    fail(ExitCode::bad_input,
         "'{}' has {} of the model's {} genes (below {:.0f} %, features would mean nothing). Use the atlas that the "
         "model was trained on, or a model of its genes",
         atlas.file().string(), map_.found, model_genes_, 100 * least_share);
  }
}

CsrBlock AlignedReader::read(std::int64_t begin, std::int64_t end) const {
  return same_ ? atlas_.read_log(begin, end) : aligned(atlas_.read(begin, end));
}

CsrBlock AlignedReader::read(std::span<std::int64_t const> rows) const {
  return same_ ? atlas_.read_log(rows) : aligned(atlas_.read(rows));
}

CsrBlock AlignedReader::aligned(CsrBlock const& cells) const {
  auto registered = align_genes(cells, map_, model_genes_);
  log_normalise(registered);
  return registered;
}

CsrBlock align_genes(CsrBlock const& cells, GeneMap const& map, std::int64_t genes) {
  CsrBlock out;
  out.genes = genes;
  std::vector<std::pair<std::int32_t, float>> row;
  for (std::int64_t i = 0; i < cells.rows(); ++i) {
    row.clear();
    for (auto k = index(cells.indptr[index(i)]); k < index(cells.indptr[index(i) + 1]); ++k) {
      auto const to = map.to[index(cells.indices[k])];
      if (to >= 0) row.emplace_back(to, cells.values[k]);
    }
    if (!map.rises)
      std::stable_sort(row.begin(), row.end(), [](auto const& a, auto const& b) { return a.first < b.first; });
    for (auto const& [gene, value] : row) {
      if (static_cast<std::int64_t>(out.indices.size()) > out.indptr.back() && out.indices.back() == gene) {
        out.values.back() += value;
      } else {
        out.indices.push_back(gene);
        out.values.push_back(value);
      }
    }
    out.indptr.push_back(static_cast<std::int64_t>(out.indices.size()));
  }
  return out;
}

}  // namespace retort
