// Attention of shared queries to ragged tokens against the softmax written out by autograd in double precision; the
// vector exponential and logarithm.
#include "retort/kernels/token_attention.hpp"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>

#include "../small_cells.hpp"
#include "retort/kernels/vector_math.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

constexpr std::int64_t rows = 23;

// Cells of 1, 2, ... tokens; a row may come twice in a cell.
std::shared_ptr<CellTokens> some_tokens(std::int64_t cells, std::int64_t most = 40) {
  Random random(3, purpose::simulate);
  auto tokens = std::make_shared<CellTokens>();
  for (std::int64_t c = 0; c < cells; ++c) {
    for (std::int64_t i = 0,
                      n = c == 0 ? 1 : 1 + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(most)));
         i < n; ++i) {
      tokens->rows.push_back(static_cast<std::int32_t>(random.below(rows)));
      tokens->logit_offsets.push_back(
          static_cast<float>(i % 5 ? 0 : std::log(1 + static_cast<double>(random.below(900)))));
    }
    tokens->indptr.push_back(std::ssize(tokens->rows));
  }
  return tokens;
}

// What is given, as token_attention takes it; the last four may be none.
using Inputs = std::vector<at::Tensor>;

Inputs some_inputs(CellTokens const& tokens, std::int64_t heads, std::int64_t queries, std::int64_t width, bool scales,
                   bool slopes, double spread = 1) {
  at::manual_seed(6);
  auto const count = std::ssize(tokens.rows);
  Inputs inputs{spread * at::randn({rows, heads, queries}), at::randn({rows, heads, width}), {}, {}, {}, {}};
  if (scales) inputs[2] = at::rand({count}) + 0.1;
  if (slopes)
    inputs[3] = at::randn({count}), inputs[4] = at::randn({heads, queries}), inputs[5] = at::randn({heads, width});
  return inputs;
}

// The formula of the header, cell by cell.
at::Tensor formula(CellTokens const& tokens, Inputs const& in) {
  auto const gene_rows = at::tensor(tokens.rows, at::kInt).to(at::kLong);
  auto const wide = [](at::Tensor const& x) { return x.view({-1, 1, 1}); };
  auto logits = in[0].index_select(0, gene_rows),
       values = in[1].index_select(0, gene_rows);  // [tokens, heads, queries or width]
  if (in[2].defined()) logits = wide(in[2]) * logits, values = wide(in[2]) * values;
  if (in[3].defined()) logits = logits + wide(in[3]) * in[4], values = values + wide(in[3]) * in[5];
  logits = logits + wide(at::tensor(tokens.logit_offsets, at::kFloat)).to(logits.dtype());
  std::vector<at::Tensor> cells;
  for (std::size_t c = 0; c + 1 < tokens.indptr.size(); ++c) {
    auto const begin = tokens.indptr[c], count = tokens.indptr[c + 1] - begin;
    cells.push_back(
        at::einsum("thq,thw->qhw", {logits.narrow(0, begin, count).softmax(0), values.narrow(0, begin, count)})
            .flatten(1));
  }
  return at::stack(cells);  // [cells, queries, heads * width]
}

// The result and the gradients of the inputs that there are.
std::vector<at::Tensor> differentiated(Inputs inputs, at::ScalarType type,
                                       std::function<at::Tensor(Inputs const&)> const& attention) {
  std::vector<at::Tensor> given;
  for (auto& input : inputs)
    if (input.defined()) given.push_back(input = input.detach().to(type).clone().requires_grad_());
  auto const result = attention(inputs);
  at::manual_seed(9);
  auto found = torch::autograd::grad({result}, given, {at::randn(result.sizes()).to(type)});
  found.insert(found.begin(), result.detach());
  return found;
}

void expect_agreement(std::shared_ptr<CellTokens const> const& tokens, Inputs const& inputs, double tolerance) {
  auto const found = differentiated(inputs, at::kFloat, [&](Inputs const& in) {
    return token_attention(tokens, in[0], in[1], in[2], in[3], in[4], in[5]);
  });
  auto const wanted = differentiated(inputs, at::kDouble, [&](Inputs const& in) { return formula(*tokens, in); });
  ASSERT_EQ(found.size(), wanted.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    ASSERT_EQ(found[i].sizes(), wanted[i].sizes());
    EXPECT_LT(testing_cells::largest_difference(found[i], wanted[i]), tolerance * wanted[i].abs().max().item<double>())
        << "result or gradient " << i;
  }
}

TEST(TokenAttention, IsTheSoftmaxWrittenOut) {
  auto const tokens = some_tokens(9);
  for (bool const scales : {false, true})
    for (bool const slopes : {false, true})
      for (auto const& [heads, queries, width] : {std::tuple{1, 1, 1}, std::tuple{4, 16, 8}, std::tuple{3, 5, 7}}) {
        SCOPED_TRACE(fmt::format("scales {}, slopes {}, {} heads", scales, slopes, heads));
        expect_agreement(tokens, some_inputs(*tokens, heads, queries, width, scales, slopes), 2e-6);
      }
}

TEST(TokenAttention, SharpLogitsAndManyTokens) {
  auto const tokens = some_tokens(3, 3000);
  expect_agreement(tokens, some_inputs(*tokens, 2, 5, 4, true, true, 60), 5e-5);
}

TEST(TokenAttention, ATokenThatStandsForMany) {
  // Five equal tokens are one with the offset log 5.
  CellTokens five, one;
  for (int i = 0; i < 5; ++i) five.rows.push_back(2), five.logit_offsets.push_back(0);
  one.rows.push_back(2), one.logit_offsets.push_back(std::log(5.0F));
  for (auto* tokens : {&five, &one}) {
    tokens->rows.push_back(7), tokens->logit_offsets.push_back(0);
    tokens->indptr.push_back(std::ssize(tokens->rows));
  }
  auto const in = some_inputs(five, 4, 6, 8, false, false);
  EXPECT_LT(testing_cells::largest_difference(token_attention(std::make_shared<CellTokens>(five), in[0], in[1]),
                                              token_attention(std::make_shared<CellTokens>(one), in[0], in[1])),
            1e-6);
}

TEST(TokenAttention, ACellDependsOnItselfAlone) {
  auto const tokens = some_tokens(5);
  auto const in = some_inputs(*tokens, 4, 6, 8, true, true);
  auto const all = token_attention(tokens, in[0], in[1], in[2], in[3], in[4], in[5]);
  for (std::int64_t c = 0; c < 5; ++c) {
    auto const begin = tokens->indptr[index(c)], end = tokens->indptr[index(c) + 1];
    auto const alone = std::make_shared<CellTokens>();
    alone->indptr.push_back(end - begin);
    alone->rows.assign(tokens->rows.begin() + begin, tokens->rows.begin() + end);
    alone->logit_offsets.assign(tokens->logit_offsets.begin() + begin, tokens->logit_offsets.begin() + end);
    EXPECT_TRUE(at::equal(token_attention(alone, in[0], in[1], in[2].narrow(0, begin, end - begin),
                                          in[3].narrow(0, begin, end - begin), in[4], in[5])[0],
                          all[c]));
  }
}

TEST(TokenAttention, RefusesOtherShapes) {
  auto const tokens = some_tokens(3);
  auto const in = some_inputs(*tokens, 2, 3, 4, true, true);
  EXPECT_THROW(token_attention(tokens, in[0], in[1].narrow(0, 0, 5)), Failure);
  EXPECT_THROW(token_attention(tokens, in[0], in[1].narrow(1, 0, 1)), Failure);
  EXPECT_THROW(token_attention(tokens, in[0], in[1], in[2].narrow(0, 0, 2)), Failure);
  EXPECT_THROW(token_attention(tokens, in[0], in[1], in[2], in[3], in[4].narrow(1, 0, 2), in[5]), Failure);
}

// The worst of many numbers, in units of the last place of the true value.
template <class Approximate, class Exact>
double worst_units(std::vector<float> const& inputs, Approximate const& approximate, Exact const& exact) {
  double worst = 0;
  for (float const x : inputs) {
    double const truth = exact(static_cast<double>(x));
    auto const rounded = std::abs(static_cast<float>(truth));
    double const unit = static_cast<double>(std::nextafter(rounded, INFINITY)) - rounded;
    worst = std::max(worst, std::abs(approximate(x) - truth) / unit);
  }
  return worst;
}

TEST(VectorMath, IsExactToAFewUnits) {
  std::vector<float> exponents, positives;
  Random random(1, purpose::simulate);
  for (int i = 0; i < 400'000; ++i)
    exponents.push_back(static_cast<float>(-87 + 175 * random.uniform())),
        positives.push_back(static_cast<float>(std::exp(-87 + 175 * random.uniform())));
  for (int i = 0; i < 400'000; ++i)
    exponents.push_back(static_cast<float>(1e-3 * random.normal())),
        positives.push_back(static_cast<float>(1 + 0.4 * (random.uniform() - 0.5)));
  for (float const edge : {0.0F, -0.0F, 1.0F, -87.0F, 88.0F, 0.34657359F, -0.34657359F}) exponents.push_back(edge);
  for (float const edge : {1.0F, 0.70710678F, 1.41421356F, 2.0F, 1.17549435e-38F, 3e38F}) positives.push_back(edge);
  EXPECT_LT(worst_units(
                exponents, [](float x) { return vector_exp(x); }, [](double x) { return std::exp(x); }),
            2);
  EXPECT_LT(worst_units(
                positives, [](float x) { return vector_log(x); }, [](double x) { return std::log(x); }),
            2);
  EXPECT_EQ(vector_exp(0), 1);
  EXPECT_EQ(vector_log(1), 0);
  // Beyond its range.
  for (float const far : {-88.0F, -1e4F, -3e38F, -INFINITY}) EXPECT_EQ(vector_exp(far), vector_exp(-87));
  EXPECT_LT(vector_exp(-87), 2e-38F);
}

}  // namespace
}  // namespace retort
