// Combinations of label columns: their codes, names and labels, and what a generator keeps of them.
#include "retort/generate/conditions.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "../shared_folder.hpp"
#include "retort/cells/simulator.hpp"
#include "retort/generate/scldm_task.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

Conditions const both({{"type", {"a", "b", "c"}}, {"stimulus", {"no", "yes"}}});

TEST(Conditions, LastColumnRunsFastest) {
  EXPECT_EQ(both.combinations(), 6);
  std::vector<std::string> names;
  for (std::int64_t i = 0; i < 6; ++i) {
    names.push_back(both.name(i));
    EXPECT_EQ(both.of_name(names.back()), i);
    EXPECT_EQ(both.classes(i), (std::vector<std::int64_t>{i / 2, i % 2}));
  }
  EXPECT_EQ(names, (std::vector<std::string>{"a/no", "a/yes", "b/no", "b/yes", "c/no", "c/yes"}));
  auto const text = failure_of(ExitCode::usage, [] { both.of_name("a"); });
  EXPECT_NE(text.find("'a'"), std::string::npos);
  EXPECT_NE(text.find("c/yes"), std::string::npos);
}

TEST(Conditions, TwoCombinationsOfOneName) {
  Conditions const slashed({{"type", {"a", "a/b"}}, {"state", {"b/c", "c"}}});
  EXPECT_EQ(slashed.name(1), "a/c");
  EXPECT_EQ(slashed.of_name("a/b/b/c"), 2);
  EXPECT_NE(failure_of(ExitCode::usage, [&] { slashed.of_name("a/b/c"); }).find("name of 2 combinations"),
            std::string::npos);
}

TEST(Conditions, LabelsAsTheNetworkHearsThem) {
  auto const joint = both.attributes(Conditioning::joint);
  ASSERT_EQ(joint.size(), 1U);
  EXPECT_EQ(joint[0].name, "type/stimulus");
  EXPECT_EQ(joint[0].classes.size(), 6U);
  EXPECT_EQ(joint[0].classes[3], "b/yes");
  EXPECT_EQ(both.labels(3, Conditioning::joint), (std::vector<std::int64_t>{3}));
  for (auto const conditioning : {Conditioning::summed, Conditioning::additive}) {
    auto const attributes = both.attributes(conditioning);
    ASSERT_EQ(attributes.size(), 2U);
    EXPECT_EQ(attributes[1].name, "stimulus");
    EXPECT_EQ(attributes[1].classes, (std::vector<std::string>{"no", "yes"}));
    EXPECT_EQ(both.labels(3, conditioning), (std::vector<std::int64_t>{1, 1}));
  }
  for (auto const conditioning : {Conditioning::joint, Conditioning::summed, Conditioning::additive})
    EXPECT_EQ(conditioning_of(name_of(conditioning)), conditioning);
  failure_of(ExitCode::usage, [] { conditioning_of("product"); });
}

TEST(Conditions, MoreThanCanBeCounted) {
  std::vector<std::string> const classes(100'000, "one");
  EXPECT_EQ(Conditions(std::vector<Attribute>(5, {"many", classes})).combinations(),
            std::numeric_limits<std::int64_t>::max());
}

TEST(Conditions, OfAnAtlas) {
  Communicator const alone = Communicator::serial();
  SharedFolder const folder(alone, "conditions");
  SimulateOptions options;
  options.cells = 200, options.genes = 40, options.types = 4, options.conditions = 3;
  simulate(alone, options, 3, folder / "atlas.h5ad");
  Atlas const atlas(folder / "atlas.h5ad");
  auto const types = atlas.labels("cell_type"), conditions = atlas.labels("condition");

  auto const one = conditions_of(atlas, {});
  EXPECT_EQ(one.conditions.columns().size(), 1U);
  EXPECT_EQ(one.combination, atlas.labels().codes);

  auto const found = conditions_of(atlas, {"condition", "cell_type"});
  EXPECT_EQ(found.conditions.combinations(), conditions.classes() * types.classes());
  ASSERT_EQ(std::ssize(found.combination), atlas.cells());
  for (std::size_t row = 0; row < found.combination.size(); ++row)
    EXPECT_EQ(found.conditions.name(found.combination[row]),
              conditions.names[index(conditions.codes[row])] + "/" + types.names[index(types.codes[row])]);
  failure_of(ExitCode::bad_input, [&] { conditions_of(atlas, {"colour"}); });
}

ScldmGenerator some_generator(Conditioning conditioning) {
  ScldmGenerator generator{
      nullptr,     both,      conditioning, {std::vector<SizeFactors::LogNormal>(6, {7, 0.5, 3}), {7, 0.6, 18}},
      "encoder 1", "atlas 1", {1, 4}};
  generator.network = std::make_unique<ScldmTransformer>(
      ScldmTransformerShape{
          .tokens = 3, .latent = 5, .width = 16, .blocks = 2, .heads = 4, .attributes = both.attributes(conditioning)},
      3);
  return generator;
}

TEST(ScldmGenerator, IsReadAsItWasWritten) {
  Communicator const alone = Communicator::serial();
  SharedFolder const folder(alone, "scldm_generator");
  for (auto const conditioning : {Conditioning::joint, Conditioning::summed, Conditioning::additive}) {
    auto const generator = some_generator(conditioning);
    generator.save(folder / "generator");
    auto const read = ScldmGenerator::load(folder / "generator");
    EXPECT_EQ(read.network->parameters().hash(), generator.network->parameters().hash());
    EXPECT_EQ(read.network->shape().heads, 4);
    EXPECT_EQ(read.network->shape().tokens, 3);
    EXPECT_EQ(read.conditioning, conditioning);
    EXPECT_EQ(read.conditions.name(3), "b/yes");
    EXPECT_EQ(read.conditions.columns()[0].name, "type");
    EXPECT_EQ(json_of(read.sizes), json_of(generator.sizes));
    EXPECT_EQ(read.encoder, "encoder 1");
    EXPECT_EQ(read.atlas, "atlas 1");
    EXPECT_EQ(read.unseen, (std::vector<std::int64_t>{1, 4}));
  }
}

TEST(ScldmGenerator, KnowsWhatWasTrained) {
  auto generator = some_generator(Conditioning::joint);
  generator.unseen = {1, 4, 5};  // a/yes, and all of c
  EXPECT_EQ(generator.known(), (std::vector<bool>{true, false, true, true, false, false}));
  for (auto const conditioning : {Conditioning::summed, Conditioning::additive}) {
    generator.conditioning = conditioning;
    EXPECT_EQ(generator.known(), (std::vector<bool>{true, true, true, true, false, false}));
  }
}

TEST(ScldmGenerator, RefusesBrokenFolders) {
  Communicator const alone = Communicator::serial();
  SharedFolder const folder(alone, "scldm_generator_broken");
  some_generator(Conditioning::joint).save(folder / "generator");
  auto const file = folder / "generator" / "config.json";
  auto const whole = bytes_of_file(file);
  auto const refused = [&](std::function<void(nlohmann::json&)> const& change) {
    auto config = nlohmann::json::parse(whole);
    change(config);
    std::ofstream(file) << config;
    return failure_of(ExitCode::bad_input, [&] { ScldmGenerator::load(folder / "generator"); });
  };
  for (auto const* name : {"tokens", "latent", "width", "blocks", "heads"})
    for (auto const value : {std::int64_t{-1}, std::int64_t{0}, std::int64_t{1} << 62})
      refused([&](nlohmann::json& config) { config[name] = value; });
  refused([](nlohmann::json& config) { config["heads"] = 3; });
  refused([](nlohmann::json& config) { config["width"] = 15; });
  refused([](nlohmann::json& config) { config["conditioning"] = "product"; });
  refused([](nlohmann::json& config) { config["columns"] = nlohmann::json::array(); });
  refused([](nlohmann::json& config) { config["columns"][0]["classes"] = nlohmann::json::array(); });
  refused([](nlohmann::json& config) { config["columns"][0]["classes"].push_back("d"); });
  refused([](nlohmann::json& config) { config["size_factors"]["classes"].erase(2); });
  for (auto const& unseen : {nlohmann::json{6}, nlohmann::json{-1}, nlohmann::json("all")})
    refused([&](nlohmann::json& config) { config["unseen"] = unseen; });
  refused([](nlohmann::json& config) { config.erase("encoder"); });
  refused([](nlohmann::json& config) { config["model"] = "scdg"; });
  std::ofstream(file) << whole.substr(0, 100);
  failure_of(ExitCode::bad_input, [&] { ScldmGenerator::load(folder / "generator"); });
  std::filesystem::remove(file);
  failure_of(ExitCode::missing_input, [&] { ScldmGenerator::load(folder / "generator"); });
}

}  // namespace
}  // namespace retort
