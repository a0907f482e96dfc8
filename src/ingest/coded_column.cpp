#include <algorithm>
#include <map>
#include <unordered_map>

#include "retort/ingest/h5ad_input.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {

namespace {

// Python's text of a number: 1.0, not 1.
std::string text_of(double number) {
  std::string const text = fmt::format("{}", number);
  return text.find_first_not_of("-0123456789") == std::string::npos ? text + ".0" : text;
}

std::string text_of(std::int64_t value, bool boolean) {
  return boolean ? (value ? "True" : "False") : fmt::format("{}", value);
}

std::vector<std::string> categories_of(Hdf5Dataset const& dataset) {
  if (dataset.is_string()) return dataset.read_strings();
  auto const type = dataset.number_type();
  if (!type)
    fail(ExitCode::bad_input, "{} holds neither texts nor numbers (categories are one of them). Export the file again",
         dataset.place());
  std::vector<std::string> texts;
  if (*type == NumberType::f32 || *type == NumberType::f64)
    for (double const number : dataset.read<double>()) texts.push_back(text_of(number));
  else
    for (auto const value : dataset.read<std::int64_t>()) texts.push_back(text_of(value, dataset.is_bool()));
  return texts;
}

std::string place_of(Hdf5Dataset const& dataset, Place const& place) {
  return dataset.place() + (place.field.empty() ? "" : "." + place.field);
}

std::vector<std::int64_t> integers_of(Hdf5Dataset const& dataset, Place const& place) {
  return place.field.empty() ? dataset.read<std::int64_t>() : dataset.read_field<std::int64_t>(place.field);
}

void require_rows(std::int64_t rows, std::size_t read, std::string const& place) {
  if (static_cast<std::int64_t>(read) != rows)
    fail(ExitCode::bad_input, "{} has {} rows (the table has {}). Export the file again", place, read, rows);
}

void require_one_axis(Hdf5Dataset const& dataset) {
  if (dataset.shape().size() != 1)
    fail(ExitCode::bad_input, "{} has {} axes (a column has one). Export the file again", dataset.place(),
         dataset.shape().size());
}

// The codes of a categorical column, in [-1, categories).
std::vector<std::int32_t> codes_of(std::vector<std::int64_t> const& codes, std::size_t categories,
                                   std::string const& place) {
  std::vector<std::int32_t> checked;
  checked.reserve(codes.size());
  for (std::size_t i = 0; i < codes.size(); ++i) {
    if (codes[i] < -1 || codes[i] >= static_cast<std::int64_t>(categories))
      fail(ExitCode::bad_input, "{} has code {} in row {} (there are {} categories). Repair the file", place, codes[i],
           i, categories);
    checked.push_back(static_cast<std::int32_t>(codes[i]));
  }
  return checked;
}

// Values of any type become codes of the distinct ones in their order, as pandas makes categories.
template <class Value>
std::vector<Value> encode(std::vector<Value> const& values, std::vector<std::int64_t> const& missing,
                          std::vector<std::int32_t>& codes) {
  std::unordered_map<Value, std::int32_t> seen;
  for (std::size_t i = 0; i < values.size(); ++i) {
    bool const there = missing.empty() || !missing[i];
    codes.push_back(there ? seen.try_emplace(values[i], static_cast<std::int32_t>(seen.size())).first->second : -1);
  }
  std::map<Value, std::int32_t> const sorted(seen.begin(), seen.end());
  std::vector<std::int32_t> place(seen.size());
  std::vector<Value> distinct;
  for (auto const& [value, code] : sorted) {
    place[index(code)] = static_cast<std::int32_t>(distinct.size());
    distinct.push_back(value);
  }
  for (auto& code : codes)
    if (code >= 0) code = place[index(code)];
  return distinct;
}

// A label without letters is none.
void drop_empty(CodedColumn& column) {
  auto const empty = std::find(column.categories.begin(), column.categories.end(), "");
  if (empty == column.categories.end()) return;
  auto const gone = static_cast<std::int32_t>(empty - column.categories.begin());
  column.categories.erase(empty);
  for (auto& code : column.codes) code = code == gone ? -1 : code > gone ? code - 1 : code;
}

}  // namespace

CodedColumn read_column(H5adInput const& input, H5adInput::Column const& column, std::int64_t rows) {
  using Kind = H5adInput::Kind;
  auto const& file = input.file();
  auto const dataset = file.dataset(column.values.path);
  std::string const place = place_of(dataset, column.values);
  CodedColumn out;
  std::vector<std::int64_t> missing;
  require_one_axis(dataset);
  require_rows(rows, index(dataset.rows()), place);
  if (!column.mask.empty()) {
    require_one_axis(file.dataset(column.mask));
    missing = file.dataset(column.mask).read<std::int64_t>();
    require_rows(rows, missing.size(), file.dataset(column.mask).place());
  }
  switch (column.kind) {
    case Kind::categorical:
    case Kind::coded_records:
      out.categories = categories_of(file.dataset(column.categories.path));
      out.codes = codes_of(integers_of(dataset, column.values), out.categories.size(), place);
      break;
    case Kind::strings:
      out.categories =
          encode(column.values.field.empty() ? dataset.read_strings() : dataset.read_field_strings(column.values.field),
                 missing, out.codes);
      break;
    case Kind::integers:
    case Kind::booleans:
      for (auto const value : encode(integers_of(dataset, column.values), missing, out.codes))
        out.categories.push_back(text_of(value, column.kind == Kind::booleans));
      break;
    case Kind::other:
      fail(ExitCode::bad_input,
           "{} holds neither texts, categories nor integers (a label needs one of them). Choose another column", place);
  }
  require_rows(rows, out.codes.size(), place);
  drop_empty(out);
  return out;
}

}  // namespace retort
