#include "retort/layers/recomputed.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

namespace retort {
namespace {

struct Held : torch::CustomClassHolder {
  explicit Held(Piece held) : compute(std::move(held)) {}
  Piece compute;
};

std::vector<at::Tensor> rows_of(std::vector<at::Tensor> const& inputs, std::int64_t begin, std::int64_t rows) {
  std::vector<at::Tensor> cut;
  for (auto const& input : inputs) cut.push_back(input.narrow(0, begin, rows));
  return cut;
}

struct Recomputed : torch::autograd::Function<Recomputed> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, std::int64_t rows_of_a_piece, Piece const& compute, std::int64_t sliced_count, at::TensorList inputs) {
    std::vector<at::Tensor> const sliced(inputs.begin(), inputs.begin() + sliced_count), whole(inputs.begin() + sliced_count, inputs.end());
    auto const all = sliced.front().size(0);
    std::vector<at::Tensor> results;
    for (std::int64_t begin = 0; begin < all; begin += rows_of_a_piece) results.push_back(compute(rows_of(sliced, begin, std::min(rows_of_a_piece, all - begin)), whole));
    context->save_for_backward(inputs.vec());
    context->saved_data["rows_of_a_piece"] = rows_of_a_piece;
    context->saved_data["sliced_count"] = sliced_count;
    context->saved_data["compute"] = c10::IValue::make_capsule(c10::make_intrusive<Held>(compute));
    return at::cat(results, 1);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, torch::autograd::variable_list upstream) {
    auto const saved = context->get_saved_variables();
    auto const held = c10::static_intrusive_pointer_cast<Held>(context->saved_data["compute"].toCapsule());
    auto const rows_of_a_piece = context->saved_data["rows_of_a_piece"].toInt();
    auto const sliced_count = static_cast<std::size_t>(context->saved_data["sliced_count"].toInt());
    std::vector<at::Tensor> sliced, whole, sums(saved.size());
    for (std::size_t i = 0; i < saved.size(); ++i) {
      auto const input = saved[i].detach();
      if (i < sliced_count) sliced.push_back(input), sums[i] = at::empty_like(input, at::MemoryFormat::Contiguous);
      else whole.push_back(input.requires_grad_(true)), sums[i] = at::zeros_like(input, at::MemoryFormat::Contiguous);
    }
    for (std::int64_t begin = 0, all = sliced.front().size(0); begin < all; begin += rows_of_a_piece) {
      auto const rows = std::min(rows_of_a_piece, all - begin);
      auto cut = rows_of(sliced, begin, rows);
      for (auto& part : cut) part = part.detach().requires_grad_(true);
      std::vector<at::Tensor> found;
      {
        at::AutoGradMode const with_graph(true);
        auto wanted = cut;
        wanted.insert(wanted.end(), whole.begin(), whole.end());
        found = torch::autograd::grad({held->compute(cut, whole)}, wanted, {upstream[0].narrow(1, begin, rows)});
      }
      for (std::size_t i = 0; i < found.size(); ++i)
        if (i < sliced_count) sums[i].narrow(0, begin, rows).copy_(found[i]);
        else sums[i].add_(found[i]);
    }
    torch::autograd::variable_list gradients(3);  // of the numbers and of the function, which have none
    gradients.insert(gradients.end(), sums.begin(), sums.end());
    return gradients;
  }
};

}  // namespace

at::Tensor recomputed(std::int64_t rows_of_a_piece, Piece const& compute, std::vector<at::Tensor> const& sliced, std::vector<at::Tensor> const& whole) {
  auto inputs = sliced;
  inputs.insert(inputs.end(), whole.begin(), whole.end());
  return Recomputed::apply(rows_of_a_piece, compute, static_cast<std::int64_t>(sliced.size()), at::TensorList(inputs));
}

}  // namespace retort
