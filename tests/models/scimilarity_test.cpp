// Importing a folder that Python torch wrote as SCimilarity does: embeddings must be PyTorch's.
#include "retort/models/scimilarity.hpp"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "../small_cells.hpp"
#include "retort/files/safetensors.hpp"
#include "retort/run/error.hpp"

using namespace retort;
using namespace retort::testing_cells;

namespace {

// Names, layers and files of scimilarity/nn_models.py and training_models.py (methods 1.2); cells come in and
// embeddings and reconstructions go out as raw float32.
char const* const writer = R"(
import json, os, sys, numpy as np, torch, torch.nn as nn, torch.nn.functional as F
folder, genes, latent, hidden = sys.argv[1], 211, 16, [64, 48, 32]
torch.manual_seed(0)
class Net(nn.Module):
    def __init__(self, sizes, first_dropout):
        super().__init__()
        self.network = nn.ModuleList()
        for i in range(len(sizes) - 2):
            layers = [nn.Linear(sizes[i], sizes[i + 1]), nn.BatchNorm1d(sizes[i + 1]), nn.PReLU()]
            if i > 0 or first_dropout: layers.insert(0, nn.Dropout(p=0.4 if i == 0 else 0.5))
            self.network.append(nn.Sequential(*layers))
        self.network.append(nn.Linear(sizes[-2], sizes[-1]))
    def forward(self, x):
        for layer in self.network: x = layer(x)
        return x
E, D = Net([genes] + hidden + [latent], True), Net([latent] + hidden[::-1] + [genes], False)
x = torch.rand(200, genes) * 3
for net, data in ((E, x), (D, torch.randn(200, latent))):
    for _ in range(5): net(data)
    with torch.no_grad():
        for p in net.parameters(): p.add_(0.01 * torch.randn_like(p))
    net.eval()
torch.save({'state_dict': E.state_dict()}, f'{folder}/encoder.ckpt')
torch.save({'state_dict': D.state_dict()}, f'{folder}/decoder.ckpt')
open(f'{folder}/gene_order.tsv', 'w').write('\n'.join(f'GENE{i}' for i in range(genes)))
json.dump({k: list(v.shape) for k, v in E.state_dict().items()}, open(f'{folder}/layer_sizes.json', 'w'))
cells = torch.from_numpy(np.fromfile(f'{folder}/cells.f32', np.float32).reshape(-1, genes))
with torch.no_grad():
    z = F.normalize(E(cells), p=2, dim=1)
    z.numpy().tofile(f'{folder}/z.f32'); D(z).numpy().tofile(f'{folder}/x.f32')
)";

at::Tensor read_floats(std::filesystem::path const& file, std::int64_t columns) {
  std::ifstream stream(file, std::ios::binary);
  std::vector<char> bytes((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  return at::from_blob(bytes.data(), {static_cast<std::int64_t>(bytes.size() / 4) / columns, columns}, at::kFloat)
      .clone();
}

void copy_file_over(std::filesystem::path const& from, std::filesystem::path const& to) {
  std::filesystem::copy_file(from, to, std::filesystem::copy_options::overwrite_existing);
}

}  // namespace

TEST(Scimilarity, EmbeddingsAreThoseOfPyTorch) {
  char const* const python = std::getenv("RETORT_PYTHON");
  if (!python || !std::filesystem::exists(python))
    GTEST_SKIP() << "RETORT_PYTHON is not set: no Python torch to compare with";
  auto const folder = std::filesystem::temp_directory_path() / fmt::format("retort_scimilarity_{}", ::getpid());
  std::filesystem::create_directories(folder);
  auto const cells = random_cells(70, 211, 0.25, 12);
  auto const x = dense(cells);
  std::ofstream(folder / "cells.f32", std::ios::binary)
      .write(static_cast<char const*>(x.const_data_ptr()), static_cast<std::streamsize>(x.nbytes()));
  std::ofstream(folder / "write.py") << writer;
  // torchrun's and mpirun's variables are the child's too; torch does not look at them.
  ASSERT_EQ(std::system(fmt::format("'{}' '{}' '{}'", python, (folder / "write.py").string(), folder.string()).c_str()),
            0);

  auto model = import_scimilarity(folder);
  EXPECT_EQ(model.shape().hidden, (std::vector<std::int64_t>{64, 48, 32}));
  EXPECT_EQ(model.shape().latent, 16);
  EXPECT_EQ(model.gene_names().at(210), "GENE210");
  auto const z = read_floats(folder / "z.f32", 16);
  EXPECT_LT(largest_difference(model.encode(cells), z), 1e-5);
  EXPECT_LT(largest_difference(model.decode(z), read_floats(folder / "x.f32", 211)), 1e-5);

  // The import, saved, is the same model, with the names that it came with.
  model.save(folder / "saved", model.gene_names(), {});
  EXPECT_EQ(Foundation::load(folder / "saved").weights_hash(), model.weights_hash());

  // A folder whose files do not belong together, or are none, is refused.
  auto const expect_refused = [&](ExitCode code) {
    try {
      import_scimilarity(folder);
      ADD_FAILURE() << "imported";
    } catch (Failure const& failure) {
      EXPECT_EQ(failure.code, code) << failure.what();
    }
  };
  copy_file_over(folder / "encoder.ckpt", folder / "kept.ckpt");
  copy_file_over(folder / "decoder.ckpt", folder / "encoder.ckpt");
  expect_refused(ExitCode::bad_input);
  copy_file_over(folder / "gene_order.tsv", folder / "encoder.ckpt");
  expect_refused(ExitCode::bad_input);
  copy_file_over(folder / "kept.ckpt", folder / "encoder.ckpt");
  std::ofstream(folder / "gene_order.tsv", std::ios::app) << "\nGENE_TOO_MANY";
  expect_refused(ExitCode::bad_input);
  std::filesystem::remove(folder / "layer_sizes.json");
  expect_refused(ExitCode::missing_input);
  std::filesystem::remove_all(folder);
}
