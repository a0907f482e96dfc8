#include "retort/files/anndata_encoding.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "retort/run/error.hpp"

namespace retort {
namespace {

using Json = nlohmann::json;

bool all(Json const& array, bool (Json::*is)() const noexcept) {
  return std::ranges::all_of(array, [&](Json const& value) { return (value.*is)(); });
}

template <class Value>
void write_array(Hdf5Group& parent, std::string const& key, Json const& array) {
  auto set = parent.write_numbers(key, array.get<std::vector<Value>>());
  encode_as(set, "array");
}

template <class Value>
void write_scalar(Hdf5Group& parent, std::string const& key, Json const& value) {
  auto set = parent.write_number(key, value.get<Value>());
  encode_as(set, "numeric-scalar");
}

void write_text(Hdf5Group& parent, std::string const& key, std::string const& text) {
  auto set = parent.write_string(key, text);
  encode_as(set, "string");
}

}  // namespace

void encode_as(Hdf5Object& object, std::string const& type) {
  object.set_attribute("encoding-type", type);
  bool const second = type == "dataframe" || type == "categorical" || type == "array" || type == "string-array" ||
                      type == "string" || type == "numeric-scalar";
  object.set_attribute("encoding-version", std::string(second ? "0.2.0" : "0.1.0"));
}

void encode_root(Hdf5Group& root) {
  encode_as(root, "anndata");
  for (char const* name : {"layers", "obs", "obsm", "obsp", "uns", "var", "varm", "varp"}) {
    if (root.has(name)) continue;
    auto group = root.create_group(name);
    encode_as(group, "dict");
  }
}

void encode_csr(Hdf5Group& matrix, std::int64_t rows, std::int64_t columns) {
  encode_as(matrix, "csr_matrix");
  matrix.set_attribute("shape", std::vector<std::int64_t>{rows, columns});
}

void encode_frame(Hdf5Group& frame, std::vector<std::string> const& columns,
                  std::vector<std::string> const& row_names) {
  auto index = frame.write_strings("_index", row_names);
  encode_as(index, "string-array");
  encode_as(frame, "dataframe");
  frame.set_attribute("_index", std::string("_index"));
  frame.set_attribute("column-order", columns);
}

void encode_categorical(Hdf5Group& column, std::vector<std::string> const& categories) {
  auto codes = column.dataset("codes");
  encode_as(codes, "array");
  auto names = column.write_strings("categories", categories);
  encode_as(names, "string-array");
  encode_as(column, "categorical");
  column.set_attribute("ordered", false);
}

NumberType code_type(std::int64_t categories) {
  if (categories < 128) return NumberType::i8;
  return categories < 32768 ? NumberType::i16 : NumberType::i32;
}

void write_json(Hdf5Group& parent, std::string const& given_key, Json const& value) {
  std::string key = given_key;
  std::ranges::replace(key, '/', '_');
  if (value.is_null()) return;
  if (value.is_object()) {
    auto group = parent.create_group(key);
    encode_as(group, "dict");
    for (auto const& [name, member] : value.items()) write_json(group, name, member);
  } else if (value.is_boolean()) {
    auto set = parent.create_bools(key, {});
    auto const flag = static_cast<std::int8_t>(value.get<bool>());
    set.write(0, std::span(&flag, 1));
    encode_as(set, "numeric-scalar");
  } else if (value.is_number_float()) {
    write_scalar<double>(parent, key, value);
  } else if (value.is_number()) {
    write_scalar<std::int64_t>(parent, key, value);
  } else if (value.is_string()) {
    write_text(parent, key, value.get<std::string>());
  } else if (all(value, &Json::is_number_integer)) {
    write_array<std::int64_t>(parent, key, value);
  } else if (all(value, &Json::is_number)) {
    write_array<double>(parent, key, value);
  } else if (all(value, &Json::is_string)) {
    auto set = parent.write_strings(key, value.get<std::vector<std::string>>());
    encode_as(set, "string-array");
  } else {
    write_text(parent, key, value.dump(-1, ' ', false, Json::error_handler_t::replace));
  }
}

std::vector<std::string> read_row_names(Hdf5Group const& frame) {
  return frame.dataset(frame.string_attribute("_index").value_or("_index")).read_strings();
}

Categorical read_categorical(Hdf5Group const& frame, std::string const& name, std::int64_t rows, std::int32_t lowest) {
  auto const column = frame.group(name);
  Categorical read{column.dataset("categories").read_strings(), {}};
  auto const set = column.dataset("codes");
  if (set.shape() != std::vector<std::int64_t>{rows})
    fail(ExitCode::bad_input, "{} has {} values (there are {} cells)", set.place(), set.size(), rows);
  read.codes = set.read<std::int32_t>();
  for (std::size_t row = 0; row < read.codes.size(); ++row) {
    if (read.codes[row] < lowest || read.codes[row] >= std::ssize(read.categories))
      fail(ExitCode::bad_input, "{} has code {} in row {} (there are {} categories)", set.place(), read.codes[row], row,
           read.categories.size());
  }
  return read;
}

}  // namespace retort
