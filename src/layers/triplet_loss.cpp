#include "retort/layers/triplet_loss.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <vector>

#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

// Every mining rule ends as a weight for each ordered pair: loss = constant + sum of weight(a, b) * d(a, b).
struct Mined {
  std::vector<float> weights;  // [n, n]
  std::int64_t triplets = 0;   // found
  double sum = 0;              // of their losses
};

class Miner {
 public:
  Miner(std::vector<float> const& squared, std::span<std::int32_t const> labels, double margin)
      : squared_(squared), labels_(labels), n_(labels.size()), margin_(margin) {
    mined_.weights.assign(n_ * n_, 0.0f);
  }

  Mined batch_hard() {
    for (std::size_t a = 0; a < n_; ++a) {
      std::size_t farthest = n_, nearest = n_;
      for (std::size_t b = 0; b < n_; ++b) {
        if (b != a && same(a, b) && (farthest == n_ || at(a, b) > at(a, farthest))) farthest = b;
        if (!same(a, b) && (nearest == n_ || at(a, b) < at(a, nearest))) nearest = b;
      }
      if (farthest < n_ && nearest < n_) take(a, farthest, nearest);
    }
    return std::move(mined_);
  }

  Mined semi_hard(Random draw) {
    std::vector<std::size_t> candidates;
    for (std::size_t a = 0; a < n_; ++a) {
      for (std::size_t p = 0; p < n_; ++p) {
        if (p == a || !same(a, p)) continue;
        candidates.clear();
        for (std::size_t b = 0; b < n_; ++b) {
          double const loss = static_cast<double>(at(a, p)) - at(a, b) + margin_;
          if (!same(a, b) && loss > 0 && loss < margin_) candidates.push_back(b);
        }
        if (!candidates.empty()) take(a, p, candidates[draw.below(candidates.size())]);
      }
    }
    return std::move(mined_);
  }

  Mined all() {
    for (std::size_t a = 0; a < n_; ++a) {
      for (std::size_t p = 0; p < n_; ++p) {
        if (p == a || !same(a, p)) continue;
        for (std::size_t b = 0; b < n_; ++b) {
          if (!same(a, b) && distance(a, p) - distance(a, b) + margin_ > 0) take(a, p, b);
        }
      }
    }
    return std::move(mined_);
  }

 private:
  bool same(std::size_t a, std::size_t b) const { return labels_[a] == labels_[b]; }
  float at(std::size_t a, std::size_t b) const { return squared_[a * n_ + b]; }
  double distance(std::size_t a, std::size_t b) const { return std::sqrt(static_cast<double>(at(a, b))); }
  void take(std::size_t a, std::size_t p, std::size_t b) {
    ++mined_.triplets;
    double const loss = distance(a, p) - distance(a, b) + margin_;
    if (loss <= 0) return;
    mined_.sum += loss;
    mined_.weights[a * n_ + p] += 1;
    mined_.weights[a * n_ + b] -= 1;
  }

  std::vector<float> const& squared_;
  std::span<std::int32_t const> labels_;
  std::size_t n_;
  double margin_;
  Mined mined_;
};

// Summed as differences: 2 - 2 cos would lose the small distances that mining is about.
std::vector<float> squared_distances(at::Tensor const& embeddings) {
  auto const n = embeddings.size(0), width = embeddings.size(1);
  float const* const values = embeddings.const_data_ptr<float>();
  std::vector<float> squared(index(n * n), 0.0f);
  for (std::int64_t a = 0; a < n; ++a) {
    for (std::int64_t b = a + 1; b < n; ++b) {
      float partial[16] = {};
      float const *x = values + a * width, *y = values + b * width;
      std::int64_t j = 0;
      for (; j + 16 <= width; j += 16) {
        for (int lane = 0; lane < 16; ++lane)
          partial[lane] += (x[j + lane] - y[j + lane]) * (x[j + lane] - y[j + lane]);
      }
      for (; j < width; ++j) partial[0] += (x[j] - y[j]) * (x[j] - y[j]);
      float sum = 0;
      for (float const lane : partial) sum += lane;
      squared[index(a * n + b)] = squared[index(b * n + a)] = sum;
    }
  }
  return squared;
}

// d(a, b) has gradient (z_a - z_b) / d in z_a and the opposite in z_b, so with the symmetric M = (W + W^T) / d the
// gradient of the whole is diag(rows of M summed) Z - M Z.
struct PairLoss : torch::autograd::Function<PairLoss> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, at::Tensor const& embeddings,
                            at::Tensor const& pull, double value) {
    context->save_for_backward({embeddings, pull});
    return at::scalar_tensor(value, embeddings.options());
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list upstream) {
    auto const saved = context->get_saved_variables();
    at::Tensor const& pull = saved[1];  // [n, n]
    return {upstream[0] * (pull.sum(1, true) * saved[0] - at::mm(pull, saved[0])), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

Mining parse_mining(std::string const& name) {
  if (name == "batch_hard") return Mining::batch_hard;
  if (name == "semi_hard") return Mining::semi_hard;
  if (name == "all") return Mining::all;
  fail(ExitCode::usage, "foundation.mining is '{}' (it is none of batch_hard, semi_hard, all)", name);
}

TripletLoss triplet_loss(at::Tensor const& embeddings, std::span<std::int32_t const> labels, Mining mining,
                         double margin, Random draw) {
  if (embeddings.size(0) != static_cast<std::int64_t>(labels.size()))
    fail(ExitCode::failed, "{} embeddings have {} labels", embeddings.size(0), labels.size());
  at::Tensor const host = embeddings.cpu().contiguous();  // differentiable; the same tensor where it is there already
  auto const squared = squared_distances(host.detach());
  Miner miner(squared, labels, margin);
  Mined const mined = mining == Mining::batch_hard  ? miner.batch_hard()
                      : mining == Mining::semi_hard ? miner.semi_hard(draw)
                                                    : miner.all();

  auto const n = labels.size();
  auto const found = static_cast<float>(std::max<std::int64_t>(1, mined.triplets));
  at::Tensor const pull = at::zeros({static_cast<std::int64_t>(n), static_cast<std::int64_t>(n)}, at::kFloat);
  float* const out = pull.data_ptr<float>();
  for (std::size_t a = 0; a < n; ++a) {
    for (std::size_t b = 0; b < n; ++b) {
      float const weight = mined.weights[a * n + b] + mined.weights[b * n + a];
      if (weight != 0 && squared[a * n + b] > 0) out[a * n + b] = weight / (found * std::sqrt(squared[a * n + b]));
    }
  }
  auto const loss = PairLoss::apply(host, pull, mined.sum / static_cast<double>(found));
  return {loss.to(embeddings.device()), mined.triplets};
}

}  // namespace retort
