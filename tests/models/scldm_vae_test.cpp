// scLDM's autoencoder against the same network in PyTorch, its sizes, and what a set of genes promises: no order.
#include "retort/models/scldm_vae.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "counted_cells.hpp"
#include "ten_adamw_losses.hpp"

namespace retort {
namespace {

ScldmVaeShape small(Fusion fusion, TokenGenes token_genes, std::int64_t length = 0) {
  ScldmVaeShape shape;
  shape.genes = genes;
  shape.width = 24, shape.tokens = 5, shape.latent = 6, shape.blocks = 2, shape.heads = 4, shape.cross_heads = 2;
  shape.length = length, shape.fusion = fusion, shape.token_genes = token_genes;
  return shape;
}

// The network as its authors' code has it, token by token; `tokens` all genes of a cell, a mask instead of a ragged
// list, pads counted.
char const* const network = R"py(
def attend(q, k, v, heads, weight=None):
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    s = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    if weight is not None: s = s + weight[:, None, None, :]
    return (s.softmax(-1) @ v).transpose(1, 2).flatten(2)
def norm(w, n, x): return F.layer_norm(x, x.shape[-1:], w[n + '.weight'], w[n + '.bias'], 1e-8)
def mlp(w, n, x): return (F.silu(x @ w[n + '.w1.weight'].T) * (x @ w[n + '.w2.weight'].T)) @ w[n + '.w3.weight'].T
def block(w, n, x):
    qkv = (norm(w, n + '.norm1', x) @ w[n + '.attn.qkv.weight'].T).chunk(3, -1)
    x = x + attend(*qkv, heads) @ w[n + '.attn.out.weight'].T
    return x + mlp(w, n + '.mlp', norm(w, n + '.norm2', x))
def cross(w, n, q0, x, weight=None):
    k, v = (norm(w, n + '.norm_x', x) @ w[n + '.kv.weight'].T).chunk(2, -1)
    q = norm(w, n + '.norm_q', q0) @ w[n + '.q.weight'].T
    f = q0 + attend(q.expand(len(x), -1, -1), k, v, cross_heads, weight) @ w[n + '.out.weight'].T
    return f + mlp(w, n + '.mlp', norm(w, n + '.norm2', f))
def encode(w, x):
    e, l = w['gene.weight'][1:].expand(len(x), -1, -1), torch.log1p(x)[..., None]
    pad, pads = w['gene.weight'][:1].expand(len(x), -1, -1), (length - (x > 0).sum(1)).clamp(min=0)
    e, l = torch.cat([e, pad], 1), torch.cat([l, torch.zeros_like(l[:, :1])], 1)
    if all_genes: weight = torch.cat([torch.zeros_like(x), torch.full((len(x), 1), -torch.inf).to(x)], 1)
    else: weight = torch.cat([torch.where(x > 0, 0., -torch.inf).to(x), torch.log(pads.to(x))[:, None]], 1)
    tokens = torch.cat([e, l.expand_as(e)], -1) @ w['fuse.weight'].T if 'fuse.weight' in w else e * l
    h = cross(w, 'read', w['inducing'], tokens, weight)
    for i in range(blocks): h = block(w, f'encoder.{i}', h)
    h = h @ w['to_latent.weight'].T
    return h if posterior else F.layer_norm(h, h.shape[-1:], eps=1e-8)
def decode(w, z):
    h = (z if posterior else F.layer_norm(z, z.shape[-1:], eps=1e-8)) @ w['from_latent.weight'].T
    for i in range(blocks): h = block(w, f'decoder.{i}', h)
    h = cross(w, 'write', w['gene.weight'][1:], h)
    if 'head_norm.weight' in w: h = norm(w, 'head_norm', h)
    return h @ w['logit.weight'].T + w['logit.bias']
def loss(w, b):
    x = b['x']
    z = encode(w, x)
    if posterior: mean, log_variance = z.chunk(2, -1); z = mean + (log_variance / 2).exp() * b['noise']
    out = decode(w, z)
    if 'head_norm.weight' in w:
        return ((torch.log1p(1e4 * x / x.sum(1, keepdim=True)) - out[..., 0]) ** 2).sum(1).mean()
    mu = x.sum(1, keepdim=True) * out[..., 0].softmax(-1)
    theta = (w['log_theta.weight'][1:, 0] if 'log_theta.weight' in w else out[..., 1]).exp()
    counts = torch.distributions.NegativeBinomial(theta, logits=torch.log(mu / theta), validate_args=False)
    return -counts.log_prob(x).sum(1).mean()
)py";

void write_ten_losses(SharedFolder const& folder, std::string const& name, ScldmVaeShape const& shape) {
  ScldmVae const vae(shape, 3);
  LossBatch batches;
  std::vector<CsrBlock> cells;
  std::vector<at::Tensor> rows;
  for (std::uint64_t step = 0; step < 10; ++step) rows.push_back(dense(cells.emplace_back(some_cells(6, step))));
  batches["x"] = at::stack(rows);
  at::manual_seed(8);
  batches["noise"] = at::randn({10, 6, shape.tokens, shape.latent});
  std::size_t step = 0;
  auto const loss = [&](LossBatch const& batch) {
    auto const counts = std::make_shared<CsrBlock const>(cells[step++]);
    return vae.reconstruction_error(counts, vae.decode(vae.latents(vae.encode(*counts), batch.at("noise")))).mean();
  };
  auto const settings =
      fmt::format("heads, cross_heads, blocks, length, all_genes, posterior = {}, {}, {}, {}, {}, {}\n", shape.heads,
                  shape.cross_heads, shape.blocks, shape.length,
                  shape.token_genes == TokenGenes::all ? "True" : "False", shape.posterior ? "True" : "False");
  write_ten_adamw_losses(folder / name, folder.ranks, vae.parameters(), batches, loss, settings + network);
}

TEST(ScldmVae, TenLossesAsInPyTorch) {
  if (!has_python()) GTEST_SKIP() << "RETORT_PYTHON is not set";
  Communicator const alone = Communicator::serial();
  SharedFolder const folder(alone, "scldm_vae");
  for (auto const fusion : {Fusion::concat, Fusion::log1p}) {
    write_ten_losses(folder, name_of(fusion) + "_padded", small(fusion, TokenGenes::expressed, 30));
    write_ten_losses(folder, name_of(fusion) + "_all", small(fusion, TokenGenes::all));
  }
  auto shape = small(Fusion::concat, TokenGenes::expressed);
  for (auto const likelihood :
       {CellLikelihood::shared_dispersion, CellLikelihood::own_dispersion, CellLikelihood::gaussian}) {
    shape.likelihood = likelihood;
    write_ten_losses(folder, name_of(likelihood), shape);
  }
  shape.likelihood = CellLikelihood::shared_dispersion, shape.posterior = true;
  write_ten_losses(folder, "posterior", shape);
  ScldmVaeShape public_sizes;  // on few genes: only tables are as long as these
  public_sizes.genes = genes;
  write_ten_losses(folder, "public_sizes", public_sizes);
  EXPECT_TRUE(ten_adamw_losses_agree(folder));
}

TEST(ScldmVae, AShardsLossHasTheDistanceToThePrior) {
  auto shape = small(Fusion::concat, TokenGenes::expressed);
  shape.posterior = true;
  ScldmVae vae(shape, 3);
  auto const counts = std::make_shared<CsrBlock const>(some_cells(6));
  Random const random(4, purpose::vae, 2, 1);
  at::Tensor const statistics = at::zeros({3}), noise = at::empty({6, shape.tokens, shape.latent});
  double const loss = vae.shard_loss(counts, {random, 0.25}, statistics).item<double>();
  auto again = random;
  for (std::int64_t i = 0; i < noise.numel(); ++i) noise.data_ptr<float>()[i] = static_cast<float>(again.normal());
  at::Tensor const encoded = vae.encode(*counts);
  auto const halves = encoded.to(at::kDouble).chunk(2, -1);
  double const kl = (0.5 * (halves[0].square() + halves[1].exp() - 1 - halves[1])).sum().item<double>() / 6;
  double const error = vae.reconstruction_error(counts, vae.decode(vae.latents(encoded, noise))).mean().item<double>();
  EXPECT_NEAR(loss / (error + 0.25 * kl), 1, 1e-6);
  EXPECT_NEAR(statistics[0].item<double>(), loss, 1e-6 * loss);
  EXPECT_NEAR(statistics[1].item<double>(), error, 1e-6 * error);
  EXPECT_NEAR(statistics[2].item<double>(), kl, 1e-5 * kl);
  EXPECT_GT(kl, 0.1);

  // Without a posterior nothing is drawn and nothing weighed.
  ScldmVae plain(small(Fusion::concat, TokenGenes::expressed), 3);
  at::Tensor const of_plain = at::zeros({3});
  float const plain_loss = plain.shard_loss(counts, {random, 0.25}, of_plain).item<float>();
  EXPECT_EQ(plain_loss, of_plain[1].item<float>());
  EXPECT_EQ(of_plain[2].item<float>(), 0);
}

TEST(ScldmVae, Sizes) {
  // methods 5.1: the public base configuration on Dentate Gyrus; 3.4: Census sizes by width.
  auto count = [](std::int64_t of_genes, std::int64_t width, std::int64_t tokens) {
    ScldmVaeShape shape;
    shape.genes = of_genes, shape.width = width, shape.tokens = tokens, shape.fusion = Fusion::log1p;
    return ScldmVae(shape, 0).parameters().count();
  };
  EXPECT_EQ(count(17'002, 32, 16), 790'892);
  EXPECT_NEAR(static_cast<double>(count(36'130, 256, 256)) / 1e6, 23.6, 0.05);
  EXPECT_NEAR(static_cast<double>(count(36'130, 512, 256)) / 1e6, 75.4, 0.05);
  EXPECT_NEAR(static_cast<double>(count(36'130, 1024, 256)) / 1e6, 264.0, 0.05);
}

TEST(ScldmVae, GenesHaveNoOrder) {
  // Renaming genes, in the cells and in the tables alike, leaves the latents and permutes what the decoder says.
  for (auto const fusion : {Fusion::log1p, Fusion::concat}) {
    c10::InferenceMode const no_graph;
    ScldmVae const vae(small(fusion, TokenGenes::expressed, 30), 3),
        renamed(small(fusion, TokenGenes::expressed, 30), 3);
    auto const cells = some_cells(7);
    std::vector<std::int64_t> order(genes);
    for (std::size_t g = 0; g < order.size(); ++g) order[g] = static_cast<std::int64_t>(g);
    Random(1, purpose::shuffle).shuffle(order);
    auto const place = at::tensor(order, at::kLong);  // gene g of the renamed is gene order[g]
    for (auto const& [name, tensor] : renamed.parameters().named())
      if (name == "gene.weight" || name == "log_theta.weight")
        tensor.detach().narrow(0, 1, genes).copy_(tensor.detach().narrow(0, 1, genes).index_select(0, place));
    auto const x = dense(cells).index_select(1, place);
    CsrBlock other;
    other.genes = genes;
    for (std::int64_t c = 0; c < cells.rows(); ++c) {
      for (std::int64_t g = 0; g < genes; ++g)
        if (float const count = x[c][g].item<float>(); count > 0)
          other.indices.push_back(static_cast<std::int32_t>(g)), other.values.push_back(count);
      other.indptr.push_back(std::ssize(other.indices));
    }
    auto const z = vae.encode(cells), again = renamed.encode(other);
    EXPECT_LT((z - again).abs().max().item<float>(), 1e-5F);
    EXPECT_LT((vae.decode(z).logits.index_select(1, place) - renamed.decode(z).logits).abs().max().item<float>(),
              1e-5F);
    EXPECT_LT(z.mean(2).abs().max().item<float>(), 1e-5F);
    EXPECT_LT((z.var(2, false) - 1).abs().max().item<float>(), 1e-4F);

    // One pad more is another cell to the softmax.
    EXPECT_GT((ScldmVae(small(fusion, TokenGenes::expressed, 31), 3).encode(cells) - z).abs().max().item<float>(),
              1e-3F);
  }
}

TEST(ScldmVae, AThetaOfEStartsEveryGene) {
  c10::InferenceMode const no_graph;
  ScldmVae const vae(small(Fusion::concat, TokenGenes::expressed), 3);
  auto const decoded = vae.decode(at::randn({2, 5, 6}));
  EXPECT_EQ(decoded.log_theta.numel(), genes);
  EXPECT_TRUE(at::equal(decoded.log_theta, at::ones({genes})));
}

TEST(ScldmVae, RefusesACellOfMoreGenesThanItsLength) {
  ScldmVae const vae(small(Fusion::concat, TokenGenes::expressed, 3), 3);
  EXPECT_THROW(vae.encode(some_cells(4)), Failure);
}

TEST(ScldmVae, IsReadAsItWasWritten) {
  Communicator const alone = Communicator::serial();
  SharedFolder const folder(alone, "scldm_vae_files");
  auto shape = small(Fusion::log1p, TokenGenes::expressed, 33);
  shape.likelihood = CellLikelihood::own_dispersion, shape.posterior = true;
  for (auto const& one : {shape, small(Fusion::concat, TokenGenes::all)}) {
    ScldmVae const vae(one, 3);
    shake(vae.parameters(), 0.1);
    vae.save(folder / "vae", some_origin());
    auto const read = load_vae(folder / "vae");
    EXPECT_EQ(read->origin.gene_names, some_origin().gene_names);
    EXPECT_EQ(read->origin.atlas, "atlas 1");
    EXPECT_EQ(read->parameters().hash(), vae.parameters().hash());
    EXPECT_EQ(read->width(), vae.width());
    auto const cells = some_cells(5);
    at::Tensor const latents = vae.embed(cells);
    EXPECT_TRUE(at::equal(read->embed(cells), latents));
    c10::InferenceMode const no_graph;
    EXPECT_TRUE(at::equal(read->decode(latents).logits, vae.decode(latents).logits));
    EXPECT_TRUE(at::equal(read->decode(latents).log_theta, vae.decode(latents).log_theta));
  }
}

TEST(ScldmVae, RefusesBrokenFolders) {
  Communicator const alone = Communicator::serial();
  SharedFolder const folder(alone, "scldm_vae_broken");
  ScldmVae(small(Fusion::concat, TokenGenes::expressed), 3).save(folder / "vae", some_origin());
  expect_broken_files_refused(folder / "vae", "scldm_vae");
  for (auto const* name : {"width", "tokens", "latent", "blocks", "heads", "cross_heads", "length"})
    for (auto const value : {std::int64_t{-1}, std::int64_t{1} << 62}) {
      if (std::string(name) == "length" && value > 0) continue;  // pads without end are only a weight
      failure_of_config(folder / "vae", [&](nlohmann::json& config) { config[name] = value; });
    }
  for (auto const* name : {"width", "tokens", "latent", "heads", "cross_heads"})
    failure_of_config(folder / "vae", [&](nlohmann::json& config) { config[name] = 0; });
  EXPECT_NE(failure_of_config(folder / "vae", [](nlohmann::json& config) { config["heads"] = 5; })
                .find("than the weights beside it hold"),
            std::string::npos);
  EXPECT_NE(failure_of_config(folder / "vae", [](nlohmann::json& config) { config["blocks"] = 3; }).find("encoder.2"),
            std::string::npos);
  EXPECT_NE(failure_of_config(folder / "vae", [](nlohmann::json& config) { config["fusion"] = "sum"; }).find("'sum'"),
            std::string::npos);
  EXPECT_NE(
      failure_of_config(folder / "vae", [](nlohmann::json& config) { config["genes"].erase(3); }).find("gene.weight"),
      std::string::npos);
  failure_of_config(folder / "vae", [](nlohmann::json& config) { config["genes"] = nlohmann::json::array(); });
  failure_of_config(folder / "vae", [](nlohmann::json& config) { config["genes"] = 37; });
  failure_of_config(folder / "vae", [](nlohmann::json& config) { config.erase("posterior"); });
  failure_of_config(folder / "vae", [](nlohmann::json& config) { config["posterior"] = true; });
  failure_of_config(folder / "vae", [](nlohmann::json& config) { config["model"] = "scvi_vae"; });
  EXPECT_EQ(load_vae(folder / "vae")->width(), 30);  // all of it was put back
}

}  // namespace
}  // namespace retort
