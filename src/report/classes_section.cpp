#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "retort/report/html.hpp"
#include "retort/report/product_classes.hpp"
#include "retort/report/sections.hpp"
#include "retort/report/texts.hpp"
#include "retort/run/progress.hpp"

namespace retort {
namespace {

std::string text_of(std::int64_t cells) { return cells < 0 ? "–" : with_commas(cells); }

}  // namespace

std::string classes_section(FinishedRun const& run) {
  auto const classes = product_classes(run);
  if (classes.empty()) return "";
  std::vector<std::size_t> order(classes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  auto const lost = [&](std::size_t c) { return std::isfinite(classes[c].lost()) ? classes[c].lost() : -1e9; };
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return lost(a) > lost(b); });
  Table table{
      {"class", "train cells", "test cells", "recall by distilled (%)", "by all train cells (%)", "by random cells (%)",
       "difference to all (points)", "membership AUC with encoder", "by cells alone", "top 50 genes (%)"},
      {},
      1};
  for (auto const c : order) {
    auto const& one = classes[c];
    double const change = -one.lost();
    table.rows.push_back({(one.lost() > points_that_matter ? "*" : "") + one.name, text_of(one.train_cells),
                          text_of(one.test_cells), fixed(one.recall, 1), fixed(one.recall_of_all, 1),
                          fixed(one.recall_of_random, 1), std::isfinite(change) ? fmt::format("{:+.1f}", change) : "–",
                          fixed(one.membership_area, 2), fixed(one.expression_area, 2), fixed(100 * one.markers, 0)});
  }
  return section(texts::classes.title, fmt::format(texts::classes.caption, points_that_matter), html_of(table));
}

}  // namespace retort
