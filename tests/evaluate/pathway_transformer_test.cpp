// The pathway layer against a dense masked product, the network against PyTorch's.
#include "retort/evaluate/pathway_transformer.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "ten_losses.hpp"

namespace retort {
namespace {

constexpr std::int64_t genes = 60, classes = 4, width = 48;

Pathways small_pathways() { return {{{0, 3, 4, 9, 17}, {1, 2, 3, 5, 8, 13, 21, 34}, {50, 51, 52, 53, 59}}, false, ""}; }

// The layer's weights as a dense matrix [tokens, genes, 48] that is zero outside the mask.
at::Tensor dense_of(at::Tensor const& rows, Pathways const& pathways) {
  auto tokens = pathways.genes;
  auto& all = tokens.emplace_back();
  for (std::int32_t gene = 0; gene < genes; ++gene) all.push_back(gene);
  at::Tensor const dense = at::zeros({std::ssize(tokens), genes, width});
  std::int64_t row = 0;
  for (std::size_t t = 0; t < tokens.size(); ++t)
    for (auto const gene : tokens[t]) dense[static_cast<std::int64_t>(t)][gene].copy_(rows[row++]);
  EXPECT_EQ(row, rows.size(0));
  return dense;
}

at::Tensor parameter(Student const& student, std::string const& wanted) {
  for (auto const& [name, tensor] : student.parameters())
    if (name == wanted) return tensor;
  return {};
}

TEST(PathwayTransformer, TokensAreADenseMaskedProduct) {
  PathwayTransformer const network(small_pathways(), genes, classes, 1, 0);
  auto const cells = testing_cells::random_cells(7, genes, 0.5, 2);
  at::Tensor const weight = parameter(network, "pathways.weight"), bias = parameter(network, "pathways.bias");
  at::Tensor const dense = dense_of(weight.detach(), small_pathways()).requires_grad_(true),
                   x = testing_cells::dense(cells);
  at::Tensor const expected = at::einsum("ng,tgw->ntw", {x, dense}) + bias.detach();
  at::Tensor const tokens = network.tokens(cells);
  EXPECT_LT(testing_cells::largest_difference(tokens.detach(), expected.detach()), 1e-6);

  at::manual_seed(3);
  at::Tensor const upstream = at::randn_like(tokens);
  (tokens * upstream).sum().backward();
  (expected * upstream).sum().backward();
  at::Tensor const in_mask = dense_of(at::ones_like(weight.detach()), small_pathways());
  EXPECT_LT(testing_cells::largest_difference(dense_of(weight.grad(), small_pathways()), dense.grad() * in_mask), 1e-5);
  EXPECT_LT(testing_cells::largest_difference(bias.grad(), upstream.sum(0)), 1e-5);
}

TEST(PathwayTransformer, ATokenSeesItsOwnGenesAlone) {
  PathwayTransformer const network(small_pathways(), genes, classes, 1, 0);
  auto const all = small_pathways().genes;
  for (std::int32_t gene = 0; gene < genes; ++gene) {
    CsrBlock const cells{genes, {0, 0, 1}, {gene}, {2.5F}};  // an empty cell, and one with this gene
    at::Tensor const tokens = network.tokens(cells).detach(), moved = (tokens[1] - tokens[0]).abs().amax(1);
    for (std::size_t t = 0; t < all.size(); ++t)
      EXPECT_EQ(moved[static_cast<std::int64_t>(t)].item<float>() > 0,
                std::find(all[t].begin(), all[t].end(), gene) != all[t].end())
          << "gene " << gene << ", pathway " << t;
    EXPECT_GT(moved[std::ssize(all)].item<float>(), 0);
  }
}

TEST(PathwayTransformer, TenLossesAreThoseOfPyTorch) {
  if (!has_python()) GTEST_SKIP() << "RETORT_PYTHON is not set";
  Communicator const alone = Communicator::serial();
  SharedFolder const folder(alone, "pathway_transformer");
  PathwayTransformer const network(small_pathways(), genes, classes, 4, 1);
  std::vector<std::int64_t> token, gene;
  Pathways const pathways = small_pathways();
  for (std::size_t t = 0; t < 3; ++t)
    for (auto const g : pathways.genes[t]) token.push_back(static_cast<std::int64_t>(t)), gene.push_back(g);
  for (std::int64_t g = 0; g < genes; ++g) token.push_back(3), gene.push_back(g);
  EXPECT_TRUE(ten_losses_agree(folder, network, genes, classes, 0.05,
                               {{"token", at::tensor(token)}, {"gene", at::tensor(gene)}}, R"py(
def lin(w, n, x): return F.linear(x, w[n + '.weight'], w[n + '.bias'])
def norm(w, n, x): return F.layer_norm(x, (48,), w[n + '.weight'], w[n + '.bias'], 1e-6)
def scores(w, x):
    mask = torch.zeros(4, 60, 48, dtype=x.dtype).index_put((c['token'], c['gene']), w['pathways.weight'])
    h = torch.einsum('ng,tgw->ntw', x, mask) + w['pathways.bias']
    h = torch.cat([w['class_token'].expand(len(x), 1, 48), h], 1)
    for i in range(2):
        b = f'blocks.{i}.'
        z = norm(w, b + 'norm1', h)
        heads = lambda y: y.view(len(x), -1, 4, 12).transpose(1, 2)
        k, v = lin(w, b + 'key_value', z).split(48, -1)
        a = (heads(lin(w, b + 'query', z)) @ heads(k).transpose(-1, -2) / math.sqrt(12)).softmax(-1)
        h = h + lin(w, b + 'projection', (a @ heads(v)).transpose(1, 2).reshape(len(x), -1, 48))
        h = h + lin(w, b + 'narrow', F.gelu(lin(w, b + 'widen', norm(w, b + 'norm2', h))))
    return lin(w, 'head', norm(w, 'norm', h[:, 0]))
)py"));
}

TEST(PathwayTransformer, DropoutIsOfTrainingAlone) {
  PathwayTransformer const network(small_pathways(), genes, classes, 1, 0);
  auto const cells = testing_cells::random_cells(7, genes, 0.5, 2);
  Random first(1, purpose::student_dropout), again = first;
  at::Tensor const dropped = network.scores(cells, &first);
  EXPECT_TRUE(at::equal(dropped, network.scores(cells, &again)));
  EXPECT_FALSE(at::equal(dropped, network.scores(cells, &again)));
  EXPECT_TRUE(at::equal(network.scores(cells, nullptr), network.scores(cells, nullptr)));
}

TEST(PathwayTransformer, RefusesOtherGenes) {
  PathwayTransformer const network(small_pathways(), genes, classes, 1, 0);
  failure_of(ExitCode::failed, [&] { network.tokens(testing_cells::random_cells(2, genes + 1, 0.5, 2)); });
}

}  // namespace
}  // namespace retort
