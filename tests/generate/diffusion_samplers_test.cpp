// DDPM and DDIM against the loops of scRDiT's code in PyTorch with the same noise, and what they promise about visits,
// ends and blocks.
#include "retort/generate/diffusion_samplers.hpp"

#include <gtest/gtest.h>

#include "../shared_folder.hpp"
#include "retort/files/safetensors.hpp"

namespace retort {
namespace {

constexpr std::int64_t width = 24;
constexpr std::uint64_t seed = 11;

at::Tensor some_noise(at::Tensor const& x, at::Tensor const& index) {
  return at::tanh(0.7 * x + 0.1 * index.unsqueeze(1));
}

TEST(NoiseSchedule, ScrditsGoldenValues) {
  NoiseSchedule const schedule = scrdit_schedule();
  EXPECT_NEAR(signal_left(schedule, 0), 0.9999, 1e-12);
  EXPECT_NEAR(signal_left(schedule, 99), 0.8970, 5e-5);
  EXPECT_NEAR(signal_left(schedule, 499), 0.07859, 5e-6);
  EXPECT_NEAR(signal_left(schedule, 999), 4.036e-5, 5e-9);
}

TEST(DdimVisits, AreThoseOfThePaper) {
  auto const ten = ddim_visits(1000, 10), twenty = ddim_visits(1000, 20), all = ddim_visits(1000, 1);
  ASSERT_EQ(ten.size(), 100U);
  ASSERT_EQ(twenty.size(), 50U);
  ASSERT_EQ(all.size(), 999U);
  for (std::size_t i = 0; i < 99; ++i) EXPECT_EQ(ten[i].from, 990 - 10 * static_cast<std::int64_t>(i));
  EXPECT_EQ(ten[0].to, 980);
  EXPECT_EQ(ten[98].to, 1);
  EXPECT_EQ(ten[99].from, 1);
  EXPECT_EQ(ten[99].to, 0);
  EXPECT_EQ(twenty[0].from, 980);
  for (auto const& [from, to] : all) EXPECT_EQ(to, from - 1);
  failure_of(ExitCode::usage, [] { ddim_visits(1000, 0); });
  failure_of(ExitCode::usage, [] { ddim_visits(1000, 1000); });
}

TEST(DiffusionSamplers, AreScrditsLoops) {
  if (!has_python()) GTEST_SKIP() << "RETORT_PYTHON is not set";
  Communicator const alone = Communicator::serial();
  SharedFolder const folder(alone, "diffusion_samplers");
  constexpr std::int64_t steps = 23;
  NoiseSchedule const schedule(steps, 1e-4, 0.3);
  GeneratedRows const rows{5, 6};
  Safetensors check;
  std::vector<at::Tensor> noise;
  for (std::int64_t step = 0; step < steps; ++step) noise.push_back(row_noise(seed, rows, width, step));
  check.tensors["noise"] = at::stack(noise);
  check.tensors["ddpm"] = sample_ddpm(some_noise, schedule, rows, width, seed);
  for (std::int64_t const stride : {1, 2, 5})
    for (double const eta : {0.0, 0.5, 1.0})
      check.tensors[fmt::format("ddim {} {}", stride, eta)] =
          sample_ddim(some_noise, schedule, {stride, eta}, rows, width, seed);
  write_safetensors(folder / "check.safetensors", check);
  EXPECT_TRUE(python_agrees(folder.path, R"py(
import torch
from safetensors.torch import load_file
c = load_file('check.safetensors')
T, noise = 23, c.pop('noise').double()
beta = torch.linspace(1e-4, .3, T, dtype=torch.float64); alpha = 1 - beta; alpha_hat = torch.cumprod(alpha, 0)
eps = lambda x, i: torch.tanh(.7 * x + .1 * i)
def ddpm():
    x = noise[0]
    for i in range(T - 1, 0, -1):
        z = noise[i] if i > 1 else torch.zeros_like(x)
        x = (x - (1 - alpha[i]) / (1 - alpha_hat[i]).sqrt() * eps(x, i)) / alpha[i].sqrt() + beta[i].sqrt() * z
    return x
def ddim(a, eta):
    x, steps = noise[0], list(range(0, T, a))
    steps.insert(1, 1)
    for i in range(T - 1, 0, -1):
        if i not in steps: continue
        now, before = alpha_hat[i], alpha_hat[steps[steps.index(i) - 1]]
        e, z = eps(x, i), noise[i] if i > 1 else torch.zeros_like(x)
        sigma = eta * ((1 - before) / (1 - now) * (1 - now / before)).sqrt()
        clean = (x - (1 - now).sqrt() * e) / now.sqrt()
        x = before.sqrt() * clean + (1 - before - sigma ** 2).clamp_min(0).sqrt() * e + sigma * z
    return x
assert abs(float(noise.mean())) < .1 and abs(float(noise.std()) - 1) < .1
wanted = {name: ddpm() if name == 'ddpm' else ddim(int(name.split()[1]), float(name.split()[2])) for name in c}
for name, x in c.items():
    apart = float((wanted[name] - x).abs().max() / wanted[name].abs().max())
    assert apart < 1e-5, (name, apart)
assert len(c) == 10 and float((c['ddim 5 0'] - c['ddim 5 1']).abs().max()) > .1
)py"));
}

// A predictor that knows the one cell there is must end at it, as near as index 0 is to clean.
TEST(DiffusionSamplers, EndAtTheOnlyCell) {
  NoiseSchedule const schedule(1000, 1e-4, 0.02);
  at::Tensor const cell = at::linspace(-10, 3, width);
  std::int64_t calls = 0;
  NoisePredictor const predict = [&](at::Tensor const& x, at::Tensor const& index) {
    ++calls;
    double const left = signal_left(schedule, index[0].item<std::int64_t>());
    return (x - std::sqrt(left) * cell) / std::sqrt(1 - left);
  };
  EXPECT_LT((sample_ddpm(predict, schedule, {0, 3}, width, seed) - cell).abs().max().item<float>(), 0.1);
  EXPECT_EQ(calls, 999);
  for (std::int64_t const stride : {10, 20})
    for (double const eta : {0.0, 1.0})
      EXPECT_LT((sample_ddim(predict, schedule, {stride, eta}, {0, 3}, width, seed) - cell).abs().max().item<float>(),
                0.1)
          << stride << " " << eta;
  EXPECT_EQ(calls, 999 + 2 * 150);
}

TEST(DiffusionSamplers, ACellIsTheSameInAnyBlock) {
  NoiseSchedule const schedule(40, 1e-4, 0.3);
  auto const sampled = [&](GeneratedRows const& rows) {
    return at::cat({sample_ddpm(some_noise, schedule, rows, width, seed),
                    sample_ddim(some_noise, schedule, {4, 1}, rows, width, seed)},
                   1);
  };
  at::Tensor const whole = sampled({3, 8});
  EXPECT_TRUE(at::equal(whole, at::cat({sampled({3, 1}), sampled({4, 5}), sampled({9, 2})})));
  EXPECT_FALSE(at::allclose(whole[0], whole[1]));
  EXPECT_FALSE(at::equal(row_noise(seed, {3, 1}, width, 7), row_noise(seed, {3, 1}, width, 8)));
  EXPECT_FALSE(at::equal(row_noise(seed, {3, 1}, width, 7), row_noise(seed + 1, {3, 1}, width, 7)));
}

}  // namespace
}  // namespace retort
