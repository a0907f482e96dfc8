#include "read_stranger.hpp"

#include <cstdio>
#include <cstdlib>

#include "retort/cells/gene_vocabulary.hpp"
#include "retort/ingest/checked_rows.hpp"
#include "retort/ingest/count_matrix.hpp"
#include "retort/ingest/h5ad_input.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

void hold(bool kept, char const* promise) {
  if (kept) return;
  std::fprintf(stderr, "read_stranger: broken promise: %s\n", promise);
  std::abort();
}

void read_matrix(H5adInput const& input, InputLayer const& layer) {
  auto const names = input.gene_names(layer, "");
  auto const vocabulary = register_genes({names}, GeneJoin::join_union, {}, {input.name()});
  CountMatrix matrix(input, layer, std::ssize(names), 0, 1, 1 << 16);
  RawRows raw;
  CheckedRows rows;
  for (auto row = matrix.share().begin; row < matrix.share().end;) {
    auto const end = matrix.piece_end(row, 1000);
    hold(end > row && end <= matrix.share().end, "pieces go on and end");
    matrix.read(row, end, raw);
    for (auto const kind : {ValueKind::counts, ValueKind::real, ValueKind::log}) {
      if (check_rows(raw, vocabulary.maps[0], kind, matrix.place(), row, rows)) continue;
      hold(rows.rows() == end - row, "as many rows as were asked for");
      for (std::size_t i = 0; i + 1 < rows.indptr.size(); ++i) {
        for (auto k = rows.indptr[i]; k < rows.indptr[i + 1]; ++k) {
          auto const gene = rows.genes[index(k)];
          hold(gene >= 0 && gene < std::ssize(vocabulary.names), "genes of the vocabulary");
          hold(k == rows.indptr[i] || gene > rows.genes[index(k) - 1], "genes rise in a row");
        }
      }
    }
    row = end;
  }
}

}  // namespace

void read_stranger(std::filesystem::path const& file) {
  H5adInput const input(file);
  for (auto const& column : input.columns()) {
    if (column.kind == H5adInput::Kind::other) continue;
    auto const coded = read_column(input, column, input.cells());
    hold(std::ssize(coded.codes) == input.cells(), "a code a cell");
    for (auto const code : coded.codes) hold(code >= -1 && code < std::ssize(coded.categories), "codes of categories");
  }
  for (auto const& layer : input.likely_layers()) read_matrix(input, layer);
}

}  // namespace retort
