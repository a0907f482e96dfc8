// The schedule's golden values (methods 5.1), the denoiser's size, and its result against PyTorch's layers.
#include "retort/models/scdg.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "retort/files/safetensors.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

std::filesystem::path fresh_folder() {
  auto folder = std::filesystem::temp_directory_path() / "retort_scdg_test";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

TEST(NoiseSchedule, GoldenValues) {
  NoiseSchedule const schedule;
  EXPECT_EQ(schedule.steps(), 1000);
  EXPECT_NEAR(schedule.alpha_bar(1), 0.9999, 1e-12);
  EXPECT_NEAR(schedule.alpha_bar(50), 0.8801, 5e-5);
  EXPECT_NEAR(schedule.alpha_bar(100), 0.6025, 5e-5);
  EXPECT_NEAR(schedule.alpha_bar(200), 0.1322, 5e-5);
  EXPECT_NEAR(schedule.alpha_bar(300), 0.01045, 5e-6);
  EXPECT_NEAR(schedule.alpha_bar(1000), 3.163e-23, 5e-27);
}

TEST(Scdg, ParameterCount) {
  Scdg const model({.latent = 128, .classes = 11}, 0);
  std::int64_t count = 0;
  for (auto const& parameter : model.parameters()) count += parameter.numel();
  EXPECT_EQ(count - 11 * 512, 3'488'384);  // without the table of classes
  EXPECT_DOUBLE_EQ(model.shape().latent_scale, std::sqrt(128.0));
}

TEST(Scdg, HalvesEqualTheWhole) {
  Scdg const model({.latent = 16, .classes = 3, .hidden = {32, 24, 8}}, 1);
  at::manual_seed(3);
  at::Tensor const x = at::randn({6, 16}), t = at::tensor({1, 5, 100, 400, 999, 1000}),
                   classes = at::tensor({0, 1, 2, 0, 1, 2});
  at::Tensor const whole = model.denoise(x, t, classes);
  EXPECT_TRUE(at::equal(whole, model.denoise(x, model.condition(t, classes))));
  // Time and class must matter.
  EXPECT_FALSE(at::allclose(whole, model.denoise(x, t.flip(0), classes)));
  EXPECT_FALSE(at::allclose(whole, model.denoise(x, t, classes.flip(0))));
}

// A block of four shards against the four alone, at widths where operators on vectors leave a rest.
TEST(Scdg, ABlockOfShardsIsItsShards) {
  Scdg const model({.latent = 13, .classes = 3, .hidden = {34, 22, 10}}, 1);
  auto parameters = model.parameters();
  at::manual_seed(3);
  std::int64_t const n = 5, shards = 4;
  at::Tensor const x = at::randn({n * shards, 13}), t = at::randint(1, 1001, {n * shards}, at::kLong),
                   classes = at::randint(0, 3, {n * shards}, at::kLong);
  at::Tensor const upstream = at::randn({n * shards, 13});
  auto const pass = [&](std::int64_t begin, std::int64_t width) {
    for (auto& parameter : parameters) parameter.mutable_grad() = at::zeros_like(parameter);
    auto const rows = [&](at::Tensor const& all) { return all.narrow(0, begin * n, width * n); };
    at::Tensor const result = model.denoise(rows(x), rows(t), rows(classes), width);
    result.backward(rows(upstream));
    std::vector<at::Tensor> all{result.detach()};
    for (auto const& parameter : parameters) all.push_back(parameter.grad().clone());
    return all;
  };
  auto const block = pass(0, shards);
  std::vector<std::vector<at::Tensor>> alone;
  for (std::int64_t s = 0; s < shards; ++s) alone.push_back(pass(s, 1));
  for (std::int64_t s = 0; s < shards; ++s)
    EXPECT_TRUE(at::equal(block[0].narrow(0, s * n, n), alone[index(s)][0])) << s;
  for (std::size_t i = 1; i < block.size(); ++i)
    EXPECT_TRUE(at::equal(block[i], (alone[0][i] + alone[1][i]) + (alone[2][i] + alone[3][i]))) << i;

  // And the batch in one piece, by autograd, gives the same up to rounding.
  for (auto& parameter : parameters) parameter.mutable_grad() = at::Tensor();
  model.denoise(x, t, classes).backward(upstream);
  for (std::size_t i = 1; i < block.size(); ++i) {
    at::Tensor const expected = parameters[i - 1].grad();
    EXPECT_LT((block[i] - expected).abs().max().item<double>(), 1e-4 * (1 + expected.abs().max().item<double>())) << i;
  }
}

TEST(Scdg, SavedWeightsGiveTheSameInPyTorch) {
  char const* python = std::getenv("RETORT_PYTHON");
  if (!python || !std::filesystem::exists(python)) GTEST_SKIP() << "RETORT_PYTHON is not set";
  auto const folder = fresh_folder();
  Scdg model({.latent = 128, .classes = 5}, 2);
  model.save(folder, {"a", "b", "c", "d", "e"}, "hash", "cells");
  model.freeze();
  at::manual_seed(4);
  at::Tensor const x = at::randn({9, 128}), t = at::randint(1, 1001, {9}, at::kLong),
                   classes = at::randint(0, 5, {9}, at::kLong);
  Safetensors check;
  check.tensors = {{"x", x}, {"t", t}, {"classes", classes}, {"result", model.denoise(x, t, classes).contiguous()}};
  write_safetensors(folder / "check.safetensors", check);
  std::ofstream(folder / "check.py") << R"py(
import math, sys, torch, torch.nn as nn, torch.nn.functional as F
from safetensors.torch import load_file
w, c = load_file(sys.argv[1] + '/scdg.safetensors'), load_file(sys.argv[1] + '/check.safetensors')
def lin(n, x):
    l = nn.Linear(x.shape[1], w[n + '.weight'].shape[0])
    l.load_state_dict({'weight': w[n + '.weight'], 'bias': w[n + '.bias']})
    return l(x)
def norm(n, x):
    l = nn.LayerNorm(x.shape[1]); l.load_state_dict({'weight': w[n + '.weight'], 'bias': w[n + '.bias']}); return l(x)
half = 256
angle = c['t'].float()[:, None] * torch.exp(-math.log(10000) * torch.arange(half) / half)
e = lin('time.out', F.silu(lin('time.in', torch.cat([angle.cos(), angle.sin()], 1)))) + w['classes'][c['classes']]
def block(n, x): return F.silu(norm(n + '.norm', lin(n + '.input', x) + lin(n + '.condition', F.silu(e))))
h, kept = c['x'], []
for i in range(4): h = block(f'down.{i}', h); kept.append(h)
kept.pop()
for i in range(3): h = block(f'up.{i}', h) + kept.pop()
h = lin('head.out', F.silu(norm('head.norm', lin('head.in', h))))
apart = float((h - c['result']).abs().max())
print('largest difference', apart, 'of', float(h.abs().max()))
sys.exit(0 if apart < 2e-5 else 1)
)py";
  EXPECT_EQ(std::system((std::string(python) + " " + (folder / "check.py").string() + " " + folder.string()).c_str()),
            0);
  Scdg again = Scdg::load(folder);
  again.freeze();
  EXPECT_TRUE(at::equal(again.denoise(x, t, classes), check.tensors.at("result")));
  EXPECT_EQ(again.encoder(), "hash");
  EXPECT_EQ(again.class_names().size(), 5U);
}

TEST(Scdg, RefusesBrokenFolders) {
  auto const folder = fresh_folder();
  auto code_of = [&] {
    try {
      Scdg::load(folder);
    } catch (Failure const& failure) {
      return failure.code;
    }
    return ExitCode::ok;
  };
  EXPECT_EQ(code_of(), ExitCode::missing_input);
  std::ofstream(folder / "config.json") << "{\"model\": \"scdg\", \"latent\": -1}";
  EXPECT_EQ(code_of(), ExitCode::bad_input);
  Scdg({.latent = 16, .classes = 2, .hidden = {32, 16}}, 1).save(folder, {"a", "b", "c"}, "", "");  // one name too many
  EXPECT_EQ(code_of(), ExitCode::bad_input);
}

}  // namespace
}  // namespace retort
