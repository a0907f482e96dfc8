// The decoder's head against the same block written with LibTorch's layers in double precision, values and all
// gradients.
#include "retort/kernels/gene_decoder.hpp"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "retort/run/error.hpp"

namespace retort {
namespace {

constexpr double epsilon = 1e-8;

struct Shape {
  std::int64_t genes = 33, width = 8, tokens = 4, heads = 2, cells = 3, scores = 1;
  bool head_norm = false;
};

// In this order: queries, genes, keys, values, then the weights as GeneDecoderWeights has them.
std::vector<at::Tensor> some_inputs(Shape const& s) {
  at::manual_seed(5);
  auto const hidden = (8 * s.width / 3 + 3) / 4 * 4;
  auto const matrix = [](std::int64_t to, std::int64_t from) {
    return at::randn({to, from}) / std::sqrt(static_cast<double>(from));
  };
  auto const about_one = [&s] { return 1 + 0.3 * at::randn({s.width}); };
  std::vector<at::Tensor> in{2 * at::randn({s.genes, s.width}), at::randn({s.genes, s.width}),
                             at::randn({s.cells, s.tokens, s.width}), at::randn({s.cells, s.tokens, s.width})};
  in.insert(in.end(), {matrix(s.width, s.width), about_one(), 0.3 * at::randn({s.width}), 2 * matrix(hidden, s.width),
                       matrix(hidden, s.width), matrix(s.width, hidden)});
  if (s.head_norm)
    in.insert(in.end(), {about_one(), 0.3 * at::randn({s.width})});
  else
    in.insert(in.end(), 2, at::Tensor());
  in.insert(in.end(), {matrix(s.scores, s.width), at::randn({s.scores})});
  return in;
}

at::Tensor by_kernel(std::vector<at::Tensor> const& in, std::int64_t heads) {
  return gene_decoder(in[0], in[1], in[2], in[3], heads, epsilon,
                      {in[4], in[5], in[6], in[7], in[8], in[9], in[10], in[11], in[12], in[13]});
}

at::Tensor by_layers(std::vector<at::Tensor> const& in, std::int64_t heads) {
  auto const width = in[1].size(1);
  auto const split = [heads](at::Tensor const& x) {
    return x.unflatten(-1, {heads, -1}).transpose(-2, -3);
  };  // [..., heads, n, width / heads]
  auto const norm = [width](at::Tensor const& x, at::Tensor const& scale, at::Tensor const& shift) {
    return at::layer_norm(x, {width}, scale, shift, epsilon);
  };
  auto const shares =
      (at::matmul(split(in[0]), split(in[2]).transpose(-1, -2)) / std::sqrt(static_cast<double>(width / heads)))
          .softmax(-1);  // [cells, heads, genes, tokens]
  auto const mixed =
      in[1] + at::linear(at::matmul(shares, split(in[3])).transpose(1, 2).flatten(2), in[4]);  // [cells, genes, width]
  auto const normed = norm(mixed, in[5], in[6]);
  auto done = mixed + at::linear(at::silu(at::linear(normed, in[7])) * at::linear(normed, in[8]), in[9]);
  if (in[10].defined()) done = norm(done, in[10], in[11]);
  return at::linear(done, in[12], in[13]).permute({2, 0, 1});
}

// The scores and the gradients of all inputs that there are.
template <class Decoder>
std::vector<at::Tensor> differentiated(std::vector<at::Tensor> in, at::ScalarType type, std::int64_t heads,
                                       Decoder const& decoder) {
  std::vector<at::Tensor> given;
  for (auto& input : in)
    if (input.defined()) given.push_back(input = input.detach().to(type).clone().requires_grad_());
  auto const scores = decoder(in, heads);
  at::manual_seed(9);
  auto found = torch::autograd::grad({scores}, given, {at::randn(scores.sizes()).to(type)});
  found.insert(found.begin(), scores.detach());
  return found;
}

void expect_agreement(Shape const& s, double tolerance = 3e-5) {
  SCOPED_TRACE(fmt::format("{} genes, width {}, {} tokens, {} heads, {} cells, {} scores, head norm {}", s.genes,
                           s.width, s.tokens, s.heads, s.cells, s.scores, s.head_norm));
  auto const in = some_inputs(s);
  auto const found = differentiated(in, at::kFloat, s.heads, by_kernel),
             wanted = differentiated(in, at::kDouble, s.heads, by_layers);
  ASSERT_EQ(found.size(), wanted.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    ASSERT_EQ(found[i].sizes(), wanted[i].sizes()) << i;
    double const size = std::max(1e-3, wanted[i].abs().max().item<double>());
    EXPECT_LT((found[i] - wanted[i]).abs().max().item<double>() / size, tolerance)
        << "of scores, then gradients, number " << i;
  }
}

TEST(GeneDecoder, IsTheBlockAndItsGradients) {
  for (std::int64_t const genes : {1, 15, 16, 33, 64, 1000})
    for (bool const head_norm : {false, true})
      for (std::int64_t const scores : {1, 2}) {
        Shape shape;
        shape.genes = genes, shape.head_norm = head_norm, shape.scores = scores;
        expect_agreement(shape);
      }
}

TEST(GeneDecoder, AnyWidthTokensAndHeads) {
  for (bool const head_norm : {false, true})
    for (std::int64_t const width : {4, 8, 12, 24, 32, 72})
      for (std::int64_t const tokens : {1, 4, 16, 21})
        for (std::int64_t const heads : {1, 2, 4}) {
          Shape shape;
          shape.width = width, shape.tokens = tokens, shape.heads = heads, shape.head_norm = head_norm;
          expect_agreement(shape);
        }
}

TEST(GeneDecoder, ManyCells) {
  Shape shape;
  shape.cells = 60, shape.width = 32, shape.tokens = 16, shape.heads = 4, shape.genes = 200;
  expect_agreement(shape);
}

// Keys and values come as halves of one tensor; every score and gene has the bits that it has alone.
TEST(GeneDecoder, AScoreDependsOnItsCellAndGeneAlone) {
  for (bool const head_norm : {false, true}) {
    Shape shape;
    shape.genes = 150, shape.scores = 2, shape.head_norm = head_norm;
    auto const in = some_inputs(shape);
    auto const whole = by_kernel(in, 2);
    auto part = in;
    auto const kv = at::cat({in[2], in[3]}, -1).chunk(2, -1);
    part[0] = in[0].narrow(0, 70, 37), part[1] = in[1].narrow(0, 70, 37), part[2] = kv[0].narrow(0, 1, 1),
    part[3] = kv[1].narrow(0, 1, 1);
    EXPECT_TRUE(at::equal(by_kernel(part, 2), whole.narrow(1, 1, 1).narrow(2, 70, 37)));
    auto const once = differentiated(in, at::kFloat, 2, by_kernel),
               again = differentiated(in, at::kFloat, 2, by_kernel);
    for (std::size_t i = 0; i < once.size(); ++i) EXPECT_TRUE(at::equal(once[i], again[i]));
  }
}

TEST(GeneDecoder, LargeLogitsAndGatesStayFinite) {
  Shape shape;
  auto in = some_inputs(shape);
  in[0] *= 300, in[7] *= 100;
  auto const found = differentiated(in, at::kFloat, 2, by_kernel),
             wanted = differentiated(in, at::kDouble, 2, by_layers);
  for (auto const& one : found) EXPECT_TRUE(one.isfinite().all().item<bool>());
  EXPECT_LT((found[0] - wanted[0]).abs().max().item<double>(), 1e-3 * wanted[0].abs().max().item<double>());
}

TEST(GeneDecoder, NoCellsOrNoGenes) {
  Shape shape;
  shape.cells = 0;
  EXPECT_EQ(by_kernel(some_inputs(shape), 2).sizes(), at::IntArrayRef({1, 0, 33}));
  shape.cells = 3, shape.genes = 0;
  EXPECT_EQ(by_kernel(some_inputs(shape), 2).sizes(), at::IntArrayRef({1, 3, 0}));
}

TEST(GeneDecoder, RefusesOtherShapes) {
  auto const in = some_inputs({});
  EXPECT_THROW(by_kernel(in, 3), Failure);
  for (std::size_t i : {0U, 1U, 2U, 3U, 4U, 5U, 6U, 7U, 8U, 9U, 12U, 13U}) {
    auto other = in;
    other[i] = at::cat({in[i], in[i]}, -1);
    EXPECT_THROW(by_kernel(other, 2), Failure) << i;
    other[i] = in[i].to(at::kDouble);
    EXPECT_THROW(by_kernel(other, 2), Failure) << i;
  }
  auto half = in;
  half[10] = in[5];
  EXPECT_THROW(by_kernel(half, 2), Failure);
}

}  // namespace
}  // namespace retort
