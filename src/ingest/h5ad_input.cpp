#include "retort/ingest/h5ad_input.hpp"

#include <fmt/ranges.h>

#include <algorithm>

#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {

namespace {

H5adInput::Kind kind_of(Hdf5Dataset const& dataset, std::string const& field) {
  using Kind = H5adInput::Kind;
  if (field.empty() ? dataset.is_string() : dataset.field_is_string(field)) return Kind::strings;
  if (field.empty() && dataset.is_bool()) return Kind::booleans;
  auto const type = field.empty() ? dataset.number_type() : dataset.field_number_type(field);
  return type && *type != NumberType::f32 && *type != NumberType::f64 ? Kind::integers : Kind::other;
}

}  // namespace

H5adInput::H5adInput(std::filesystem::path const& path)
    : name_(path.string()), file_(Hdf5File::open(path)), descriptor_(path) {
  is_10x_ = is_group("matrix") && is_dataset("matrix/barcodes");
  if (is_10x_) {
    cells_ = file_.dataset("matrix/barcodes").rows();
    return;
  }
  if (!there("obs")) {
    auto const names = file_.names();
    fail(ExitCode::bad_input, "'{}' has no obs (an h5ad has one; this file has {}). Export it as h5ad", name_,
         names.empty() ? "nothing" : fmt::format("{}", fmt::join(names, ", ")));
  }
  cells_ = rows_of(index_of("obs"));
  columns_ = columns_of("obs");
}

bool H5adInput::there(std::string const& path) const {
  auto const kind = file_.kind(path);
  return kind == Hdf5Kind::group || kind == Hdf5Kind::dataset;
}

std::vector<std::string> H5adInput::fields_of(std::string const& table) const {
  return is_dataset(table) ? file_.dataset(table).fields() : std::vector<std::string>{};
}

std::vector<InputLayer> H5adInput::likely_layers() const {
  if (is_10x_) return {{"matrix", "matrix", false}};
  std::vector<InputLayer> layers;
  for (auto const& layer : {InputLayer{"X", "X", false}, InputLayer{"raw/X", "raw/X", true},
                            InputLayer{"raw/X", "raw.X", true}, InputLayer{"layers/counts", "layers/counts", false}})
    if (there(layer.path)) layers.push_back(layer);
  if (layers.empty())
    fail(ExitCode::bad_input,
         "'{}' holds none of X, raw/X and layers/counts (counts are looked for there). Name the matrix by ingest.layer",
         name_);
  return layers;
}

InputLayer H5adInput::layer(std::string const& name) const {
  InputLayer layer{name, name, name == "raw/X"};
  if (layer.raw && !is_group("raw")) layer.path = "raw.X";
  if (there(layer.path)) return layer;
  std::vector<std::string> held;
  for (char const* other : {"X", "raw/X"})
    if (there(other)) held.push_back(other);
  if (is_group("layers"))
    for (auto const& member : file_.group("layers").names()) held.push_back("layers/" + member);
  fail(ExitCode::bad_input, "'{}' has no layer '{}' (it has {}). Set ingest.layer to one of them", name_, name,
       fmt::join(held, ", "));
}

std::int64_t H5adInput::rows_of(Column const& column) const {
  auto const dataset = file_.dataset(column.values.path);
  if (dataset.shape().size() != 1)
    fail(ExitCode::bad_input, "{} has {} axes (a column has one). Export the file again", dataset.place(),
         dataset.shape().size());
  return dataset.rows();
}

std::vector<std::string> H5adInput::gene_names(InputLayer const& layer, std::string const& column) const {
  if (is_10x_) return file_.dataset("matrix/features/" + (column.empty() ? "name" : column)).read_strings();
  std::string const table = !layer.raw ? "var" : is_group("raw") ? "raw/var" : "raw.var";
  if (!there(table))
    fail(ExitCode::bad_input, "'{}' has no {} (it names the genes). Export the file again", name_, table);
  if (column.empty()) return texts(index_of(table));
  auto const columns = columns_of(table);
  auto const found =
      std::find_if(columns.begin(), columns.end(), [&](auto const& each) { return each.name == column; });
  std::vector<std::string> names;
  for (auto const& each : columns) names.push_back(each.name);
  if (found == columns.end())
    fail(ExitCode::bad_input, "'{}' has no column '{}' in {} (it has {}). Set ingest.gene_column to one of them", name_,
         column, table, names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", ")));
  return texts(*found);
}

H5adInput::Column const* H5adInput::column(std::string const& name) const {
  auto const found =
      std::find_if(columns_.begin(), columns_.end(), [&](auto const& each) { return each.name == name; });
  return found == columns_.end() ? nullptr : &*found;
}

H5adInput::Column H5adInput::index_of(std::string const& table) const {
  auto const fields = fields_of(table);
  if (!fields.empty()) {
    bool const named = std::find(fields.begin(), fields.end(), "index") != fields.end();
    return {"index", Kind::strings, {table, named ? "index" : fields.front()}, {}, {}};
  }
  auto const attribute = file_.group(table).string_attribute("_index");
  std::string const name = attribute ? *attribute : is_dataset(table + "/index") ? "index" : "_index";
  return column_at(table, name);
}

std::vector<H5adInput::Column> H5adInput::columns_of(std::string const& table) const {
  std::vector<Column> columns;
  std::string const index = index_of(table).name;
  if (auto const fields = fields_of(table); !fields.empty()) {
    for (auto const& field : fields)
      if (field != index) columns.push_back(column_at(table, field));
    return columns;
  }
  auto const group = file_.group(table);
  for (auto const& name : group.has_attribute("column-order") ? group.strings_attribute("column-order") : group.names())
    if (name != index && name != "__categories" && !name.empty() && name.find('/') == std::string::npos)
      columns.push_back(column_at(table, name));
  return columns;
}

H5adInput::Column H5adInput::column_at(std::string const& table, std::string const& name) const {
  Column column{name, Kind::other, {table + "/" + name, ""}, {}, {}};
  std::string const path = column.values.path;
  if (!fields_of(table).empty()) {
    column.values = {table, name};
    column.kind = kind_of(file_.dataset(table), name);
    std::string const categories = "uns/" + name + "_categories";
    if (column.kind == Kind::integers && is_dataset(categories)) {
      column.kind = Kind::coded_records;
      column.categories = {categories, ""};
    }
  } else if (is_group(path)) {
    if (is_dataset(path + "/codes")) {
      column.kind = Kind::categorical;
      column.values = {path + "/codes", ""};
      column.categories = {path + "/categories", ""};
      // From anndata 0.13 on the categories may be a nullable array themselves.
      if (is_group(column.categories.path)) column.categories.path += "/values";
    } else if (is_dataset(path + "/values") && is_dataset(path + "/mask")) {
      column.mask = path + "/mask";
      column.values = {path + "/values", ""};
      column.kind = kind_of(file_.dataset(column.values.path), "");
    }
  } else if (is_dataset(path)) {
    column.kind = kind_of(file_.dataset(path), "");
    std::string const categories = table + "/__categories/" + name;
    if (column.kind == Kind::integers && is_dataset(categories)) {  // anndata 0.7
      column.kind = Kind::categorical;
      column.categories = {categories, ""};
    }
  } else {
    fail(ExitCode::bad_input, "{} is missing ({} names it). Export the file again", "'" + name_ + "' " + path, table);
  }
  return column;
}

std::vector<std::string> H5adInput::texts(Column const& column) const {
  auto const dataset = file_.dataset(column.values.path);
  if (column.kind == Kind::strings)
    return column.values.field.empty() ? dataset.read_strings() : dataset.read_field_strings(column.values.field);
  CodedColumn const coded = read_column(*this, column, dataset.rows());
  std::vector<std::string> texts;
  texts.reserve(coded.codes.size());
  for (auto const code : coded.codes) texts.push_back(code < 0 ? "" : coded.categories[index(code)]);
  return texts;
}

}  // namespace retort
