#include "retort/programs/diffusion_options.hpp"

#include <gtest/gtest.h>

#include "retort/run/error.hpp"

using namespace retort;

namespace {

DiffusionOptions completed(std::string const& model) {
  DiffusionOptions options;
  options.model = model;
  options.complete();
  return options;
}

}  // namespace

// The settings of a run whose user named the model alone; they decide its results.
TEST(DiffusionOptions, WhatIsLeftOpenIsTheModels) {
  auto const scdg = completed("scdg"), scldm = completed("scldm"), scrdit = completed("scrdit");
  EXPECT_EQ((std::vector{scdg.steps, scdg.batch, scdg.width, scdg.blocks}),
            (std::vector<std::int64_t>{1500, 128, 0, 0}));
  EXPECT_EQ((std::vector{scldm.steps, scldm.batch, scldm.width, scldm.blocks}),
            (std::vector<std::int64_t>{5000, 128, 256, 8}));
  EXPECT_EQ((std::vector{scrdit.steps, scrdit.batch, scrdit.width, scrdit.blocks}),
            (std::vector<std::int64_t>{20'000, 16, 768, 3}));
  EXPECT_EQ((std::vector{scdg.rate, scdg.weight_decay, scdg.clip}), (std::vector{1e-3, 1e-4, 0.0}));
  EXPECT_EQ((std::vector{scldm.rate, scldm.weight_decay, scldm.clip}), (std::vector{5e-4, 0.0, 10.0}));
  EXPECT_EQ((std::vector{scrdit.rate, scrdit.weight_decay, scrdit.clip}), (std::vector{3e-4, 0.01, 0.0}));
  EXPECT_EQ(scldm.heads, 8);
  EXPECT_EQ(scrdit.patch, 10);
  EXPECT_EQ(scrdit.channels, 64);
}

TEST(DiffusionOptions, WhatIsSetStays) {
  DiffusionOptions options;
  options.model = "scldm";
  options.steps = 7, options.width = 32, options.weight_decay = 0.5, options.clip = 0;
  options.complete();
  EXPECT_EQ(options.steps, 7);
  EXPECT_EQ(options.width, 32);
  EXPECT_EQ(options.weight_decay, 0.5);
  EXPECT_EQ(options.clip, 0);
  auto const shape = options.scldm_training().shape;
  EXPECT_EQ(shape.width, 32);
  EXPECT_EQ(shape.blocks, 8);
}

TEST(DiffusionOptions, HelpNamesTheDefaultsOfEachModel) {
  DiffusionOptions options;
  OptionTable table("retort-train-diffusion", "");
  add_diffusion_options(table, options);
  auto const help = table.help();
  for (char const* text :
       {"0: 1,500 for scdg, 5,000 for scldm, 20,000 for scrdit", "0: 128 for scdg and scldm, 16 for scrdit",
        "0: 0.001 (falls linearly to 0) for scdg, 0.0005 (rises, then falls to a tenth) for scldm, 0.0003 (held) for "
        "scrdit",
        "-1: 0.0001 for scdg, 0 for scldm, 0.01 for scrdit", "-1: 0 for scdg and scrdit, 10 for scldm",
        "0: 256 for scldm, 768 for scrdit", "0: 8 for scldm, 3 for scrdit",
        "empty: RUN/features.h5ad for scdg, RUN/latents.h5ad for scldm",
        "empty: RUN/generator for scdg, RUN/flow for scldm, RUN/denoiser for scrdit"})
    EXPECT_NE(help.find(text), std::string::npos) << text;
}

TEST(DiffusionOptions, RefusesWhatItDoesNotKnow) {
  ShardPlan const plan(4, 0, 1);
  DiffusionOptions options;
  options.model = "gan";
  EXPECT_THROW(options.complete(), Failure);
  for (auto const& spoil : std::vector<void (*)(DiffusionOptions&)>{
           [](DiffusionOptions& one) { one.batch = 6; }, [](DiffusionOptions& one) { one.ema = 1; },
           [](DiffusionOptions& one) { one.network = "rnn"; }, [](DiffusionOptions& one) { one.clip = -2; }}) {
    auto spoilt = completed("scrdit");
    spoilt.check(plan);
    spoil(spoilt);
    EXPECT_THROW(spoilt.check(plan), Failure);
  }
}
