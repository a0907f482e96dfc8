// The convolutional network against PyTorch's.
#include "retort/evaluate/image_network.hpp"

#include <gtest/gtest.h>

#include "ten_losses.hpp"

namespace retort {
namespace {

TEST(ImageNetwork, TenLossesAreThoseOfPyTorch) {
  if (!has_python()) GTEST_SKIP() << "RETORT_PYTHON is not set";
  Communicator const alone = Communicator::serial();
  SharedFolder const folder(alone, "image_network");
  constexpr std::int64_t genes = 150;
  GeneLayout const layout = lay_out_genes(testing_cells::random_cells(60, genes, 0.4, 77), 12);
  ImageNetwork const network(layout, 5, 3, 0);
  std::map<std::string, at::Tensor> const more{{"pixel", at::tensor(layout.pixel, at::kInt).to(at::kLong)}};
  EXPECT_TRUE(ten_losses_agree(folder, network, genes, 5, 0.1, more, R"py(
def scores(w, x):
    low, high = x.min(1, keepdim=True)[0], x.max(1, keepdim=True)[0]
    x = (x - low) / (high - low)
    count = torch.bincount(c['pixel'], minlength=144).clamp_min(1)
    image = torch.zeros(len(x), 144, dtype=x.dtype).index_add(1, c['pixel'], x) / count
    h = image.view(-1, 1, 12, 12)
    for i in range(3):
        h = F.conv2d(h, w[f'convolution.{i}.weight'], w[f'convolution.{i}.bias'], stride=2, padding=1).relu()
    return F.linear(h.flatten(1), w['head.weight'], w['head.bias'])
)py"));
}

}  // namespace
}  // namespace retort
