#include "retort/cells/atlas.hpp"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "../shared_folder.hpp"
#include "retort/cells/atlas_writer.hpp"
#include "retort/files/hdf5.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

constexpr std::int64_t cells = 101, genes = 300;

// A small atlas whose every value is a formula, here and in Python.
bool expressed(std::int64_t row, std::int64_t gene) { return row % 17 != 5 && (row * 7 + gene * 13) % 11 == 0; }
std::uint32_t count_of(std::int64_t row, std::int64_t gene, std::uint32_t largest) {
  return row == 3 && gene == 6 ? largest : 1 + static_cast<std::uint32_t>((row + gene * 3) % 90);
}
constexpr char const* python_formula = R"(
import numpy as np, anndata as ad
r, g = np.arange(101)[:, None], np.arange(300)[None, :]
def expected(largest):
    x = np.where((r % 17 != 5) & ((r * 7 + g * 13) % 11 == 0), 1 + (r + g * 3) % 90, 0)
    x[3, 6] = largest
    return x
)";
static_assert((3 * 7 + 6 * 13) % 11 == 0);

struct Given {
  std::uint32_t largest = 90;
  bool whole = true;
  int gzip = 0;
  bool plain = false;
};

void write_atlas(Communicator const& ranks, std::filesystem::path const& file, Given const& given) {
  auto const share = share_of(cells, ranks.rank(), ranks.size());
  std::vector<std::int64_t> nonzeros;
  std::vector<std::uint32_t> at, values;
  AtlasForm form{cells, genes, given.whole, 0, given.gzip, given.plain};
  AtlasRows rows;
  rows.columns = {{"cell_type", {"B", "T/NK", "μ"}, {}}, {"batch", {"one"}, {}}};
  for (std::int64_t row = share.begin; row < share.end; ++row) {
    auto const before = std::ssize(at);
    for (std::int64_t gene = 0; gene < genes; ++gene) {
      if (!expressed(row, gene)) continue;
      auto const count = count_of(row, gene, given.largest);
      form.largest = std::max(form.largest, count);
      at.push_back(static_cast<std::uint32_t>(gene));
      values.push_back(given.whole ? count : std::bit_cast<std::uint32_t>(static_cast<float>(count) / 4));
    }
    nonzeros.push_back(std::ssize(at) - before);
    rows.names.push_back(fmt::format("cell {}", row));
    rows.source_rows.push_back(cells - row);
    rows.parts.push_back(row % 5 == 0 ? Part::test : row % 5 == 1 ? Part::held_out : Part::fit);
    rows.columns[0].codes.push_back(static_cast<std::int32_t>(row % 3));
    rows.columns[1].codes.push_back(0);
  }
  AtlasWriter writer(ranks, file, form, share, nonzeros);
  auto const half = at.size() / 2;
  writer.append(std::span(at).first(half), std::span(values).first(half));
  writer.append(std::span(at).subspan(half), std::span(values).subspan(half));
  AtlasGenes var;
  for (std::int64_t gene = 0; gene < genes; ++gene) var.names.push_back(fmt::format("GENE{}", gene));
  std::vector<double> flags(index(genes), 0.0);
  flags[2] = 1;
  var.columns.push_back({"flag", flags, true});
  writer.finish(
      rows, var,
      {given.whole, "cell_type", 42, {{"files", {"a.h5ad", "b.h5ad"}}, {"dropped", {{"cells", 3}, {"share", 0.5}}}}});
}

TEST(Atlas, is_the_same_file_on_any_number_of_ranks_and_reads_back) {
  auto const ranks = Communicator::world();
  auto const alone = Communicator::serial();
  SharedFolder const folder(ranks, "atlas");
  for (Given const given :
       {Given{90}, Given{300}, Given{70000}, Given{90, false}, Given{90, true, 4}, Given{90, true, 0, true}}) {
    write_atlas(ranks, folder / "together.h5ad", given);
    if (ranks.is_root()) {
      write_atlas(alone, folder / "alone.h5ad", given);
      EXPECT_TRUE(bytes_of_file(folder / "together.h5ad") == bytes_of_file(folder / "alone.h5ad"))
          << given.largest << given.whole << given.gzip << given.plain;
      EXPECT_FALSE(std::filesystem::exists(folder / "together.h5ad.pending"));
      EXPECT_FALSE(std::filesystem::exists(folder / "together.h5ad.raw"));
    }
    ranks.barrier();
    auto const file = Hdf5File::open(folder / "together.h5ad");
    auto const type = file.dataset("X/data").number_type().value_or(NumberType::i8);
    auto const wanted = given.plain || !given.whole ? NumberType::f32 : NumberType::u8;
    EXPECT_EQ(static_cast<int>(type), static_cast<int>(given.largest > 300   ? NumberType::u32
                                                       : given.largest > 255 ? NumberType::u16
                                                                             : wanted));
    EXPECT_EQ(file.dataset("X/data").offset().has_value(), given.gzip == 0);
    if (given.plain) continue;  // not an atlas

    Atlas const atlas(folder / "together.h5ad");
    EXPECT_EQ(atlas.cells(), cells);
    EXPECT_EQ(atlas.genes(), genes);
    EXPECT_EQ(atlas.gene_names().at(7), "GENE7");
    EXPECT_EQ(atlas.holds_counts(), given.whole);
    EXPECT_EQ(atlas.source_rows().at(1), cells - 1);
    EXPECT_EQ(atlas.parts().at(0), Part::test);
    EXPECT_EQ(atlas.parts().at(1), Part::held_out);
    EXPECT_EQ(atlas.parts().at(2), Part::fit);
    auto const labels = atlas.labels();
    EXPECT_EQ(labels.column, "cell_type");
    EXPECT_EQ(labels.names, (std::vector<std::string>{"B", "T/NK", "μ"}));
    EXPECT_EQ(labels.codes.at(4), 1);
    auto const block = atlas.read(0, cells);
    std::vector<std::int64_t> backwards;
    for (std::int64_t row = cells; row-- > 0;) backwards.push_back(row);
    auto const reversed = atlas.read(backwards);
    std::size_t k = 0;
    for (std::int64_t row = 0; row < cells; ++row) {
      auto other = index(reversed.indptr[index(cells - 1 - row)]);
      for (std::int64_t gene = 0; gene < genes; ++gene) {
        if (!expressed(row, gene)) continue;
        float const value = static_cast<float>(count_of(row, gene, given.largest)) / (given.whole ? 1.0f : 4.0f);
        EXPECT_EQ(block.indices[k], gene);
        EXPECT_EQ(block.values[k++], value);
        EXPECT_EQ(reversed.indices[other], gene);
        EXPECT_EQ(reversed.values[other++], value);
      }
      EXPECT_EQ(block.indptr[index(row) + 1], static_cast<std::int64_t>(k));
    }
    EXPECT_EQ(std::ssize(block.values), static_cast<std::int64_t>(k));
    EXPECT_EQ(atlas.read(5, 6).nonzeros(), 0);  // a cell without a count
    EXPECT_EQ(atlas.read_log(0, cells).values[0] == block.values[0], !given.whole);
  }
}

TEST(Atlas, anndata_and_scanpy_agree_with_it) {
  auto const ranks = Communicator::world();
  if (!has_python()) GTEST_SKIP() << "RETORT_PYTHON is not set";
  SharedFolder const folder(ranks, "atlas_python");
  write_atlas(ranks, folder / "narrow.h5ad", {90});
  write_atlas(ranks, folder / "wide.h5ad", {300});
  write_atlas(ranks, folder / "zipped.h5ad", {90, true, 4});
  write_atlas(ranks, folder / "real.h5ad", {90, false});
  write_atlas(ranks, folder / "plain.h5ad", {90, true, 0, true});
  if (!ranks.is_root()) return;
  EXPECT_TRUE(python_agrees(folder.path, std::string(python_formula) + R"(
import scanpy as sc
for name, largest, scale, kind in (
    ('narrow', 90, 1, 'uint8'), ('wide', 300, 1, None), ('zipped', 90, 1, 'uint8'),
    ('real', 90, 4, 'float32'), ('plain', 90, 1, 'float32'),
):
    a = ad.read_h5ad(name + '.h5ad')
    assert np.array_equal(a.X.toarray() * scale, expected(largest)), name
    assert kind is None or a.X.dtype == kind, (name, a.X.dtype)
    b = ad.read_h5ad(name + '.h5ad', backed='r')
    assert np.array_equal(b[3:9].X.toarray() * scale, expected(largest)[3:9])
    assert list(a.obs_names[:2]) == ['cell 0', 'cell 1'] and a.var_names[299] == 'GENE299'
    assert list(a.obs['cell_type'][:4]) == ['B', 'T/NK', 'μ', 'B'] and a.obs['cell_type'].dtype == 'category'
    assert list(a.obs['split'][:3]) == ['test', 'train', 'train']
    assert list(a.obs['held_out'][:3]) == [False, True, False]
    assert a.obs['held_out'].dtype == bool
    assert a.obs['source_row'].dtype == np.int64 and a.obs['source_row'].iloc[1] == 100
    assert a.var['flag'].dtype == bool and a.var['flag'].sum() == 1
    said = a.uns if name == 'plain' else a.uns['retort']
    assert list(said['files']) == ['a.h5ad', 'b.h5ad']
    assert said['dropped']['cells'] == 3 and said['dropped']['share'] == .5
    if name != 'plain':
        assert said['label'] == 'cell_type' and said['shuffle_seed'] == 42
        assert bool(said['holds_counts']) == (name != 'real')
a = ad.read_h5ad('narrow.h5ad')
sc.pp.normalize_total(a, target_sum=1e4); sc.pp.log1p(a)
a.X.toarray().astype('float32').tofile('log.bin')
)"));
  auto const log = bytes_of_file(folder / "log.bin");
  auto const block = Atlas(folder / "narrow.h5ad").read_log(0, cells);
  EXPECT_EQ(std::ssize(log), cells * genes * 4);
  for (std::int64_t row = 0; row < cells && std::ssize(log) == cells * genes * 4; ++row) {
    for (auto k = index(block.indptr[index(row)]); k < index(block.indptr[index(row) + 1]); ++k) {
      float scanpy = 0;
      std::memcpy(&scanpy, log.data() + (row * genes + block.indices[k]) * 4, 4);
      EXPECT_NEAR(block.values[k], scanpy, 2e-6 * scanpy);
    }
  }
}

// Writes an atlas, spoils it and says what opening it, or reading all of it, throws.
std::string refusal(std::filesystem::path const& file, Given const& given,
                    std::function<void(Hdf5File&)> const& spoil) {
  write_atlas(Communicator::serial(), file, given);
  {
    auto opened = Hdf5File::extend(file);
    spoil(opened);
  }
  return failure_of(ExitCode::bad_input, [&] {
    Atlas const atlas(file);
    atlas.read(0, cells);
    atlas.labels();
  });
}

template <class Value>
std::function<void(Hdf5File&)> put(char const* set, std::int64_t at, Value value) {
  return [=](Hdf5File& file) { file.dataset(set).write(at, std::span<Value const>(&value, 1)); };
}

TEST(Atlas, refuses_what_does_not_fit_and_names_it) {
  auto const alone = Communicator::serial();
  SharedFolder const folder(alone, "atlas_refused");
  auto const file = folder / "a.h5ad";
  auto const expect = [&](std::string const& says, std::vector<std::string> const& words) {
    for (auto const& word : words) EXPECT_NE(says.find(word), std::string::npos) << "no '" << word << "' in: " << says;
  };
  std::int64_t const none = 0;
  expect(refusal(file, {}, put<std::int64_t>("X/indptr", 0, 1)), {file.string(), "X/indptr", "begins with 1"});
  expect(refusal(file, {}, put<std::int64_t>("X/indptr", 4, none)), {"X/indptr", "falls", "to 0 in row 3"});
  expect(refusal(file, {}, put<std::int64_t>("X/indptr", cells, 1 << 20)), {"X/data", "1048576"});
  expect(refusal(file, {}, put<std::uint16_t>("X/indices", 30, 300)), {"X/indices is 300 in row", "300 genes"});
  expect(refusal(file, {},
                 [](Hdf5File& opened) {  // rises within its row, and is past the genes all the same
                   std::uint16_t const past = 300;
                   auto indices = opened.dataset("X/indices");
                   indices.write(indices.rows() - 1, std::span(&past, 1));
                 }),
         {"X/indices is 300 in row 100"});
  expect(refusal(file, {}, put<std::uint16_t>("X/indices", 1, 0)),
         {"X/indices goes from", "to 0 in row 0", "must rise"});
  expect(refusal(file, {90, false}, put<float>("X/data", 2, std::nanf(""))), {"X/data is nan in row 0"});
  expect(refusal(file, {90, false}, put<float>("X/data", 2, -1.0f)), {"X/data is -1 in row 0"});
  expect(refusal(file, {90, false, 4}, put<float>("X/data", 2, std::numeric_limits<float>::infinity())),
         {"X/data is inf in row 0"});
  expect(refusal(file, {}, put<std::int8_t>("obs/cell_type/codes", 7, -1)),
         {"obs/cell_type/codes", "-1 in row 7", "3 categories"});
  expect(refusal(file, {}, put<std::int8_t>("obs/split/codes", 9, 2)), {"obs/split/codes", "2 in row 9"});
  expect(refusal(file, {}, put<std::int64_t>("obs/source_row", 9, -4)), {"obs/source_row is -4 in row 9"});
  expect(refusal(file, {},
                 [](Hdf5File& opened) {
                   opened.group("X").set_attribute("shape", std::vector<std::int64_t>{cells, genes + 1});
                 }),
         {"var has 300 genes", "301 columns"});
  expect(refusal(file, {}, [](Hdf5File& opened) { H5Ldelete(opened.id(), "uns", H5P_DEFAULT); }),
         {"no atlas", "retort-ingest"});
  expect(refusal(file, {},
                 [](Hdf5File& opened) {
                   H5Ldelete(opened.id(), "var/_index", H5P_DEFAULT);
                   opened.group("var").write_strings("_index", std::vector<std::string>(genes, "same"));
                 }),
         {"not the list of genes"});
  expect(refusal(file, {90, true, 0, true}, [](Hdf5File&) {}), {"no atlas"});

  write_atlas(alone, file, {});
  expect(failure_of(ExitCode::bad_input, [&] { Atlas(file).labels("celltype"); }),
         {"no label column 'celltype'", "'batch', 'cell_type'"});
  std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
  failure_of(ExitCode::bad_input, [&] { Atlas(file).read(0, cells); });
  failure_of(ExitCode::missing_input, [&] { Atlas(folder / "absent.h5ad"); });
}

TEST(AtlasWriter, refuses_on_all_ranks_where_it_cannot_write) {
  auto const ranks = Communicator::world();
  SharedFolder const folder(ranks, "atlas_unwritable");
  failure_of(ExitCode::cannot_write, [&] { write_atlas(ranks, folder.path / "no" / "such" / "a.h5ad", {}); });
}

TEST(LogNormalise, leaves_empty_rows_and_sums_to_ten_thousand) {
  CsrBlock block;
  block.genes = 4;
  block.indptr = {0, 0, 3, 4};
  block.indices = {0, 1, 3, 2};
  block.values = {1, 2.5f, 200, 0};
  log_normalise(block);
  double sum = 0;
  for (std::size_t k = 0; k < 3; ++k) sum += std::expm1(static_cast<double>(block.values[k]));
  EXPECT_NEAR(sum, 1e4, 0.01);
  EXPECT_NEAR(block.values[1], std::log1p(2.5e4 / 203.5), 1e-6);
  EXPECT_EQ(block.values[3], 0);
}

}  // namespace
}  // namespace retort
