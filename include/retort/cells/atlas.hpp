// Reading an atlas: the narrow h5ad that ingest writes (docs/formats.md), by rows, without HDF5 on the way.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "retort/cells/csr_block.hpp"

namespace retort {

// A categorical obs column: names[codes[i]] is the label of row i; every code is valid in a label column of an atlas.
struct Labels {
  std::string column;
  std::vector<std::string> names;
  std::vector<std::int32_t> codes;
  std::int64_t classes() const { return static_cast<std::int64_t>(names.size()); }
};

// Which part of the data a row belongs to. held_out is the part of train on which choices are made (learning rates,
// iterations, which set is exported); models see fit alone, so test and held_out cells change no weight.
enum class Part : std::uint8_t { fit = 0, held_out = 1, test = 2 };

// Names a list of genes in its order; models keep it and refuse another one.
std::string hash_of_genes(std::vector<std::string> const& names);

// Opening reads the small parts (names, obs, split) and checks them; rows are read with pread at the data sets' offsets
// when they are contiguous (the default), else through HDF5. Not collective: every rank opens it by itself.
class Atlas {
 public:
  // Throws Failure(missing_input) or Failure(bad_input) naming file, data set, row and value.
  explicit Atlas(std::filesystem::path const& file);
  ~Atlas();
  Atlas(Atlas&&) noexcept;

  std::filesystem::path const& file() const;
  std::int64_t cells() const;
  std::int64_t genes() const;
  std::int64_t nonzeros() const;
  std::vector<std::string> const& gene_names() const;
  // Hash of the gene names in order; models keep it and refuse another vocabulary.
  std::string vocabulary_hash() const;
  // Names these cells in this order with this split and these genes: what is made of an atlas keeps it, and is refused
  // beside another one.
  std::string identity() const;
  // False where the input had log values only: X is float32 log-normalised already, and models of counts refuse it.
  bool holds_counts() const;

  // The label column; empty name means the one that ingest was told (uns/retort/label). Throws Failure(bad_input) that
  // lists the columns there are.
  Labels labels(std::string const& column = "") const;
  // One a row.
  std::vector<Part> const& parts() const;
  // Row of each cell in the input files, in their order.
  std::vector<std::int64_t> const& source_rows() const;

  // Whether reads go past HDF5, which is not safe from several threads: both arrays contiguous.
  bool reads_from_threads() const;
  // Rows as stored (counts, or log values where holds_counts() is false).
  CsrBlock read(std::int64_t begin, std::int64_t end) const;
  // Any rows, in the order given; neighbouring rows are read together.
  CsrBlock read(std::span<std::int64_t const> rows) const;
  // The same, log-normalised to 1e4 a cell (rows of log values are left as they are).
  CsrBlock read_log(std::int64_t begin, std::int64_t end) const;
  CsrBlock read_log(std::span<std::int64_t const> rows) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace retort
