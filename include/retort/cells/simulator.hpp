// Cells with known truth: types, batches, conditions and the genes that a condition changes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "retort/cells/split.hpp"
#include "retort/ranks/communicator.hpp"
#include "retort/run/option_table.hpp"

namespace retort {

// Section [simulate].
struct SimulateOptions {
  std::int64_t cells = 10'000, genes = 2'000, types = 10, batches = 4, conditions = 2;
  std::int64_t de_genes = -1;  // a condition; -1: 5 % of the genes
  double interaction = 0;      // share of them that every type has of its own
  std::int64_t nonzeros = 0;   // a cell, on average; 0: 9.5 % of the genes
  double type_share = 0.1, type_sd = 1.0, batch_sd = 0.3, library_sd = 0.4;
  double lfc = 1.0, lfc_sd = 0.3;  // size of a log2 fold change
  double dispersion = 4;           // median theta of the genes
  std::string output, format = "atlas";
};
void add_simulate_options(OptionTable& table, SimulateOptions& options);

// The model. A count is negative binomial with mean library * 2^lfc * (profile of the type) * (effect of the batch) and
// a Fano factor of its own a gene; fold changes are not renormalised, so they are exact. Everything is drawn from
// (seed, purpose::simulate, row or gene), never from the rank.
class Simulator {
 public:
  // Throws Failure(usage) for numbers that make no cells.
  Simulator(SimulateOptions const& options, std::uint64_t seed);
  ~Simulator();

  struct Cell {
    std::int32_t type = 0, batch = 0, condition = 0;
  };
  Cell describe(std::int64_t row) const;
  // Appends the row's genes, which rise, and their counts. Not safe from several threads.
  void draw(std::int64_t row, std::vector<std::uint32_t>& genes, std::vector<std::uint32_t>& counts);

  std::vector<std::string> type_names() const, batch_names() const, condition_names() const;
  // log2 of treated over control, 0 where the condition changes nothing; [genes]. Of all types alike, and of one: there
  // with the genes that the condition changes in this type alone (simulate.interaction), as many in each.
  std::vector<double> log_fold_changes(std::int64_t condition) const;
  std::vector<double> log_fold_changes(std::int64_t condition, std::int64_t type) const;
  // Mean counts of a cell of average library; [genes].
  std::vector<double> means(Cell const& cell) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Collective: writes options.cells cells to `file`, as an atlas (format "atlas", with a split) or as people's files are
// (format "h5ad": float32 values, int32 genes). Two passes over the cells, so that a rank holds one chunk of rows;
// `progress` gets the cells done by this rank and pass, of twice its share. The bytes do not depend on the rank count.
void simulate(Communicator const& ranks, SimulateOptions const& options, std::uint64_t seed,
              std::filesystem::path const& file, std::function<void(std::int64_t)> const& progress = {});

}  // namespace retort
