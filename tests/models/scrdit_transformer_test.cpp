// scRDiT's transformer: golden sizes, its first prediction, PyTorch's predictions and ten of its training losses.
#include "retort/models/scrdit_transformer.hpp"

#include <gtest/gtest.h>

#include "ten_adamw_losses.hpp"

namespace retort {
namespace {

constexpr ScrditTransformerShape small{.genes = 100, .patch = 10, .width = 64, .depth = 1, .heads = 4};

at::Tensor noisy_cells(std::vector<std::int64_t> const& sizes) { return 3 * at::randn(sizes); }

TEST(ScrditTransformer, ParameterCounts) {
  EXPECT_EQ(ScrditTransformer({.depth = 1}, 0).parameters().count(), 12'613'642);
  EXPECT_EQ(ScrditTransformer({}, 0).parameters().count(), 33'870'346);
}

TEST(ScrditTransformer, PredictsNothingAtFirst) {
  ScrditTransformer const network(small, 3);
  at::manual_seed(2);
  at::Tensor const noise = network.predict(noisy_cells({3, 100}), at::tensor({1, 500, 999}, at::kLong));
  EXPECT_EQ(noise.sizes(), at::IntArrayRef({3, 100}));
  EXPECT_EQ(noise.abs().max().item<float>(), 0);
}

TEST(ScrditTransformer, AShakenOnePredictsByTimeAndSeed) {
  ScrditTransformer const network(small, 3), same(small, 3), other(small, 4);
  for (auto const* one : {&network, &same, &other}) shake(one->parameters(), 0.1);
  at::manual_seed(2);
  at::Tensor const x = noisy_cells({3, 100}), t = at::tensor({1, 500, 999}, at::kLong);
  at::Tensor const noise = network.predict(x, t);
  EXPECT_TRUE(at::equal(noise, same.predict(x, t)));
  EXPECT_FALSE(at::allclose(noise, other.predict(x, t)));
  EXPECT_FALSE(at::allclose(noise, network.predict(x, t.flip(0))));
}

TEST(ScrditTransformer, PredictsAsThePeerAtPublicSizes) {
  if (!has_python() || !has_peers()) GTEST_SKIP() << "RETORT_PYTHON or RETORT_SHARED is not set";
  Communicator const alone = Communicator::serial();
  SharedFolder const folder(alone, "scrdit_transformer_peer");
  ScrditTransformer const network({}, 5);
  shake(network.parameters(), 0.05);
  at::Tensor const x = noisy_cells({3, 2000}), t = at::tensor({1, 500, 999}, at::kLong);
  // float32 rounds an angle of 999 by 3e-5.
  EXPECT_TRUE(peer_agrees(folder, network.parameters(), "scrdit_torch.py", "DiT(2000, 768, 3, 8, 10)", {x, t},
                          network.predict(x, t), 3e-5));
}

TEST(ScrditTransformer, TenLossesAreThoseOfPyTorch) {
  if (!has_python()) GTEST_SKIP() << "RETORT_PYTHON is not set";
  Communicator const alone = Communicator::serial();
  SharedFolder const folder(alone, "scrdit_transformer");
  ScrditTransformer const network(small, 6);
  shake(network.parameters(), 0.05);
  EXPECT_TRUE(ten_adamw_losses_agree(
      folder, network.parameters(),
      {{"x", noisy_cells({10, 8, 100})},
       {"t", at::randint(1, 1000, {10, 8}, at::kLong)},
       {"noise", at::randn({10, 8, 100})}},
      [&](LossBatch const& batch) {
        return at::mse_loss(network.predict(batch.at("x"), batch.at("t")), batch.at("noise"));
      },
      R"py(
def lin(w, n, x): return F.linear(x, w[n + '.weight'], w[n + '.bias'])
def norm(x): return (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()
def loss(w, b):  # the patches by the paper's strided convolution, the attention written out
    angle = b['t'][:, None].double() * 1e4 ** (-torch.arange(128).double() / 128)
    time = F.silu(lin(w, 'time.2', F.silu(lin(w, 'time.0', torch.cat([angle.cos(), angle.sin()], 1)))))
    place = torch.arange(10).double()[:, None] * 1e4 ** (-torch.arange(16).double() / 16)
    table = torch.cat([torch.zeros(10, 16), torch.ones(10, 16), place.sin(), place.cos()], 1)
    h = F.conv1d(b['x'][:, None], w['embed.weight'][:, None], w['embed.bias'], stride=10).transpose(1, 2) + table
    c = lin(w, 'blocks.0.ada', time)[:, None].split(64, -1)
    heads = lambda y: y.view(8, 10, 4, 16).transpose(1, 2)
    q, k, v = map(heads, lin(w, 'blocks.0.qkv', norm(h) * (1 + c[1]) + c[0]).split(64, -1))
    mixed = (q @ k.transpose(-1, -2) / 4).softmax(-1) @ v
    h = h + c[2] * lin(w, 'blocks.0.proj', mixed.transpose(1, 2).reshape(8, 10, 64))
    inner = F.gelu(lin(w, 'blocks.0.fc1', norm(h) * (1 + c[4]) + c[3]), approximate='tanh')
    h = h + c[5] * lin(w, 'blocks.0.fc2', inner)
    shift, scale = lin(w, 'ada', time)[:, None].split(64, -1)
    return F.mse_loss(lin(w, 'out', norm(h) * (1 + scale) + shift).reshape(8, 100), b['noise'])
)py"));
}

TEST(ScrditTransformer, RefusesSizesThatDoNotDivide) {
  EXPECT_NE(failure_of(ExitCode::usage, [] { ScrditTransformer({.genes = 2005}, 0); }).find("2005 genes"),
            std::string::npos);
  EXPECT_NE(failure_of(ExitCode::usage, [] { ScrditTransformer({.width = 100}, 0); }).find("8 heads"),
            std::string::npos);
  failure_of(ExitCode::usage, [] { ScrditTransformer({.depth = 0}, 0); });
}

}  // namespace
}  // namespace retort
