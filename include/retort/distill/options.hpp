// Section [distill].
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "retort/models/head_training.hpp"
#include "retort/run/option_table.hpp"

namespace retort {

struct DistillOptions {
  std::string atlas, features, foundation, generator;  // inputs; empty: those of the run folder
  std::string label;
  std::vector<std::string> variants{"scdd"};
  std::vector<std::string> matchings{"dm", "dc", "head"};
  std::vector<std::int64_t> spc{1, 10};
  std::int64_t draws = 1;
  std::int64_t initial_cells = 0;
  bool grow = true;
  std::string optimiser = "adam";
  double momentum = 0.5;
  std::vector<double> rates{0.003, 0.03, 0.1};
  std::int64_t iterations = 100;
  std::vector<std::int64_t> score_steps{0, 10, 30, 100};
  std::int64_t score_heads = 3;
  bool choose_each_draw = false;
  std::string metric = "rows";
  std::string heads = "shared", encoder = "frozen";
  std::int64_t outer_steps = 0, inner_epochs = 0;
  std::int64_t head_steps = 150, gene_cells = 4096;
  std::int64_t real_cells = 0;
  std::int64_t chunk_cells = 32;
  bool renormalise = false;

  bool student_expert() const { return heads == "student_expert"; }
  bool encoder_unfrozen() const { return encoder == "unfrozen"; }
};
void add_distill_options(OptionTable& table, DistillOptions& options);

// The iterations at which a set is scored: rising, none past the last, which is one of them.
std::vector<std::int64_t> score_steps_of(DistillOptions const& options);
// Gradient matching's loops (DC's get_loops; for 2 to 9 cells a class, which it leaves out, outer_steps is spc).
struct InnerLoop {
  std::int64_t outer_steps = 1, inner_epochs = 1;
};
InnerLoop inner_loop(DistillOptions const& options, std::int64_t spc);
// What is matched for a variant: `matchings`, or none.
std::vector<std::string> matchings_of(std::string const& variant, DistillOptions const& options);
// Real cells whose mean a synthetic cell starts from: `initial_cells`, or one for a single cell a class and 16 for
// more.
std::int64_t initial_cells_of(DistillOptions const& options, std::int64_t spc);
// Throws Failure(usage) for values that cannot be meant.
void check_distill_options(DistillOptions const& options, HeadOptions const& head);

}  // namespace retort
