#include "retort/generate/scldm_task.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "retort/cells/batch_stream.hpp"
#include "retort/cells/feature_file.hpp"
#include "retort/cells/feature_rows.hpp"
#include "retort/generate/shard_rows.hpp"
#include "retort/layers/normal_tensor.hpp"
#include "retort/models/weights_folder.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"
#include "retort/run/random.hpp"

namespace retort {
namespace {

// Latents of one token each where the autoencoder has no tokens: its width says how they are cut.
ScldmTransformerShape fitting(ScldmTransformerShape shape, std::int64_t width) {
  if (shape.tokens < 1) fail(ExitCode::usage, "diffusion.tokens is {} (it must be at least 1)", shape.tokens);
  if (width % shape.tokens)
    fail(ExitCode::usage,
         "{} latents per cell cannot be cut into {} tokens. Set diffusion.tokens as vae.tokens was (scvi: 1)", width,
         shape.tokens);
  shape.latent = width / shape.tokens;
  return shape;
}

// Rows of the fit part, but for those of combinations that are left out.
std::vector<std::int64_t> training_rows(Atlas const& atlas, ConditionedRows const& of_rows,
                                        std::vector<std::string> const& left_out) {
  std::vector<std::int64_t> without, rows;
  for (auto const& name : left_out) without.push_back(of_rows.conditions.of_name(name));
  for (std::int64_t const row : rows_of_part(atlas, Part::fit))
    if (std::find(without.begin(), without.end(), of_rows.combination[index(row)]) == without.end())
      rows.push_back(row);
  if (rows.empty() && !left_out.empty())
    fail(ExitCode::usage, "diffusion.leave_out leaves no cell of '{}' to train on. Leave out less",
         atlas.file().string());
  if (rows.empty()) fail(ExitCode::bad_input, "'{}' has no cell to train on in its fit part", atlas.file().string());
  return rows;
}

// The combinations that none of the rows is of.
std::vector<std::int64_t> unseen_by(std::span<std::int64_t const> rows, ConditionedRows const& of_rows) {
  std::vector<bool> seen(index(of_rows.conditions.combinations()));
  for (std::int64_t const row : rows) seen[index(of_rows.combination[index(row)])] = true;
  std::vector<std::int64_t> unseen;
  for (std::size_t combination = 0; combination < seen.size(); ++combination)
    if (!seen[combination]) unseen.push_back(static_cast<std::int64_t>(combination));
  return unseen;
}

// The first column's class of each combination.
std::vector<std::int64_t> first_classes(Conditions const& conditions) {
  std::vector<std::int64_t> classes;
  for (std::int64_t combination = 0; combination < conditions.combinations(); ++combination)
    classes.push_back(conditions.classes(combination).front());
  return classes;
}

// The network with random weights; sizes of cells are not known yet.
ScldmGenerator untrained(Atlas const& atlas, std::filesystem::path const& latents, ScldmTraining const& training,
                         ConditionedRows const& of_rows, std::span<std::int64_t const> rows, std::uint64_t seed) {
  Features const first = read_features(latents, {0, 1});
  require_features_of(atlas, latents, first);
  auto shape = fitting(training.shape, first.width);
  shape.attributes = of_rows.conditions.attributes(training.conditioning);
  return {.network = std::make_unique<ScldmTransformer>(shape, seed),
          .conditions = of_rows.conditions,
          .conditioning = training.conditioning,
          .sizes = {},
          .encoder = first.encoder,
          .atlas = atlas.identity(),
          .unseen = unseen_by(rows, of_rows),
          .unlabelled = training.unlabelled};
}

}  // namespace

ScldmTask::ScldmTask(Session const& session, Atlas const& atlas, std::filesystem::path const& latents,
                     ScldmTraining const& training, ShardPlan const& plan)
    : seed_(static_cast<std::uint64_t>(session.run.seed)) {
  auto const of_rows = session.ranks.together([&] { return conditions_of(atlas, training.columns); });
  auto const rows = session.ranks.together([&] { return training_rows(atlas, of_rows, training.left_out); });
  generator_ = session.ranks.together([&] { return untrained(atlas, latents, training, of_rows, rows, seed_); });
  if (session.dry_run) return;
  cells_ = session.ranks.together([&] {
    auto const& shape = generator_.network->shape();
    std::map<int, ShardCells> cells;
    for (int shard = plan.begin(); shard < plan.end(); ++shard) {
      auto const own = rows_of_shard(rows, shard, plan.shards());
      auto& of_shard = cells[shard];
      of_shard.latents = read_feature_rows(latents, own).view({std::ssize(own), shape.tokens, shape.latent});
      for (std::int64_t const row : own) of_shard.combinations.push_back(of_rows.combination[index(row)]);
    }
    return cells;
  });
  auto const& conditions = generator_.conditions;
  generator_.sizes = size_factors(session.ranks, atlas, rows, of_rows.combination, conditions.combinations(),
                                  first_classes(conditions));
}

std::string ScldmTask::description() const {
  auto const& shape = generator_.network->shape();
  auto const& unseen = generator_.unseen;
  return fmt::format(
      "{} {} of {}{}, {} tokens of {} latents", generator_.conditions.combinations(), name_of(generator_.conditioning),
      generator_.conditions.attributes(Conditioning::joint).front().name,
      unseen.empty() ? "" : fmt::format(" ({} not trained on)", unseen.size()), shape.tokens, shape.latent);
}

NoisyCells ScldmTask::draw(std::int64_t step, int shard, int, std::int64_t n) const {
  auto const& network = *generator_.network;
  auto const& own = cells_.at(shard);
  auto const attributes = network.shape().attributes.size();
  Random random(seed_, purpose::diffusion, static_cast<std::uint64_t>(step), static_cast<std::uint32_t>(shard));
  // Additive: all shards of a step hear of the same column.
  auto const column =
      Random(seed_, purpose::diffusion, static_cast<std::uint64_t>(step), ~std::uint32_t{0}).below(attributes);
  at::Tensor const chosen = at::empty({n}, at::kLong), t = at::empty({n}),
                   labels = at::empty({n, static_cast<std::int64_t>(attributes)}, at::kLong);
  for (std::int64_t i = 0; i < n; ++i) {
    auto const cell = random.below(own.combinations.size());
    chosen.data_ptr<std::int64_t>()[i] = static_cast<std::int64_t>(cell);
    t.data_ptr<float>()[i] = static_cast<float>(random.uniform());
    bool const dropped = random.uniform() < generator_.unlabelled;
    auto const of_cell = generator_.conditions.labels(own.combinations[cell], generator_.conditioning);
    for (std::size_t a = 0; a < attributes; ++a) {
      bool const silent = dropped || (generator_.conditioning == Conditioning::additive && a != column);
      labels.data_ptr<std::int64_t>()[i * static_cast<std::int64_t>(attributes) + static_cast<std::int64_t>(a)] =
          silent ? network.none(a) : of_cell[a];
    }
  }
  at::Tensor const cells = own.latents.index_select(0, chosen),
                   noise = normal_tensor(cells.sizes(), random);  // [n, tokens, latent]
  at::Tensor const along = t.view({n, 1, 1});
  return {along * cells + (1 - along) * noise, t, labels, cells - noise};
}

void ScldmGenerator::save(std::filesystem::path const& folder) const {
  auto const& shape = network->shape();
  auto columns = nlohmann::json::array();
  for (auto const& column : conditions.columns())
    columns.push_back({{"name", column.name}, {"classes", column.classes}});
  save_network(folder, network->parameters(),
               {{"model", "scldm"},
                {"tokens", shape.tokens},
                {"latent", shape.latent},
                {"width", shape.width},
                {"blocks", shape.blocks},
                {"heads", shape.heads},
                {"columns", columns},
                {"conditioning", name_of(conditioning)},
                {"size_factors", json_of(sizes)},
                {"encoder", encoder},
                {"atlas", atlas},
                {"unseen", unseen},
                {"unlabelled", unlabelled}});
}

std::vector<bool> ScldmGenerator::known() const {
  auto const combinations = conditions.combinations();
  std::vector<bool> seen(index(combinations), true);
  for (auto const one : unseen) seen[index(one)] = false;
  if (conditioning == Conditioning::joint) return seen;
  std::vector<std::vector<bool>> met;  // of each column's classes
  for (auto const& column : conditions.columns()) met.emplace_back(column.classes.size());
  auto const each_class = [&](std::int64_t combination, auto const& visit) {
    auto const classes = conditions.classes(combination);
    for (std::size_t column = 0; column < classes.size(); ++column) visit(column, index(classes[column]));
  };
  for (std::int64_t one = 0; one < combinations; ++one)
    if (seen[index(one)]) each_class(one, [&](std::size_t column, std::size_t of) { met[column][of] = true; });
  std::vector<bool> all(seen.size(), true);
  for (std::int64_t one = 0; one < combinations; ++one)
    each_class(one, [&](std::size_t column, std::size_t of) { all[index(one)] = all[index(one)] && met[column][of]; });
  return all;
}

ScldmGenerator ScldmGenerator::load(std::filesystem::path const& folder) {
  ScldmGenerator generator;
  ScldmTransformerShape shape;
  read_network_config(folder, "scldm", "generator", [&](nlohmann::json const& config) {
    std::vector<Attribute> columns;
    for (auto const& column : config.at("columns"))
      columns.push_back({column.at("name"), column.at("classes").get<std::vector<std::string>>()});
    generator.conditions = Conditions(std::move(columns));
    generator.conditioning = conditioning_of(config.at("conditioning"));
    shape.tokens = config.at("tokens"), shape.latent = config.at("latent"), shape.width = config.at("width"),
    shape.blocks = config.at("blocks"), shape.heads = config.at("heads");
    generator.encoder = config.at("encoder"), generator.atlas = config.at("atlas");
    generator.unseen = config.value("unseen", std::vector<std::int64_t>());
    generator.unlabelled = config.value("unlabelled", generator.unlabelled);
    generator.sizes = size_factors_of(config.at("size_factors"), generator.conditions.combinations(),
                                      (folder / "config.json").string());
  });
  // A hostile file must not ask for any amount of memory: what these sizes multiply to is in the weights' file.
  constexpr std::int64_t widest = 1 << 14;
  auto const numbers = numbers_in(folder, "scldm");
  auto const is_combination = [&](std::int64_t combination) {
    return combination >= 0 && combination < generator.conditions.combinations();
  };
  bool const sane = shape.width > 0 && shape.width <= widest && shape.width % 2 == 0 && shape.heads > 0 &&
                    shape.width % shape.heads == 0 && shape.blocks > 0 && shape.blocks <= widest &&
                    shape.blocks * shape.width <= numbers / shape.width && shape.latent > 0 &&
                    shape.latent <= numbers / shape.width && shape.tokens > 0 && shape.tokens <= widest &&
                    generator.conditions.combinations() > 0 && std::ranges::all_of(generator.unseen, is_combination);
  if (!sane)
    fail(ExitCode::bad_input,
         "'{}' describes another network than the weights beside it hold (a file was cut or replaced). Train it again",
         (folder / "config.json").string());
  shape.attributes = generator.conditions.attributes(generator.conditioning);
  generator.network = std::make_unique<ScldmTransformer>(shape, 0);
  load_parameters(folder, "scldm", generator.network->parameters());
  return generator;
}

}  // namespace retort
