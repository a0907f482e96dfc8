#include "retort/cells/simulator.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

#include "retort/cells/atlas_writer.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"
#include "retort/run/random.hpp"

namespace retort {
namespace {

// What a stream of numbers of the model itself is for; rows have 0.
enum Stream : std::uint32_t {
  of_row,
  of_base,
  of_type,
  of_batch,
  of_type_share,
  of_change,
  of_change_order,
  of_dispersion,
  of_own_change,
  of_own_change_order
};

// A negative binomial count is a Poisson number of bursts of logarithmic size (Quenouille 1949), and the bursts of all
// genes of a cell together are one Poisson number of draws from one table: a cell costs what its bursts cost, however
// many genes there are. With library s, gene g has NB(theta s, p), so mean and number of bursts are both times s.
struct Entry {
  std::uint32_t keep = 0, other = 0;  // alias table (Walker 1977, Vose 1991)
};
struct Burst {
  std::uint32_t one = 0;  // of 2^32: how often its size is 1
  float p = 0;
};
struct Table {
  std::vector<Entry> entries;
  std::vector<Burst> bursts;
  double rate = 0;  // bursts of a cell of library 1
};

constexpr double two_to_32 = 4294967296.0;
std::uint32_t share_of_2_to_32(double share) {
  return static_cast<std::uint32_t>(std::clamp(share * two_to_32, 0.0, two_to_32 - 1));
}

double burst_rate(double mean, double theta) { return theta * std::log1p(mean / theta); }

std::vector<Entry> alias_table(std::vector<double> weights, double total) {
  auto const size = weights.size();
  std::vector<Entry> entries(size);
  std::vector<std::uint32_t> small, large;
  for (std::uint32_t i = 0; i < size; ++i) {
    weights[i] *= static_cast<double>(size) / total;
    (weights[i] < 1 ? small : large).push_back(i);
  }
  while (!small.empty() && !large.empty()) {
    auto const low = small.back(), high = large.back();
    small.pop_back();
    entries[low] = {share_of_2_to_32(weights[low]), high};
    weights[high] -= 1 - weights[low];
    if (weights[high] < 1) {
      large.pop_back();
      small.push_back(high);
    }
  }
  for (auto const& rest : {small, large})
    for (auto const i : rest) entries[i] = {0xFFFFFFFFu, i};
  return entries;
}

// The logarithmic distribution by the search of its sums; sizes above 1 are rare.
std::uint32_t burst_size(Random& random, Burst const& burst) {
  std::uint32_t const draw = random.bits();
  if (draw < burst.one) return 1;
  double const p = static_cast<double>(burst.p), u = (static_cast<double>(draw) + 0.5) / two_to_32;
  double term = -p / std::log1p(-p), sum = term;
  std::uint32_t size = 1;
  for (; u >= sum && size < 1'000'000; sum += term) {
    ++size;
    term *= p * static_cast<double>(size - 1) / static_cast<double>(size);
    if (term <= 0) break;
  }
  return size;
}

// Knuth's product for small means; above, the normal with the same mean and variance, whose error nobody can see.
std::int64_t poisson(Random& random, double mean) {
  if (mean > 60) return std::max<std::int64_t>(0, std::llround(mean + std::sqrt(mean) * random.normal()));
  double const limit = std::exp(-mean);
  std::int64_t count = 0;
  for (double product = random.uniform(); product > limit; product *= random.uniform()) ++count;
  return count;
}

std::vector<std::string> numbered(char const* prefix, std::int64_t count) {
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < count; ++i) names.push_back(fmt::format("{}{}", prefix, i));
  return names;
}

void check(SimulateOptions const& options) {
  auto const refuse = [](char const* name, std::int64_t value, char const* why) {
    fail(ExitCode::usage, "simulate.{} is {} ({})", name, value, why);
  };
  if (options.cells < 1) refuse("cells", options.cells, "at least one is needed");
  if (options.genes < 2 || options.genes > 1'000'000) refuse("genes", options.genes, "2 to 1,000,000 are possible");
  if (options.types < 1) refuse("types", options.types, "at least one is needed");
  if (options.batches < 1) refuse("batches", options.batches, "at least one is needed");
  if (options.conditions < 1) refuse("conditions", options.conditions, "at least one is needed");
  if (options.de_genes > options.genes / 2)
    refuse("de_genes", options.de_genes, "they are of the better expressed half of the genes");
  if (options.nonzeros < 0 || options.nonzeros > options.genes * 9 / 10)
    refuse("nonzeros", options.nonzeros, "a cell has at most nine tenths of the genes");
  if (!(options.interaction >= 0 && options.interaction <= 1))
    fail(ExitCode::usage, "simulate.interaction is {} (it is a share, 0 to 1)", options.interaction);
  if (options.format != "atlas" && options.format != "h5ad")
    fail(ExitCode::usage, "simulate.format is '{}' (known are atlas and h5ad)", options.format);
}

}  // namespace

void add_simulate_options(OptionTable& table, SimulateOptions& options) {
  table.add("simulate.cells", options.cells, "cells")
      .add("simulate.genes", options.genes, "genes")
      .add("simulate.types", options.types, "cell types")
      .add("simulate.batches", options.batches, "batches")
      .add("simulate.conditions", options.conditions, "conditions; the first is the control")
      .add("simulate.de_genes", options.de_genes, "genes that a condition changes; -1: 5 % of them")
      .add("simulate.interaction", options.interaction,
           "share of them that are other genes in every type; 0: a condition does the same to all types, 1: to each "
           "something else")
      .add("simulate.nonzeros", options.nonzeros, "expressed genes per cell, on average; 0: 9.5 % of them")
      .add("simulate.type_share", options.type_share, "share of the genes that a type changes")
      .add("simulate.type_sd", options.type_sd, "by how much: standard deviation of the natural log")
      .add("simulate.batch_sd", options.batch_sd, "by how much a batch changes every gene")
      .add("simulate.library_sd", options.library_sd,
           "spread of the library sizes: standard deviation of the natural log")
      .add("simulate.lfc", options.lfc, "mean size of a condition's log2 fold changes")
      .add("simulate.lfc_sd", options.lfc_sd, "their standard deviation")
      .add("simulate.dispersion", options.dispersion, "median theta: variance = mean + mean^2 / theta")
      .add("simulate.output", options.output, "file to write; empty: atlas.h5ad in the run folder")
      .add("simulate.format", options.format,
           "atlas, or h5ad: float32 counts as people's files have them, input of ingest");
}

struct Simulator::State {
  SimulateOptions options;
  std::uint64_t seed;
  std::size_t genes;
  std::vector<double> base, theta, type_ends;  // type_ends: cumulative shares
  std::vector<std::vector<double>> type_effect, batch_effect;
  std::vector<std::vector<double>> shared_changes,
      changes;  // log2; [condition], and with those of the type's own [condition, type]
  double depth = 1;
  std::vector<Table> tables;  // [type, batch, condition]; made when first needed
  std::vector<std::uint32_t> count;
  std::vector<std::uint64_t> seen;

  State(SimulateOptions const& asked, std::uint64_t own_seed)
      : options(asked), seed(own_seed), genes(index(asked.genes)), count(genes), seen((genes + 63) / 64) {
    check(options);
    if (options.nonzeros == 0) options.nonzeros = std::max<std::int64_t>(1, options.genes * 95 / 1000);
    if (options.de_genes < 0) options.de_genes = options.genes / 20;
    base = profile(of_base, 0, 1, 1.8);
    double const total = std::accumulate(base.begin(), base.end(), 0.0);
    for (double& share : base) share /= total;
    theta = profile(of_dispersion, 0, 1, 0.5);
    for (double& value : theta) value *= options.dispersion;
    for (std::int64_t type = 0; type < options.types; ++type)
      type_effect.push_back(profile(of_type, type, options.type_share, options.type_sd));
    for (auto& effect : type_effect) keep_sum(effect);
    for (std::int64_t batch = 0; batch < options.batches; ++batch)
      batch_effect.push_back(profile(of_batch, batch, 1, options.batch_sd));
    for (auto& effect : batch_effect) keep_sum(effect);
    draw_type_shares();
    draw_changes();
    tables.resize(index(options.types * options.batches * options.conditions));
    choose_depth();
  }

  // exp of a normal for a share of the genes, else 1.
  std::vector<double> profile(Stream stream, std::int64_t which, double share, double sd) const {
    Random random(seed, purpose::simulate, static_cast<std::uint64_t>(which), stream);
    std::vector<double> values(genes);
    for (double& value : values) {
      double const draw = random.normal();
      value = random.uniform() < share ? std::exp(sd * draw) : 1.0;
    }
    return values;
  }
  // No type and no batch has more counts than another.
  void keep_sum(std::vector<double>& effect) const {
    double const total = std::inner_product(effect.begin(), effect.end(), base.begin(), 0.0);
    for (double& value : effect) value /= total;
  }

  void draw_type_shares() {
    Random random(seed, purpose::simulate, 0, of_type_share);
    double total = 0;
    for (std::int64_t type = 0; type < options.types; ++type) {
      total -= std::log((1 - random.uniform()) * (1 - random.uniform()));  // gamma of shape 2
      type_ends.push_back(total);
    }
    for (double& end : type_ends) end /= total;
  }

  // Of the better expressed half, so that they can be found.
  void draw_changes() {
    std::vector<std::size_t> order(genes);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return base[a] > base[b]; });
    order.resize(genes / 2);
    auto const own = std::llround(options.interaction * static_cast<double>(options.de_genes));
    auto const change_first = [&](std::vector<double>& change, std::vector<std::size_t> const& chosen,
                                  std::int64_t number, std::uint64_t which, Stream stream) {
      Random random(seed, purpose::simulate, which, stream);
      for (std::int64_t i = 0; i < number; ++i) {
        double const size = std::max(0.1, options.lfc + options.lfc_sd * random.normal());
        change[chosen[index(i)]] = random.uniform() < 0.5 ? -size : size;
      }
    };
    for (std::int64_t condition = 0; condition < options.conditions; ++condition) {
      auto& shared = shared_changes.emplace_back(genes, 0.0);
      auto chosen = order;
      Random(seed, purpose::simulate, static_cast<std::uint64_t>(condition), of_change_order).shuffle(chosen);
      auto const of_all = condition > 0 ? options.de_genes - own : 0;
      change_first(shared, chosen, of_all, static_cast<std::uint64_t>(condition), of_change);
      std::vector<std::size_t> const rest(chosen.begin() + of_all, chosen.end());
      for (std::int64_t type = 0; type < options.types; ++type) {
        auto const which = static_cast<std::uint64_t>(condition * options.types + type);
        auto& change = changes.emplace_back(shared);
        if (condition == 0 || own == 0) continue;
        auto of_type = rest;
        Random(seed, purpose::simulate, which, of_own_change_order).shuffle(of_type);
        change_first(change, of_type, own, which, of_own_change);
      }
    }
  }
  std::vector<double> const& changes_of(std::int64_t condition, std::int64_t type) const {
    return changes[index(condition * options.types + type)];
  }

  double mean_of(std::size_t gene, Cell const& cell) const {
    return depth * base[gene] * type_effect[index(cell.type)][gene] * batch_effect[index(cell.batch)][gene] *
           std::exp2(changes_of(cell.condition, cell.type)[gene]);
  }

  // The depth at which a few types, at three libraries, have the wanted number of expressed genes on average.
  void choose_depth() {
    auto const types = std::min<std::int32_t>(4, static_cast<std::int32_t>(options.types));
    auto const expressed = [&](double tried) {
      depth = tried;
      double sum = 0;
      for (std::int32_t type = 0; type < types; ++type)
        for (std::size_t gene = 0; gene < genes; ++gene) {
          double const rate = burst_rate(mean_of(gene, {type, 0, 0}), theta[gene]);
          for (double const z : {-1.2247, 0.0, 1.2247}) sum -= std::expm1(-rate * library(z)) / 3;
        }
      return sum / types;
    };
    double low = 0, high = 1;
    while (expressed(high) < static_cast<double>(options.nonzeros) && high < 1e12) high *= 8;
    for (int i = 0; i < 25; ++i) {
      double const middle = (low + high) / 2;
      (expressed(middle) < static_cast<double>(options.nonzeros) ? low : high) = middle;
    }
    depth = high;
  }
  double library(double z) const {
    return std::exp(options.library_sd * z - options.library_sd * options.library_sd / 2);
  }

  Cell describe(Random& random) const {
    Cell cell;
    cell.type = static_cast<std::int32_t>(
        std::min(std::ranges::upper_bound(type_ends, random.uniform()) - type_ends.begin(), std::ssize(type_ends) - 1));
    cell.batch = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(options.batches)));
    cell.condition = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(options.conditions)));
    return cell;
  }

  Table const& table_of(Cell const& cell) {
    auto& table = tables[index((cell.type * options.batches + cell.batch) * options.conditions + cell.condition)];
    if (!table.entries.empty()) return table;
    std::vector<double> rates(genes);
    table.bursts.resize(genes);
    for (std::size_t gene = 0; gene < genes; ++gene) {
      double const mean = mean_of(gene, cell), p = mean / (mean + theta[gene]);
      rates[gene] = burst_rate(mean, theta[gene]);
      table.bursts[gene] = {p > 0 ? share_of_2_to_32(-p / std::log1p(-p)) : 0xFFFFFFFFu, static_cast<float>(p)};
    }
    table.rate = std::accumulate(rates.begin(), rates.end(), 0.0);
    table.entries = alias_table(std::move(rates), table.rate);
    return table;
  }

  void draw(std::int64_t row, std::vector<std::uint32_t>& into_genes, std::vector<std::uint32_t>& into_counts) {
    Random random(seed, purpose::simulate, static_cast<std::uint64_t>(row), of_row);
    Cell const cell = describe(random);
    Table const& table = table_of(cell);
    std::int64_t const bursts = poisson(random, table.rate * library(random.normal()));
    for (std::int64_t i = 0; i < bursts; ++i) {
      auto gene = static_cast<std::uint32_t>(static_cast<std::uint64_t>(random.bits()) * genes >> 32);
      Entry const& entry = table.entries[gene];
      auto const leave = std::uint32_t{0} - static_cast<std::uint32_t>(random.bits() > entry.keep);
      gene ^= (gene ^ entry.other) & leave;  // a branch would be guessed wrongly half of the time, after a slow read
      count[gene] += burst_size(random, table.bursts[gene]);
      seen[gene / 64] |= std::uint64_t{1} << gene % 64;
    }
    for (std::size_t word = 0; word < seen.size(); ++word) {
      for (; seen[word] != 0; seen[word] &= seen[word] - 1) {
        auto const gene = word * 64 + index(std::countr_zero(seen[word]));
        into_genes.push_back(static_cast<std::uint32_t>(gene));
        into_counts.push_back(std::exchange(count[gene], 0));
      }
    }
  }
};

Simulator::Simulator(SimulateOptions const& options, std::uint64_t seed)
    : state_(std::make_unique<State>(options, seed)) {}
Simulator::~Simulator() = default;

Simulator::Cell Simulator::describe(std::int64_t row) const {
  Random random(state_->seed, purpose::simulate, static_cast<std::uint64_t>(row), of_row);
  return state_->describe(random);
}
void Simulator::draw(std::int64_t row, std::vector<std::uint32_t>& genes, std::vector<std::uint32_t>& counts) {
  state_->draw(row, genes, counts);
}

std::vector<std::string> Simulator::type_names() const { return numbered("t", state_->options.types); }
std::vector<std::string> Simulator::batch_names() const { return numbered("b", state_->options.batches); }
std::vector<std::string> Simulator::condition_names() const {
  if (state_->options.conditions == 2) return {"control", "treated"};
  auto names = numbered("treated_", state_->options.conditions);
  names[0] = "control";
  return names;
}
std::vector<double> Simulator::log_fold_changes(std::int64_t condition) const {
  return state_->shared_changes.at(index(condition));
}
std::vector<double> Simulator::log_fold_changes(std::int64_t condition, std::int64_t type) const {
  return state_->changes_of(condition, type);
}
std::vector<double> Simulator::means(Cell const& cell) const {
  std::vector<double> values(state_->genes);
  for (std::size_t gene = 0; gene < values.size(); ++gene) values[gene] = state_->mean_of(gene, cell);
  return values;
}

}  // namespace retort
