// scRDiT's U-Net: its golden size, PyTorch's predictions and ten of its training losses.
#include "retort/models/scrdit_unet.hpp"

#include <gtest/gtest.h>

#include "ten_adamw_losses.hpp"

namespace retort {
namespace {

TEST(ScrditUnet, ParameterCount) { EXPECT_EQ(ScrditUnet({}, 0).parameters().count(), 8'634'625); }

TEST(ScrditUnet, PredictsAsThePeerAtPublicSizes) {
  if (!has_python() || !has_peers()) GTEST_SKIP() << "RETORT_PYTHON or RETORT_SHARED is not set";
  Communicator const alone = Communicator::serial();
  SharedFolder const folder(alone, "scrdit_unet_peer");
  ScrditUnet const network({}, 5);
  shake(network.parameters(), 0.05);
  at::Tensor const x = 3 * at::randn({2, 2000}), t = at::tensor({1, 999}, at::kLong);
  // float32 rounds an angle of 999 by 3e-5, and no layer stands between the sinusoids and what each stage adds.
  EXPECT_TRUE(
      peer_agrees(folder, network.parameters(), "scrdit_torch.py", "UNet()", {x, t}, network.predict(x, t), 2e-5));
}

TEST(ScrditUnet, TenLossesAreThoseOfPyTorch) {
  if (!has_python()) GTEST_SKIP() << "RETORT_PYTHON is not set";
  Communicator const alone = Communicator::serial();
  SharedFolder const folder(alone, "scrdit_unet");
  ScrditUnet const network({.genes = 64, .channels = 8}, 6);
  shake(network.parameters(), 0.05);
  EXPECT_TRUE(ten_adamw_losses_agree(
      folder, network.parameters(),
      {{"x", 3 * at::randn({10, 8, 64})},
       {"t", at::randint(1, 1000, {10, 8}, at::kLong)},
       {"noise", at::randn({10, 8, 64})}},
      [&](LossBatch const& batch) {
        return at::mse_loss(network.predict(batch.at("x"), batch.at("t")), batch.at("noise"));
      },
      R"py(
def lin(w, n, x): return F.linear(x, w[n + '.weight'], w[n + '.bias'])
def norm(w, n, x): return F.layer_norm(x, x.shape[-1:], w[n + '.weight'], w[n + '.bias'])
def all_norm(w, n, x):  # one group: over channels and genes
    y = (x - x.mean((1, 2), keepdim=True)) / (x.var((1, 2), unbiased=False, keepdim=True) + 1e-5).sqrt()
    return y * w[n + '.weight'][:, None] + w[n + '.bias'][:, None]
def double(w, n, x, residual=False):
    y = F.gelu(all_norm(w, n + '.net.1', F.conv1d(x, w[n + '.net.0.weight'], padding=1)))
    y = all_norm(w, n + '.net.4', F.conv1d(y, w[n + '.net.3.weight'], padding=1))
    return F.gelu(x + y) if residual else y
def stage(w, n, x, time):
    x = double(w, n + '.conv2', double(w, n + '.conv1', x, True)) + lin(w, n + '.time', time)[..., None]
    x, n = x.transpose(1, 2), n + '.attend.'
    width, a = x.shape[2], norm(w, n + 'norm', x)
    heads = lambda y: y.unflatten(-1, (4, -1)).transpose(1, 2)
    weights, biases = w[n + 'mha.in_proj_weight'].split(width), w[n + 'mha.in_proj_bias'].split(width)
    q, k, v = (heads(F.linear(a, s, t)) for s, t in zip(weights, biases))
    mixed = ((q @ k.transpose(-1, -2)) / math.sqrt(width // 4)).softmax(-1) @ v
    x = x + lin(w, n + 'mha.out_proj', mixed.transpose(1, 2).flatten(2))
    return (x + lin(w, n + 'ff.3', F.gelu(lin(w, n + 'ff.1', norm(w, n + 'ff.0', x))))).transpose(1, 2)
def doubled(x):  # linear, ends kept
    n = x.shape[2]
    at = torch.arange(2 * n).double() * (n - 1) / (2 * n - 1)
    low = at.floor().long().clamp(max=n - 2)
    return x[..., low] * (1 - (at - low)) + x[..., low + 1] * (at - low)
def loss(w, b):
    angle = b['t'][:, None].double() * 1e4 ** (-torch.arange(128).double() / 128)
    time = F.silu(torch.cat([angle.sin(), angle.cos()], 1))
    skips = [double(w, 'inc', b['x'][:, None])]
    for i in range(3): skips.append(stage(w, f'down.{i}', skips[-1].unflatten(2, (-1, 2)).amax(-1), time))
    h = skips.pop()
    for i in range(3): h = double(w, f'mid.{i}', h)
    for i in range(3): h = stage(w, f'up.{i}', torch.cat([skips.pop(), doubled(h)], 1), time)
    return F.mse_loss(F.conv1d(h, w['out.weight'], w['out.bias'])[:, 0], b['noise'])
)py"));
}

TEST(ScrditUnet, RefusesSizesThatDoNotDivide) {
  EXPECT_NE(failure_of(ExitCode::usage, [] { ScrditUnet({.genes = 2004}, 0); }).find("2004 genes"), std::string::npos);
  failure_of(ExitCode::usage, [] { ScrditUnet({.channels = 30}, 0); });
}

}  // namespace
}  // namespace retort
