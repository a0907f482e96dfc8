#include "retort/files/h5ad_writer.hpp"

#include <limits>
#include <nlohmann/json.hpp>

#include "retort/files/anndata_encoding.hpp"
#include "retort/files/hdf5.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"
#include "retort/run/run_folder.hpp"

namespace fs = std::filesystem;

namespace retort {
namespace {

constexpr std::int64_t most_values = std::int64_t{1} << 34;  // a set of cells is small; 64 GiB is not

void require_length(std::size_t has, std::int64_t wanted, std::string const& what, fs::path const& file) {
  if (static_cast<std::int64_t>(has) != wanted)
    fail(ExitCode::failed, "cannot write '{}' ({} has {} values, {} are needed)", file.string(), what, has, wanted);
}

void write_matrix(Hdf5Group& parent, std::string const& name, std::int64_t rows, std::int64_t columns,
                  std::vector<float> const& values) {
  auto set = parent.create_dataset(name, NumberType::f32, {rows, columns});
  set.write(0, std::span<float const>(values));
  encode_as(set, "array");
}

void write_obs(Hdf5File& file, CellSet const& set) {
  auto obs = file.create_group("obs");
  std::vector<std::string> columns, names = set.cell_names;
  for (auto const& column : set.columns) {
    auto group = obs.create_group(column.name);
    auto codes = group.create_dataset("codes", code_type(std::ssize(column.categories)), {set.cells});
    codes.write(0, std::span<std::int32_t const>(column.codes));
    encode_categorical(group, column.categories);
    columns.push_back(column.name);
  }
  if (names.empty())
    for (std::int64_t cell = 0; cell < set.cells; ++cell) names.push_back(std::to_string(cell));
  encode_frame(obs, columns, names);
}

std::vector<float> dense_of_csr(Hdf5Group const& x, std::int64_t rows, std::int64_t columns) {
  auto const indptr = x.dataset("indptr").read<std::int64_t>();
  auto const indices = x.dataset("indices").read<std::int64_t>();
  auto const values = x.dataset("data").read<float>();
  if (std::ssize(indptr) != rows + 1 || indptr[0] != 0 || indptr.back() != std::ssize(indices) ||
      indices.size() != values.size())
    fail(ExitCode::bad_input, "{} does not fit together ({} rows, {} starts, {} indices, {} values)", x.place(), rows,
         indptr.size(), indices.size(), values.size());
  std::vector<float> dense(index(rows * columns), 0.0f);
  for (std::int64_t row = 0; row < rows; ++row) {
    auto const begin = indptr[index(row)], end = indptr[index(row) + 1];
    if (end < begin || end > std::ssize(indices))
      fail(ExitCode::bad_input, "{}/indptr goes from {} to {} in row {} (it must not fall)", x.place(), begin, end,
           row);
    for (auto k = index(begin); k < index(end); ++k) {
      if (indices[k] < 0 || indices[k] >= columns)
        fail(ExitCode::bad_input, "{}/indices is {} in row {} (there are {} genes)", x.place(), indices[k], row,
             columns);
      dense[index(row * columns + indices[k])] += values[k];
    }
  }
  return dense;
}

void read_x(Hdf5File const& file, CellSet& set) {
  auto const check_size = [&](std::vector<std::int64_t> const& shape) {
    if (shape.size() != 2 || shape[0] != set.cells || shape[1] != set.genes)
      fail(ExitCode::bad_input, "{} has shape [{}] (obs has {} cells and var {} genes)", file.place() + "X",
           fmt::join(shape, ", "), set.cells, set.genes);
    if (set.genes > 0 && set.cells > most_values / set.genes)
      fail(ExitCode::bad_input, "{} is too large for a set of cells ({} x {})", file.place() + "X", set.cells,
           set.genes);
  };
  if (file.kind("X") == Hdf5Kind::group) {
    auto const x = file.group("X");
    if (x.string_attribute("encoding-type") != "csr_matrix")
      fail(ExitCode::bad_input, "{} is neither dense nor a csr_matrix. Write it as one of them", x.place());
    check_size(x.integers_attribute("shape"));
    set.x = dense_of_csr(x, set.cells, set.genes);
  } else {
    auto const x = file.dataset("X");
    check_size(x.shape());
    set.x = x.read<float>();
  }
}

}  // namespace

void write_cell_set(fs::path const& file, CellSet const& set, nlohmann::json const& uns) {
  require_length(set.x.size(), set.cells * set.genes, "X", file);
  require_length(set.gene_names.size(), set.genes, "var", file);
  if (!set.cell_names.empty()) require_length(set.cell_names.size(), set.cells, "obs", file);
  for (auto const& column : set.columns) require_length(column.codes.size(), set.cells, column.name, file);
  for (auto const& matrix : set.obsm) require_length(matrix.values.size(), set.cells * matrix.width, matrix.name, file);

  fs::path const pending = file.string() + ".pending";
  auto opened = Hdf5File::create(pending);
  write_matrix(opened, "X", set.cells, set.genes, set.x);
  write_obs(opened, set);
  {
    auto var = opened.create_group("var");
    encode_frame(var, {}, set.gene_names);
    auto obsm = opened.create_group("obsm");
    encode_as(obsm, "dict");
    for (auto const& matrix : set.obsm) write_matrix(obsm, matrix.name, set.cells, matrix.width, matrix.values);
  }
  write_json(opened, "uns", uns.is_object() ? uns : nlohmann::json::object());
  encode_root(opened);
  opened.close();
  publish(pending, file);
}

CellSet read_cell_set(fs::path const& file) {
  auto const opened = Hdf5File::open(file);
  CellSet set;
  auto const obs = opened.group("obs");
  set.gene_names = read_row_names(opened.group("var"));
  set.cell_names = read_row_names(obs);
  set.cells = std::ssize(set.cell_names);
  set.genes = std::ssize(set.gene_names);
  read_x(opened, set);
  for (auto const& name : obs.strings_attribute("column-order")) {
    if (obs.kind(name) != Hdf5Kind::group || obs.group(name).string_attribute("encoding-type") != "categorical")
      continue;
    auto column = read_categorical(obs, name, set.cells, -1);
    set.columns.push_back({name, std::move(column.categories), std::move(column.codes)});
  }
  if (opened.kind("obsm") == Hdf5Kind::group) {
    for (auto const& name : opened.group("obsm").names()) {
      if (opened.kind("obsm/" + name) != Hdf5Kind::dataset) continue;
      auto const matrix = opened.dataset("obsm/" + name);
      if (matrix.shape().size() != 2 || matrix.shape()[0] != set.cells)
        fail(ExitCode::bad_input, "{} has shape [{}] (there are {} cells)", matrix.place(),
             fmt::join(matrix.shape(), ", "), set.cells);
      set.obsm.push_back({name, matrix.shape()[1], matrix.read<float>()});
    }
  }
  return set;
}

}  // namespace retort
