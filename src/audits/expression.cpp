#include "retort/audits/expression.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>

#include "retort/ranks/share.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

constexpr std::int64_t rows_of_a_read = 4096;

std::vector<std::int64_t> cells_of_classes(std::span<std::int32_t const> labels, std::int64_t classes) {
  std::vector<std::int64_t> cells(index(classes));
  for (auto const label : labels) ++cells[index(label)];
  return cells;
}

// Values on their way to the rank that has the gene.
struct Values {
  std::vector<std::vector<std::int32_t>> genes;
  std::vector<std::vector<std::uint64_t>> values;
};

// Adds this rank's genes, [first, first + count), of the values that arrived.
void add_genes(GeneStatistics& statistics, std::vector<std::int32_t> const& genes,
               std::vector<std::uint64_t> const& values, std::int64_t first, std::int64_t count) {
  std::vector<std::size_t> begin(index(count) + 1), next;
  auto const place = [&](std::int32_t gene) { return index(gene - first); };
  for (auto const gene : genes) ++begin[place(gene) + 1];
  for (std::size_t g = 1; g < begin.size(); ++g) begin[g] += begin[g - 1];
  next = begin;
  std::vector<std::uint64_t> by_gene(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) by_gene[next[place(genes[i])]++] = values[i];
  for (std::size_t g = 0; g + 1 < begin.size(); ++g)
    statistics.add_gene(std::span(by_gene).subspan(begin[g], begin[g + 1] - begin[g]));
}

}  // namespace

Expression expression_of(Communicator const& ranks, ReadChosenRows const& read, std::span<std::int64_t const> rows,
                         std::vector<std::int32_t> labels, std::int64_t classes, std::int64_t genes,
                         std::int64_t most_values) {
  auto const cells = std::ssize(rows);
  auto const size = index(ranks.size());
  auto const own_rows = share_of(cells, ranks.rank(), ranks.size());
  Expression result{
      GeneStatistics(cells_of_classes(labels, classes)), std::numeric_limits<float>::infinity(), {}, std::move(labels)};
  std::vector<std::int32_t> detected(index(own_rows.size()));
  std::int64_t const step = std::max<std::int64_t>(1, most_values * ranks.size() / std::max<std::int64_t>(cells, 1));
  for (std::int64_t first = 0; first < genes; first += step) {
    auto const count = std::min(step, genes - first);
    std::vector<std::size_t> owner(index(count));
    for (int rank = 0; rank < ranks.size(); ++rank) {
      auto const share = share_of(count, rank, ranks.size());
      std::fill(owner.begin() + share.begin, owner.begin() + share.end, index(rank));
    }
    Values sent{std::vector<std::vector<std::int32_t>>(size), std::vector<std::vector<std::uint64_t>>(size)};
    ranks.together([&] {
      for (auto begin = own_rows.begin; begin < own_rows.end; begin += rows_of_a_read) {
        auto const block = read(rows.subspan(index(begin), index(std::min(rows_of_a_read, own_rows.end - begin))));
        for (std::int64_t i = 0; i < block.rows(); ++i) {
          auto const row = index(begin + i);
          for (auto k = index(block.indptr[index(i)]); k < index(block.indptr[index(i) + 1]); ++k) {
            auto const gene = block.indices[k];
            if (gene < first || gene >= first + count || block.values[k] == 0) continue;
            auto const to = owner[index(gene - first)];
            sent.genes[to].push_back(gene);
            sent.values[to].push_back(classed_value(block.values[k], result.labels[row]));
            result.smallest = std::min(result.smallest, block.values[k]);
            ++detected[row - index(own_rows.begin)];
          }
        }
      }
    });
    auto const own_genes = share_of(count, ranks.rank(), ranks.size());
    auto const arrived_genes = ranks.exchange(sent.genes);
    auto const arrived_values = ranks.exchange(sent.values);
    sent = {};
    GeneStatistics part(result.genes.cells);
    add_genes(part, arrived_genes, arrived_values, first + own_genes.begin, own_genes.size());
    for (auto const statistic :
         {&GeneStatistics::nonzeros, &GeneStatistics::sum, &GeneStatistics::squares, &GeneStatistics::score}) {
      auto const all = ranks.gather(std::span<double const>(part.*statistic));
      (result.genes.*statistic).insert((result.genes.*statistic).end(), all.begin(), all.end());
    }
  }
  result.smallest = ranks.min(result.smallest);
  result.detected = ranks.gather(std::span<std::int32_t const>(detected));
  return result;
}

Expression expression_of(DistilledSet const& set, std::int64_t classes) {
  auto const cells = set.cells.contiguous(), given = set.labels.contiguous();
  auto const n = cells.size(0), genes = cells.size(1);
  float const* const value = cells.const_data_ptr<float>();
  std::vector<std::int32_t> labels(given.const_data_ptr<std::int64_t>(), given.const_data_ptr<std::int64_t>() + n);
  Expression result{GeneStatistics(cells_of_classes(labels, classes)), std::numeric_limits<float>::infinity(),
                    std::vector<std::int32_t>(index(n)), labels};
  std::vector<std::uint64_t> values;
  for (std::int64_t gene = 0; gene < genes; ++gene) {
    values.clear();
    for (std::int64_t i = 0; i < n; ++i) {
      float const x = value[i * genes + gene];
      if (x == 0) continue;
      values.push_back(classed_value(x, labels[index(i)]));
      result.smallest = std::min(result.smallest, x);
      ++result.detected[index(i)];
    }
    result.genes.add_gene(values);
  }
  return result;
}

}  // namespace retort
