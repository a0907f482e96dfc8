// scvi-tools' autoencoder against the same network in PyTorch, its BatchNorm's running statistics, and what it was
// saved as.
#include "retort/models/scvi_vae.hpp"

#include <ATen/core/grad_mode.h>

#include <gtest/gtest.h>

#include "counted_cells.hpp"
#include "ten_adamw_losses.hpp"

#include "retort/run/index.hpp"

namespace retort {
namespace {

constexpr std::int64_t cells = 12;
constexpr std::uint64_t seed = 9;
constexpr double kl_weight = 0.5;

Random stream_of(std::int64_t step) { return {seed, purpose::vae, static_cast<std::uint64_t>(step), 0}; }

at::Tensor noise_of(Random random, std::vector<std::int64_t> const& sizes) {
  at::Tensor const noise = at::empty(sizes);
  for (std::int64_t i = 0; i < noise.numel(); ++i) noise.data_ptr<float>()[i] = static_cast<float>(random.normal());
  return noise;
}

char const* const network = R"py(
def normed(w, n, x):
    mean, var = x.mean(0), x.var(0, unbiased=False)
    return F.relu((x - mean) / (var + 1e-3).sqrt() * w[n + '.weight'] + w[n + '.bias'])
def lin(w, n, x): return x @ w[n + '.weight'].T + w[n + '.bias']
def loss(w, b):
    x = b['x']
    h = normed(w, 'encoder_norm.0', torch.log1p(x) @ w['encoder.0.weight'] + w['encoder.0.bias'])
    for i in range(1, layers): h = normed(w, f'encoder_norm.{i}', lin(w, f'encoder.{i}', h))
    prior = torch.distributions.Normal(0., 1.)
    q = torch.distributions.Normal(lin(w, 'mean', h), (lin(w, 'log_variance', h).exp() + 1e-4).sqrt())
    h = q.loc + q.scale * b['noise']
    for i in range(layers): h = normed(w, f'decoder_norm.{i}', lin(w, f'decoder.{i}', h))
    mu, theta = x.sum(1, keepdim=True) * lin(w, 'scores', h).softmax(-1), w['log_theta'].exp()
    counts = torch.distributions.NegativeBinomial(theta, logits=torch.log(mu / theta), validate_args=False)
    error = -counts.log_prob(x).sum(1).mean()
    return error + .5 * torch.distributions.kl_divergence(q, prior).sum(1).mean()
)py";

TEST(ScviVae, TenLossesAsInPyTorch) {
  if (!has_python()) GTEST_SKIP() << "RETORT_PYTHON is not set";
  Communicator const alone = Communicator::serial();
  SharedFolder const folder(alone, "scvi_vae");
  for (std::int64_t const layers : {1, 2}) {
    ScviVae vae({genes, 16, 5, layers, 0}, 3);
    shake(vae.parameters(), 0.05);
    std::vector<std::shared_ptr<CsrBlock const>> counts;
    std::vector<at::Tensor> rows, noise;
    for (std::int64_t step = 0; step < 10; ++step) {
      rows.push_back(dense(
          *counts.emplace_back(std::make_shared<CsrBlock const>(some_cells(cells, static_cast<std::uint64_t>(step))))));
      noise.push_back(noise_of(stream_of(step), {cells, 5}));
    }
    std::int64_t step = 0;
    at::Tensor const statistics = at::zeros({vae.statistics()});
    auto const loss = [&](LossBatch const&) {
      at::Tensor const found = vae.shard_loss(counts[index(step)], {stream_of(step), kl_weight}, statistics.zero_());
      ++step;
      EXPECT_EQ(found.item<float>(), statistics[0].item<float>());
      EXPECT_NEAR((statistics[1] + kl_weight * statistics[2]).item<float>(), found.item<float>(), 1e-3);
      return found;
    };
    write_ten_adamw_losses(folder / fmt::format("{} layers", layers), alone, vae.parameters(),
                           {{"x", at::stack(rows)}, {"noise", at::stack(noise)}}, loss,
                           fmt::format("layers = {}\n", layers) + network);
  }
  EXPECT_TRUE(ten_adamw_losses_agree(folder));
}

// PyTorch's own BatchNorm over the same batches, whose statistics a shard adds up.
TEST(ScviVae, RunningStatisticsAreBatchNorms) {
  c10::InferenceMode const no_graph;
  ScviVae vae({genes, 16, 5, 1, 0}, 3);
  std::map<std::string, at::Tensor> of;
  for (auto const& [name, tensor] : vae.parameters().named()) of[name] = tensor.detach();
  at::Tensor const mean = at::zeros({16}), variance = at::full({16}, 1 - 1e-3);
  for (std::int64_t step = 0; step < 4; ++step) {
    // Two shards a step: PyTorch's mean of what each of them would move it to.
    at::Tensor const statistics = at::zeros({vae.statistics()}), moved_mean = at::zeros({16}),
                     moved_variance = at::zeros({16});
    for (std::uint64_t shard = 0; shard < 2; ++shard) {
      auto const counts =
          std::make_shared<CsrBlock const>(some_cells(cells, 2 * static_cast<std::uint64_t>(step) + shard));
      vae.shard_loss(counts, {stream_of(step), 0}, statistics);
      at::Tensor const x = at::addmm(of["encoder.0.bias"], dense(*counts).log1p(), of["encoder.0.weight"]),
                       m = mean.clone(), v = variance.clone();
      at::batch_norm(x, of["encoder_norm.0.weight"], of["encoder_norm.0.bias"], m, v, true, 0.01, 1e-3, false);
      moved_mean.add_(m, 0.5), moved_variance.add_(v, 0.5);
    }
    mean.copy_(moved_mean), variance.copy_(moved_variance);
    vae.update_running(statistics, 2);
  }
  auto const running = vae.running();
  EXPECT_EQ(running.size(), 4U);
  EXPECT_LT((running.at("running_mean.0") - mean).abs().max().item<float>(), 1e-6F);
  EXPECT_LT((running.at("running_variance.0") - variance).abs().max().item<float>(), 1e-6F);
  EXPECT_GT(mean.abs().max().item<float>(), 1e-3F);
}

// A network whose running statistics are far from where they began.
ScviVae trained(std::int64_t layers = 2) {
  ScviVae vae({genes, 16, 5, layers, 0.2}, 3);
  shake(vae.parameters(), 0.1);
  auto const counts = std::make_shared<CsrBlock const>(some_cells(cells, 1));
  at::NoGradGuard const no_graph;
  for (std::int64_t step = 0; step < 100; ++step) {
    at::Tensor const statistics = at::zeros({vae.statistics()});
    vae.shard_loss(counts, {stream_of(step), kl_weight}, statistics);
    vae.update_running(statistics, 1);
  }
  return vae;
}

TEST(ScviVae, FinishedItInfersAsBatchNormDid) {
  c10::InferenceMode const no_graph;
  ScviVae vae = trained();
  auto const unseen = some_cells(cells, 77);
  at::Tensor const latents = vae.embed(unseen), logits = vae.decode(latents).logits;
  EXPECT_GT((ScviVae({genes, 16, 5, 2, 0}, 3).embed(unseen) - latents).abs().max().item<float>(), 0.1F);
  vae.finish();
  EXPECT_LT((vae.embed(unseen) - latents).abs().max().item<float>(), 1e-5F);
  EXPECT_LT((vae.decode(latents).logits - logits).abs().max().item<float>(), 1e-5F);
  for (auto const& [name, tensor] : vae.running())
    EXPECT_EQ(tensor.sub(name.starts_with("running_mean") ? 0.0 : 1 - 1e-3).abs().max().item<float>(), 0);
  // Written down in PyTorch's words, with what was folded in.
  std::map<std::string, at::Tensor> of;
  for (auto const& [name, tensor] : vae.parameters().named()) of[name] = tensor.detach();
  auto const scaled = [&](at::Tensor const& x, std::string const& name) {
    return at::relu(x * of[name + ".weight"] + of[name + ".bias"]);
  };
  at::Tensor const h =
      scaled(at::addmm(of["encoder.0.bias"], dense(unseen).log1p(), of["encoder.0.weight"]), "encoder_norm.0");
  at::Tensor const plain =
      at::linear(scaled(at::linear(h, of["encoder.1.weight"], of["encoder.1.bias"]), "encoder_norm.1"),
                 of["mean.weight"], of["mean.bias"]);
  EXPECT_LT((plain - latents).abs().max().item<float>(), 1e-4F);
}

TEST(ScviVae, DropsAShareOfTheHiddenInTrainingAlone) {
  c10::InferenceMode const no_graph;
  ScviVae with({genes, 16, 5, 1, 0.5}, 3), without({genes, 16, 5, 1, 0}, 3);
  auto const counts = std::make_shared<CsrBlock const>(some_cells(cells));
  auto const loss = [&](ScviVae& vae, std::int64_t step) {
    return vae.shard_loss(counts, {stream_of(step), 0}, at::zeros({vae.statistics()})).item<float>();
  };
  EXPECT_NE(loss(with, 1), loss(without, 1));
  EXPECT_EQ(loss(with, 1), loss(with, 1));
  EXPECT_NE(loss(with, 1), loss(with, 2));
  EXPECT_TRUE(at::equal(with.embed(*counts), without.embed(*counts)));
}

TEST(ScviVae, ACellIsEmbeddedAlone) {
  c10::InferenceMode const no_graph;
  ScviVae const vae = trained();
  at::Tensor const one = vae.embed(some_cells(1, 4));
  auto many = some_cells(1, 4);
  auto const others = some_cells(5, 6);
  for (std::size_t row = 1; row < others.indptr.size(); ++row)
    many.indptr.push_back(many.indptr[1] + others.indptr[row]);
  many.indices.insert(many.indices.end(), others.indices.begin(), others.indices.end());
  many.values.insert(many.values.end(), others.values.begin(), others.values.end());
  EXPECT_LT((vae.embed(many).narrow(0, 0, 1) - one).abs().max().item<float>(), 1e-6F);
}

TEST(ScviVae, IsReadAsItWasWritten) {
  Communicator const alone = Communicator::serial();
  SharedFolder const folder(alone, "scvi_vae_files");
  ScviVae vae = trained();
  vae.finish();
  vae.save(folder / "vae", some_origin());
  auto const read = load_vae(folder / "vae");
  EXPECT_EQ(read->origin.gene_names, some_origin().gene_names);
  EXPECT_EQ(read->origin.atlas, "atlas 1");
  EXPECT_EQ(read->parameters().hash(), vae.parameters().hash());
  c10::InferenceMode const no_graph;
  auto const unseen = some_cells(cells, 77);
  at::Tensor const latents = vae.embed(unseen);
  EXPECT_EQ(latents.sizes(), at::IntArrayRef({cells, read->width()}));
  EXPECT_TRUE(at::equal(read->embed(unseen), latents));
  EXPECT_TRUE(at::equal(read->decode(latents).logits, vae.decode(latents).logits));
}

TEST(ScviVae, RefusesBrokenFolders) {
  Communicator const alone = Communicator::serial();
  SharedFolder const folder(alone, "scvi_vae_broken");
  ScviVae({genes, 16, 5, 2, 0.1}, 3).save(folder / "vae", some_origin());
  expect_broken_files_refused(folder / "vae", "scvi_vae");
  for (auto const* name : {"hidden", "latent", "layers"})
    for (auto const value : {std::int64_t{-1}, std::int64_t{0}, std::int64_t{3}, std::int64_t{1} << 62})
      failure_of_config(folder / "vae", [&](nlohmann::json& config) { config[name] = value; });
  for (double const value : {-0.1, 1.0})
    failure_of_config(folder / "vae", [&](nlohmann::json& config) { config["dropout"] = value; });
  failure_of_config(folder / "vae", [](nlohmann::json& config) { config["genes"].erase(3); });
  failure_of_config(folder / "vae", [](nlohmann::json& config) { config.erase("atlas"); });
  failure_of_config(folder / "vae", [](nlohmann::json& config) { config["model"] = "scldm_vae"; });
  EXPECT_EQ(load_vae(folder / "vae")->width(), 5);
}

TEST(ScviVae, RefusesSizesAndALoneCell) {
  failure_of(ExitCode::usage, [] { ScviVae({genes, 0, 5, 1, 0}, 3); });
  failure_of(ExitCode::usage, [] { ScviVae({genes, 16, 5, 0, 0}, 3); });
  failure_of(ExitCode::usage, [] { ScviVae({genes, 16, 5, 1, 1}, 3); });
  ScviVae vae({genes, 16, 5, 1, 0}, 3);
  EXPECT_NE(failure_of(ExitCode::usage,
                       [&] {
                         vae.shard_loss(std::make_shared<CsrBlock const>(some_cells(1)), {stream_of(0), 0},
                                        at::zeros({vae.statistics()}));
                       })
                .find("one cell"),
            std::string::npos);
}

}  // namespace
}  // namespace retort
