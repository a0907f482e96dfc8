#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <sstream>

#include "retort/report/html.hpp"
#include "retort/report/palette.hpp"
#include "retort/report/plot.hpp"
#include "retort/report/sections.hpp"
#include "retort/report/texts.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

// At most `most` points, each the mean of its neighbours: a page needs no 20,000.
std::vector<PlotPoint> thinned(std::vector<double> const& x, std::vector<double> const& y, std::size_t most) {
  std::size_t const each = std::max<std::size_t>(1, (x.size() + most - 1) / most);
  std::vector<PlotPoint> points;
  for (std::size_t begin = 0; begin < x.size(); begin += each) {
    std::size_t const end = std::min(x.size(), begin + each);
    double sum = 0;
    for (std::size_t i = begin; i < end; ++i) sum += y[i];
    points.push_back({x[begin], sum / static_cast<double>(end - begin), 0, ""});
  }
  return points;
}

std::string loss_figure(FinishedRun const& run, std::string const& verb, std::string const& title,
                        std::string const& column = "loss") {
  auto const found = run.steps.find(verb);
  if (found == run.steps.end() || !found->second.contains("step") || !found->second.contains(column)) return "";
  auto const& columns = found->second;
  LinePlot plot{.x_label = "step", .y_label = column == "loss" ? "training loss" : column};
  plot.lines.push_back({.colour = colour(0), .points = thinned(columns.at("step"), columns.at(column), 250)});
  auto const svg = svg_of(plot);
  return svg.empty() ? "" : figure(title, svg);
}

// A setting of a stage as its options.ini has it; empty where it is not there.
std::string setting_of(FinishedRun const& run, std::string const& verb, std::string const& key) {
  for (auto const& stage : run.stages) {
    if (stage.verb != verb) continue;
    std::istringstream lines(stage.options);
    for (std::string line; std::getline(lines, line);)
      if (line.starts_with(key + " = ")) return line.substr(key.size() + 3);
  }
  return "";
}

std::string diffusion_title(FinishedRun const& run) {
  auto const model = setting_of(run, "train-diffusion", "model");
  return model == "scldm"                   ? texts::flow_of_latents
         : model == "scdg" || model.empty() ? texts::denoiser_of_features
                                            : fmt::format(texts::other_diffusion, model);
}

// The recipe of a set: its name without the draw.
std::string recipe_of(std::string const& set) { return set.substr(0, set.rfind("-draw")); }

}  // namespace

std::string training_section(FinishedRun const& run) {
  std::string html;
  std::vector<std::string> losses;
  for (auto const& one :
       {loss_figure(run, "train-foundation", texts::foundation_model),
        loss_figure(run, "train-vae", texts::autoencoder), loss_figure(run, "train-diffusion", diffusion_title(run))})
    if (!one.empty()) losses.push_back(one);
  if (!losses.empty()) html += section(texts::losses.title, texts::losses.caption, figures(losses, 380));
  if (run.scored.empty()) return html;

  std::vector<std::string> recipes;
  std::set<double> rates;
  std::map<std::string, std::string> first_of;  // the first set of a recipe
  for (auto const& one : run.scored) {
    auto const recipe = recipe_of(one.set);
    if (first_of.try_emplace(recipe, one.set).second) recipes.push_back(recipe);
    rates.insert(one.rate);
  }
  std::vector<double> const by_rate(rates.begin(), rates.end());
  std::vector<LegendEntry> entries;
  for (std::size_t i = 0; i < by_rate.size(); ++i)
    entries.push_back({fmt::format("rate {}", short_number(by_rate[i])), colour(i)});
  std::vector<std::string> pairs;
  for (auto const& recipe : recipes) {
    LinePlot loss{.x_label = "step",
                  .y_label = "matching loss",
                  .x_scale = Scale::log_from_zero,
                  .y_scale = Scale::log,
                  .width = 300,
                  .height = 165};
    LinePlot accuracy{
        .x_label = "step", .y_label = "held out (%)", .x_scale = Scale::log_from_zero, .width = 300, .height = 165};
    std::map<std::string, std::map<double, std::pair<PlotLine, PlotLine>>> lines;  // by set and rate
    for (auto const& one : run.scored) {
      if (recipe_of(one.set) != recipe) continue;
      bool const is_first = one.set == first_of[recipe];
      auto const kept = run.chosen.find(one.set);
      bool const is_chosen = kept != run.chosen.end() && kept->second.second == one.step &&
                             (kept->second.first == one.rate || one.step == 0);
      std::string const title =
          is_chosen ? fmt::format(texts::kept_state, one.set, one.rate, one.step, one.loss, one.held_out) : "";
      for (double const rate : by_rate) {
        if (rate != one.rate && !(is_first && one.step == 0)) continue;  // all rates start from one state, scored once
        auto& [of_loss, of_accuracy] = lines[one.set][rate];
        of_loss.colour = of_accuracy.colour =
            colour(index(std::find(by_rate.begin(), by_rate.end(), rate) - by_rate.begin()));
        of_loss.width = of_accuracy.width = is_first ? 1.8 : 0.8;
        of_loss.points.push_back({one.step, one.loss, 0, title});
        of_accuracy.points.push_back({one.step, one.held_out, 0, title});
      }
    }
    for (auto const& [set, of_set] : lines)
      for (auto const& [rate, both] : of_set) {
        loss.lines.push_back(both.first);
        accuracy.lines.push_back(both.second);
      }
    auto const of_loss = svg_of(loss), of_accuracy = svg_of(accuracy);
    if (!of_loss.empty() && !of_accuracy.empty()) pairs.push_back(figure(recipe, of_loss + of_accuracy));
  }
  html += section(texts::distillation.title, texts::distillation.caption, legend(entries) + figures(pairs, 320));
  return html;
}

}  // namespace retort
