// Cells of one gene list for a model of another (SCimilarity's align_dataset; methods 1.2.3).
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "retort/cells/atlas.hpp"
#include "retort/cells/csr_block.hpp"
#include "retort/cells/gene_vocabulary.hpp"

namespace retort {

// Reads an atlas's rows, log-normalised, in the order of a model's genes: by symbol, a missing gene is zero, a gene
// that the model does not know is dropped. Counts are normalised to 1e4 after the alignment, as SCimilarity does. Log
// values are taken as they are where the genes are the same.
class AlignedReader {
 public:
  // Throws Failure(bad_input) when fewer than `least_share` of the model's genes are in the atlas, or genes differ and
  // the atlas has no counts.
  AlignedReader(Atlas const& atlas, std::vector<std::string> const& model_genes, double least_share = 0.1);

  // Whether both lists are the same, so that nothing is rearranged.
  bool same_genes() const { return same_; }
  // Genes of the model that the atlas has.
  std::int64_t shared_genes() const { return map_.found; }

  // Rows [begin, end), [end - begin, genes of the model].
  CsrBlock read(std::int64_t begin, std::int64_t end) const;
  // Any rows, in the order given.
  CsrBlock read(std::span<std::int64_t const> rows) const;

 private:
  CsrBlock aligned(CsrBlock const& cells) const;

  Atlas const& atlas_;
  std::int64_t model_genes_;
  bool same_;
  GeneMap map_;
};

// The block with genes renamed by `map`: what maps to -1 is left out, what maps to one gene is summed; indices rise.
CsrBlock align_genes(CsrBlock const& cells, GeneMap const& map, std::int64_t genes);

}  // namespace retort
