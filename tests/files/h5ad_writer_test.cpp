#include "retort/files/h5ad_writer.hpp"

#include <nlohmann/json.hpp>

#include "../shared_folder.hpp"
#include "retort/files/hdf5.hpp"

namespace retort {
namespace {

CellSet small_set() {
  CellSet set;
  set.cells = 3;
  set.genes = 2;
  set.x = {0.0f, 1.5f, 2.25f, 0.0f, 3.0f, 4.0f};
  set.gene_names = {"CD3E", "MS4A1"};
  set.columns = {{"cell_type", {"B", "T"}, {1, 0, 1}}};
  set.obsm = {{"X_latent", 2, {1, 2, 3, 4, 5, 6}}};
  return set;
}

nlohmann::json told() {
  return {{"retort",
           {{"variant", "scdd"},
            {"spc", 10},
            {"rate", 0.25},
            {"seeds", {1, 2, 3}},
            {"losses", {0.5, 1.0}},
            {"classes", {"B", "T/NK"}},
            {"relu", true},
            {"per_class", {{"T/NK", 7}}},
            {"nothing", nullptr},
            {"rows", {{{"a", 1}}, {{"a", 2}}}},
            {"empty", nlohmann::json::array()}}}};
}

TEST(CellSet, reads_back_and_has_the_same_bytes) {
  auto const ranks = Communicator::serial();
  SharedFolder const folder(ranks, "cell_set");
  auto const set = small_set();
  write_cell_set(folder / "a.h5ad", set, told());
  write_cell_set(folder / "b.h5ad", set, told());
  EXPECT_TRUE(bytes_of_file(folder / "a.h5ad") == bytes_of_file(folder / "b.h5ad"));
  EXPECT_FALSE(std::filesystem::exists(folder / "a.h5ad.pending"));
  auto const read = read_cell_set(folder / "a.h5ad");
  EXPECT_EQ(read.cells, 3);
  EXPECT_EQ(read.genes, 2);
  EXPECT_EQ(read.x, set.x);
  EXPECT_EQ(read.gene_names, set.gene_names);
  EXPECT_EQ(read.cell_names, (std::vector<std::string>{"0", "1", "2"}));
  EXPECT_EQ(read.columns.size(), 1u);
  EXPECT_EQ(read.columns[0].categories, set.columns[0].categories);
  EXPECT_EQ(read.columns[0].codes, set.columns[0].codes);
  EXPECT_EQ(read.obsm[0].name, "X_latent");
  EXPECT_EQ(read.obsm[0].values, set.obsm[0].values);
}

TEST(CellSet, anndata_opens_it_and_writes_what_we_read) {
  auto const ranks = Communicator::serial();
  if (!has_python()) GTEST_SKIP() << "RETORT_PYTHON is not set";
  SharedFolder const folder(ranks, "cell_set_python");
  write_cell_set(folder / "a.h5ad", small_set(), told());
  EXPECT_TRUE(python_agrees(folder.path, R"(
import numpy as np, anndata as ad, json, scipy.sparse as sp
a = ad.read_h5ad('a.h5ad')
assert a.X.dtype == np.float32 and np.array_equal(a.X, [[0, 1.5], [2.25, 0], [3, 4]])
assert list(a.var_names) == ['CD3E', 'MS4A1'] and list(a.obs_names) == ['0', '1', '2']
assert list(a.obs.cell_type) == ['T', 'B', 'T'] and a.obs.cell_type.dtype == 'category'
assert a.obsm['X_latent'].dtype == np.float32 and np.array_equal(a.obsm['X_latent'], [[1, 2], [3, 4], [5, 6]])
u = a.uns['retort']
assert u['variant'] == 'scdd' and u['spc'] == 10 and u['rate'] == .25
assert list(u['seeds']) == [1, 2, 3] and list(u['losses']) == [.5, 1]
assert list(u['classes']) == ['B', 'T/NK'] and bool(u['relu']) and u['per_class']['T_NK'] == 7 and 'nothing' not in u
assert json.loads(u['rows']) == [{'a': 1}, {'a': 2}] and len(u['empty']) == 0
a.X = sp.csr_matrix(a.X)
a.obs['number'] = [1., 2., 3.]
a.write_h5ad('b.h5ad')
)"));
  auto const read = read_cell_set(folder / "b.h5ad");
  EXPECT_EQ(read.x, small_set().x);
  EXPECT_EQ(read.columns.size(), 1u);
  EXPECT_EQ(read.columns[0].codes, small_set().columns[0].codes);
}

TEST(CellSet, refuses_what_does_not_fit) {
  auto const ranks = Communicator::serial();
  SharedFolder const folder(ranks, "cell_set_refused");
  auto set = small_set();
  write_cell_set(folder / "a.h5ad", set, {});
  {
    auto file = Hdf5File::extend(folder / "a.h5ad");
    std::int8_t const code = 2;
    file.dataset("obs/cell_type/codes").write(1, std::span(&code, 1));
  }
  EXPECT_NE(failure_of(ExitCode::bad_input, [&] { read_cell_set(folder / "a.h5ad"); }).find("code 2 in row 1"),
            std::string::npos);
  failure_of(ExitCode::cannot_write, [&] { write_cell_set(folder / "no" / "a.h5ad", set, {}); });
  set.x.pop_back();
  failure_of(ExitCode::failed, [&] { write_cell_set(folder / "b.h5ad", set, {}); });
}

}  // namespace
}  // namespace retort
