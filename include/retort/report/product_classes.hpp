// What the run's product came to in each class: what verdict and class table are made of.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "retort/report/finished_run.hpp"

namespace retort {

// A class is worth a look where its recall, in per cent, falls by more than this against all train cells.
constexpr double points_that_matter = 5;

// Recalls are per cent, means over draws and heads; areas lie in 0 ... 1; NaN, or -1 cells, where the run does not say.
struct ProductClass {
  std::string name;
  std::int64_t train_cells = -1, test_cells = -1;
  double recall_of_all = 0, recall_of_random = 0, recall = 0;
  double membership_area = 0,
         expression_area = 0;  // attacks by set and encoder (the higher of two), and by the set's cells alone
  double markers = 0;          // share of the set's 50 genes of highest fold change among the real cells' 50 best

  double lost() const { return recall_of_all - recall; }
};

// results.json's classes in its order; empty where there is no product among its rows, or no recall. Not collective.
std::vector<ProductClass> product_classes(FinishedRun const& run);

// The entry of results.json's "audits" about sets of the product's kind (their first draw); null where there is none.
nlohmann::json audit_of_product(FinishedRun const& run);

}  // namespace retort
