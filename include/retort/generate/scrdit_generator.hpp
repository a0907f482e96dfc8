// What is kept of a trained scRDiT: its noise predictor with all that drawing cells needs.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "retort/models/scrdit_network.hpp"
#include "retort/models/zero_negation.hpp"

namespace retort {

// How log-normalised expression [n, genes] is shown to the network, and back.
struct ScrditValues {
  double zero_value = scrdit_negated_zero;  // what zeros become
  std::vector<double> mean{};  // of each gene, taken off after that; none: the paper's code leaves values as they are
  double scale = 1;            // and what all are divided by

  // Throws Failure(usage) where zero_value is above 0.
  at::Tensor shown(at::Tensor const& expression) const;
  // What is below 0 is 0.
  at::Tensor expression(at::Tensor const& samples) const;
};

struct ScrditGenerator {
  ScrditNetwork network;
  std::vector<std::string> gene_names;  // those it draws, in its order
  ScrditValues values;
  std::string label;  // column and classes of the cells it was trained on; none: all cells
  std::vector<std::string> classes;
  std::string atlas;  // identity of those cells

  std::int64_t genes() const { return std::ssize(gene_names); }
  // "transformer", "unet".
  std::string network_name() const;

  // scrdit.safetensors and config.json. Not collective. Throws Failure(cannot_write); Failure(missing_input,
  // bad_input).
  void save(std::filesystem::path const& folder) const;
  static ScrditGenerator load(std::filesystem::path const& folder);
};

}  // namespace retort
