// scLDM's transformer: golden sizes, its first prediction, PyTorch's predictions and ten of its training losses.
#include "retort/models/scldm_transformer.hpp"

#include <gtest/gtest.h>

#include "ten_adamw_losses.hpp"

#include "retort/run/index.hpp"

namespace retort {
namespace {

Attribute attribute(std::string const& name, std::int64_t classes) {
  Attribute made{name, {}};
  for (std::int64_t i = 0; i < classes; ++i) made.classes.push_back(fmt::format("{} {}", name, i));
  return made;
}

ScldmTransformerShape small() {
  return {.tokens = 5,
          .latent = 6,
          .width = 48,
          .blocks = 2,
          .heads = 4,
          .attributes = {attribute("type", 3), attribute("stimulus", 2)}};
}

at::Tensor some_labels(at::IntArrayRef before) {
  return at::stack({at::randint(0, 4, before, at::kLong), at::randint(0, 3, before, at::kLong)},
                   -1);  // the last of each is none()
}

TEST(ScldmTransformer, ParameterCounts) {
  // methods 5.1: the public base configuration on Dentate Gyrus' 14 classes.
  EXPECT_EQ(ScldmTransformer({.attributes = {attribute("type", 14)}}, 0).parameters().count(), 9'741'328);
  EXPECT_NEAR(static_cast<double>(
                  ScldmTransformer({.width = 512, .attributes = {attribute("type", 14)}}, 0).parameters().count()) /
                  1e6,
              38.8, 0.05);
}

TEST(ScldmTransformer, PredictsNothingAtFirst) {
  ScldmTransformer const network(small(), 3);
  at::manual_seed(2);
  at::Tensor const velocity = network.velocity(at::randn({7, 5, 6}), at::rand({7}), some_labels({7}));
  EXPECT_EQ(velocity.sizes(), at::IntArrayRef({7, 5, 6}));
  EXPECT_EQ(velocity.abs().max().item<float>(), 0);
}

TEST(ScldmTransformer, AShakenOnePredictsByTimeLabelsAndSeed) {
  ScldmTransformer const network(small(), 3), same(small(), 3), other(small(), 4);
  for (auto const* one : {&network, &same, &other}) shake(one->parameters(), 0.1);
  at::manual_seed(2);
  at::Tensor const z = at::randn({2, 5, 6}), t = at::tensor({0.2F, 0.7F}),
                   labels = at::tensor({0, 0, 2, 1}, at::kLong).view({2, 2});
  at::Tensor const velocity = network.velocity(z, t, labels);
  EXPECT_TRUE(at::equal(velocity, same.velocity(z, t, labels)));
  EXPECT_FALSE(at::allclose(velocity, other.velocity(z, t, labels)));
  EXPECT_FALSE(at::allclose(velocity, network.velocity(z, t.flip(0), labels)));
  for (std::int64_t a = 0; a < 2; ++a) {
    at::Tensor without = labels.clone();
    without.select(1, a).fill_(network.none(index(a)));
    at::Tensor const unlike = (network.velocity(z, t, without) - velocity).abs().amax({1, 2});  // [2]
    EXPECT_GT(unlike.min().item<float>(), 1e-4F) << "attribute " << a << " is not heard of";
  }
}

TEST(ScldmTransformer, PredictsAsThePeerAtPublicSizes) {
  if (!has_python() || !has_peers()) GTEST_SKIP() << "RETORT_PYTHON or RETORT_SHARED is not set";
  Communicator const alone = Communicator::serial();
  SharedFolder const folder(alone, "scldm_transformer_peer");
  // The peer has one attribute, whose table has no number in its name.
  Parameters renamed(0, 0);
  ScldmTransformer const network({.attributes = {attribute("type", 14)}}, 5);
  shake(network.parameters(), 0.05);
  for (auto const& [name, tensor] : network.parameters().named())
    renamed.constant(name == "label.0.weight" ? "label.weight" : name, tensor.sizes().vec(), 0)
        .detach()
        .copy_(tensor.detach());
  at::manual_seed(2);
  at::Tensor const z = at::randn({4, 16, 16}), t = at::tensor({0.0F, 0.31F, 0.999F, 1.0F}),
                   labels = at::tensor({0, 4, 14, 2}, at::kLong);
  EXPECT_TRUE(peer_agrees(folder, renamed, "scldm_torch.py", "DiT(14, m=16, d=16, n=256, layers=8, heads=8)",
                          {z, t, labels}, network.velocity(z, t, labels.unsqueeze(1)), 1e-5));
}

TEST(ScldmTransformer, TenLossesAreThoseOfPyTorch) {
  if (!has_python()) GTEST_SKIP() << "RETORT_PYTHON is not set";
  Communicator const alone = Communicator::serial();
  SharedFolder const folder(alone, "scldm_transformer");
  ScldmTransformer const network(small(), 6);
  shake(network.parameters(), 0.05);
  at::manual_seed(3);
  EXPECT_TRUE(ten_adamw_losses_agree(
      folder, network.parameters(),
      {{"z", at::randn({10, 8, 5, 6})},
       {"t", at::rand({10, 8})},
       {"labels", some_labels({10, 8})},
       {"wanted", at::randn({10, 8, 5, 6})}},
      [&](LossBatch const& batch) {
        return at::mse_loss(network.velocity(batch.at("z"), batch.at("t"), batch.at("labels")), batch.at("wanted"));
      },
      R"py(
def lin(w, n, x): return F.linear(x, w[n + '.weight'], w.get(n + '.bias'))
def norm(x): return (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-8).sqrt()
def loss(w, b):
    angle = b['t'][:, None] * 1e4 ** (-torch.arange(128).double() / 128)
    c = lin(w, 'time.2', F.silu(lin(w, 'time.0', torch.cat([angle.cos(), angle.sin()], 1))))
    c = F.silu(c + w['label.0.weight'][b['labels'][:, 0]] + w['label.1.weight'][b['labels'][:, 1]])
    place = torch.arange(5).double()[:, None] * 1e4 ** (-torch.arange(24).double() / 24)
    h = lin(w, 'inp', b['z']) + torch.cat([place.sin(), place.cos()], 1)
    heads = lambda y: y.view(8, 5, 4, 12).transpose(1, 2)
    for i in range(2):
        n = f'blocks.{i}.'
        scale, shift, gate, scale2, shift2, gate2 = lin(w, n + 'ada', c)[:, None].split(48, -1)
        q, k, v = map(heads, lin(w, n + 'attn.qkv', norm(h) * (1 + scale) + shift).split(48, -1))
        mixed = (q @ k.transpose(-1, -2) / math.sqrt(12)).softmax(-1) @ v
        h = h + gate * lin(w, n + 'attn.out', mixed.transpose(1, 2).reshape(8, 5, 48))
        x = norm(h) * (1 + scale2) + shift2
        h = h + gate2 * lin(w, n + 'mlp.w3', F.silu(lin(w, n + 'mlp.w1', x)) * lin(w, n + 'mlp.w2', x))
    shift, scale = lin(w, 'ada', c)[:, None].split(48, -1)
    return F.mse_loss(lin(w, 'out', norm(h) * (1 + scale) + shift), b['wanted'])
)py"));
}

TEST(ScldmTransformer, RefusesSizesThatDoNotDivide) {
  EXPECT_NE(failure_of(ExitCode::usage, [] { ScldmTransformer({.width = 100, .attributes = {}}, 0); }).find("8 heads"),
            std::string::npos);
  EXPECT_NE(failure_of(ExitCode::usage, [] { ScldmTransformer({.width = 15, .heads = 5, .attributes = {}}, 0); })
                .find("even"),
            std::string::npos);
  failure_of(ExitCode::usage, [] { ScldmTransformer({.blocks = 0, .attributes = {}}, 0); });
  failure_of(ExitCode::usage, [] { ScldmTransformer({.tokens = 0, .attributes = {}}, 0); });
}

}  // namespace
}  // namespace retort
