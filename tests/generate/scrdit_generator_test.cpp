// A trained scRDiT is read as it was written, and what is broken is refused.
#include "retort/generate/scrdit_generator.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "../shared_folder.hpp"

namespace retort {
namespace {

ScrditGenerator some_generator(ScrditShape const& shape) {
  std::vector<std::string> names;
  for (int gene = 0; gene < 24; ++gene) names.push_back(fmt::format("g{}", gene));
  return {
      ScrditNetwork(shape, 3), names, {-4, std::vector<double>(24, 1.0 / 3), 2.5}, "cell_type", {"B", "T"}, "atlas 1"};
}

ScrditShape const transformer = ScrditTransformerShape{.genes = 24, .patch = 6, .width = 16, .depth = 2, .heads = 4},
                  unet = ScrditUnetShape{.genes = 24, .channels = 8};

TEST(ScrditGenerator, IsReadAsItWasWritten) {
  Communicator const alone = Communicator::serial();
  SharedFolder const folder(alone, "scrdit_generator");
  at::Tensor const x = at::linspace(-2, 2, 48).view({2, 24}), t = at::tensor({1, 999}, at::kLong);
  for (auto const& shape : {transformer, unet}) {
    auto const generator = some_generator(shape);
    for (auto const& tensor : generator.network.parameters().tensors()) tensor.detach().add_(0.01);
    generator.save(folder / "denoiser");
    auto const read = ScrditGenerator::load(folder / "denoiser");
    EXPECT_EQ(read.network.parameters().hash(), generator.network.parameters().hash());
    EXPECT_TRUE(at::equal(read.network.predict(x, t), generator.network.predict(x, t)));
    EXPECT_EQ(read.network_name(), generator.network_name());
    EXPECT_EQ(read.gene_names, generator.gene_names);
    EXPECT_EQ(read.values.zero_value, -4);
    EXPECT_EQ(read.values.mean, generator.values.mean);
    EXPECT_EQ(read.values.scale, 2.5);
    EXPECT_EQ(read.label, "cell_type");
    EXPECT_EQ(read.classes, (std::vector<std::string>{"B", "T"}));
    EXPECT_EQ(read.atlas, "atlas 1");
  }
}

TEST(ScrditValues, AreShownAndComeBack) {
  at::Tensor const cells = at::tensor({0.0F, 1.5F, 0.0F, 4.0F}).view({2, 2});
  EXPECT_TRUE(at::equal(ScrditValues{}.shown(cells), at::tensor({-10.0F, 1.5F, -10.0F, 4.0F}).view({2, 2})));
  ScrditValues const values{-2, {-1, 3}, 4};
  EXPECT_TRUE(at::equal(values.shown(cells), at::tensor({-0.25F, -0.375F, -0.25F, 0.25F}).view({2, 2})));
  EXPECT_TRUE(at::equal(values.expression(values.shown(cells)), cells));
  EXPECT_TRUE(at::equal(ScrditValues{}.expression(at::tensor({-9.0F, 2.0F})), at::tensor({0.0F, 2.0F})));
  failure_of(ExitCode::usage, [&] { ScrditValues{1}.shown(cells); });
}

TEST(ScrditGenerator, RefusesBrokenFolders) {
  Communicator const alone = Communicator::serial();
  SharedFolder const folder(alone, "scrdit_generator_broken");
  auto const load = [&] { ScrditGenerator::load(folder / "denoiser"); };
  for (auto const& shape : {transformer, unet}) {
    bool const is_unet = std::holds_alternative<ScrditUnetShape>(shape);
    some_generator(shape).save(folder / "denoiser");
    auto const file = folder / "denoiser" / "config.json";
    auto const whole = bytes_of_file(file);
    auto const refused = [&](std::function<void(nlohmann::json&)> const& change) {
      auto config = nlohmann::json::parse(whole);
      change(config);
      std::ofstream(file) << config;
      return failure_of(ExitCode::bad_input, load);
    };
    for (auto const* name : is_unet ? std::vector{"channels"} : std::vector{"patch", "width", "blocks", "heads"})
      for (auto const value : {std::int64_t{-1}, std::int64_t{0}, std::int64_t{1} << 62})
        refused([&](nlohmann::json& config) { config[name] = value; });
    refused([&](nlohmann::json& config) { config["network"] = is_unet ? "transformer" : "unet"; });
    refused([](nlohmann::json& config) { config["network"] = "mlp"; });
    refused([](nlohmann::json& config) { config["genes"].erase(3); });
    refused([](nlohmann::json& config) { config["genes"] = nlohmann::json::array(); });
    refused([](nlohmann::json& config) { config["genes"][0] = 7; });
    refused([](nlohmann::json& config) { config["zero_value"] = 1; });
    for (auto const* scale : {"0", "-1", "null", "\"2\""})
      refused([&](nlohmann::json& config) { config["scale"] = nlohmann::json::parse(scale); });
    refused([](nlohmann::json& config) { config["mean"].erase(0); });
    refused([](nlohmann::json& config) { config["mean"][3] = nullptr; });
    refused([](nlohmann::json& config) { config.erase("atlas"); });
    EXPECT_NE(refused([](nlohmann::json& config) { config["model"] = "scldm"; }).find("\"scldm\" (scrdit is needed)"),
              std::string::npos);
    std::ofstream(file) << whole.substr(0, 60);
    failure_of(ExitCode::bad_input, load);
    std::ofstream(file) << whole;
    load();
    std::filesystem::remove(folder / "denoiser" / "scrdit.safetensors");
    failure_of(ExitCode::missing_input, load);
    std::filesystem::remove(file);
    failure_of(ExitCode::missing_input, load);
  }
}

}  // namespace
}  // namespace retort
