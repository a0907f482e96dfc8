// Parts that are computed twice give what plain autograd gives, and keep nothing of their inside.
#include "retort/layers/recomputed.hpp"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "../small_cells.hpp"

namespace retort {
namespace {

constexpr std::int64_t cells = 3, all_rows = 11, width = 4;

std::vector<at::Tensor> some_inputs() {
  at::manual_seed(3);
  std::vector<at::Tensor> inputs{at::randn({all_rows, width}), at::randn({all_rows}), at::randn({cells, width}), at::randn({width})};
  for (auto& input : inputs) input.requires_grad_();
  return inputs;
}

TEST(Recomputed, IsPlainAutograd) {
  auto const by_row = [](std::vector<at::Tensor> const& rows, std::vector<at::Tensor> const& whole) { return at::silu(whole[0].unsqueeze(1) * rows[0] + whole[1]).sum(2) * rows[1]; };
  auto const in = some_inputs();
  at::Tensor const upstream = at::randn({cells, all_rows});
  auto const expected = by_row({in[0], in[1]}, {in[2], in[3]});
  auto const expected_gradients = torch::autograd::grad({expected}, in, {upstream});
  for (std::int64_t const piece : {1, 4, 11, 100}) {
    auto const result = recomputed(piece, by_row, {in[0], in[1]}, {in[2], in[3]});
    EXPECT_EQ(result.sizes(), expected.sizes());
    EXPECT_LT(testing_cells::largest_difference(result, expected), 1e-6);
    auto const gradients = torch::autograd::grad({result}, in, {upstream});
    for (std::size_t i = 0; i < in.size(); ++i) EXPECT_LT(testing_cells::largest_difference(gradients[i], expected_gradients[i]), 1e-5) << piece << " rows a piece, input " << i;
  }
}

TEST(Recomputed, CallsEachPieceTwice) {
  std::vector<std::int64_t> asked;
  std::vector<bool> with_gradients;
  auto const counted = [&](std::vector<at::Tensor> const& rows, std::vector<at::Tensor> const& whole) {
    asked.push_back(rows[0].size(0));
    with_gradients.push_back(at::GradMode::is_enabled());
    return (whole[0].unsqueeze(1) * rows[0]).sum(2);  // [cells, rows]
  };
  auto const in = some_inputs();
  recomputed(4, counted, {in[0]}, {in[2]}).sum().backward();
  EXPECT_EQ(asked, (std::vector<std::int64_t>{4, 4, 3, 4, 4, 3}));
  EXPECT_EQ(with_gradients, (std::vector<bool>{false, false, false, true, true, true}));
  EXPECT_TRUE(at::allclose(in[0].grad(), in[2].detach().sum(0).expand({all_rows, width})));
}

TEST(Recomputed, InputsMayComeFromAGraph) {
  // As the decoder's keys do: gradients go on to what made them, and add up over two uses.
  auto const by_row = [](std::vector<at::Tensor> const& rows, std::vector<at::Tensor> const& whole) { return at::tanh(whole[0].matmul(rows[0].t())); };
  auto const in = some_inputs();
  auto const loss = [&](bool plain) {
    auto const rows = in[0].sin(), whole = in[2].t().contiguous().t() * 2;  // not contiguous
    return (plain ? by_row({rows}, {whole}) + by_row({rows}, {whole}).square() : recomputed(4, by_row, {rows}, {whole}) + recomputed(3, by_row, {rows}, {whole}).square()).sum();
  };
  auto const found = torch::autograd::grad({loss(false)}, {in[0], in[2]}), expected = torch::autograd::grad({loss(true)}, {in[0], in[2]});
  for (std::size_t i = 0; i < 2; ++i) EXPECT_LT(testing_cells::largest_difference(found[i], expected[i]), 1e-5);
}

TEST(Recomputed, WithoutGradientsItOnlyComputes) {
  c10::InferenceMode const no_graph;
  auto const rows = at::randn({all_rows, width}), whole = at::randn({cells, width});
  auto const product = [](std::vector<at::Tensor> const& of_rows, std::vector<at::Tensor> const& all) { return all[0].matmul(of_rows[0].t()); };
  EXPECT_LT(testing_cells::largest_difference(recomputed(2, product, {rows}, {whole}), whole.matmul(rows.t())), 1e-6);
}

}  // namespace
}  // namespace retort
