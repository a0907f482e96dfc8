#include "retort/generate/conditions.hpp"

#include <algorithm>
#include <limits>

#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {

Conditioning conditioning_of(std::string const& name) {
  if (name == "joint") return Conditioning::joint;
  if (name == "summed") return Conditioning::summed;
  if (name == "additive") return Conditioning::additive;
  fail(ExitCode::usage, "diffusion.conditioning is '{}' (it is joint, summed or additive)", name);
}

std::string name_of(Conditioning conditioning) {
  return conditioning == Conditioning::joint ? "joint" : conditioning == Conditioning::summed ? "summed" : "additive";
}

std::vector<std::string> Conditions::column_names() const {
  std::vector<std::string> names;
  for (auto const& column : columns_) names.push_back(column.name);
  return names;
}

std::int64_t Conditions::combinations() const {
  std::int64_t product = 1;
  for (auto const& column : columns_)
    if (__builtin_mul_overflow(product, std::ssize(column.classes), &product))
      return std::numeric_limits<std::int64_t>::max();
  return product;
}

std::vector<std::int64_t> Conditions::classes(std::int64_t combination) const {
  std::vector<std::int64_t> of_column(columns_.size());
  for (auto a = columns_.size(); a-- > 0;) {
    of_column[a] = combination % std::ssize(columns_[a].classes);
    combination /= std::ssize(columns_[a].classes);
  }
  return of_column;
}

std::string Conditions::name(std::int64_t combination) const {
  auto const of_column = classes(combination);
  std::vector<std::string> names;
  for (std::size_t a = 0; a < columns_.size(); ++a) names.push_back(columns_[a].classes[index(of_column[a])]);
  return fmt::format("{}", fmt::join(names, "/"));
}

std::int64_t Conditions::of_name(std::string const& name) const {
  std::vector<std::string> all;
  std::vector<std::int64_t> found;
  for (std::int64_t combination = 0; combination < combinations(); ++combination) {
    all.push_back(this->name(combination));
    if (all.back() == name) found.push_back(combination);
  }
  if (found.size() == 1) return found.front();
  if (!found.empty())
    fail(ExitCode::usage, "'{}' is the name of {} combinations (classes have a / in their names). Rename these classes",
         name, found.size());
  constexpr std::size_t most = 20;
  fail(ExitCode::usage, "there are no cells '{}' (known are {}{})", name,
       fmt::join(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(std::min(most, all.size())), ", "),
       all.size() > most ? ", …" : "");
}

std::vector<Attribute> Conditions::attributes(Conditioning conditioning) const {
  if (conditioning != Conditioning::joint) return columns_;
  Attribute all;
  all.name = fmt::format("{}", fmt::join(column_names(), "/"));
  for (std::int64_t combination = 0; combination < combinations(); ++combination)
    all.classes.push_back(name(combination));
  return {all};
}

std::vector<std::int64_t> Conditions::labels(std::int64_t combination, Conditioning conditioning) const {
  return conditioning == Conditioning::joint ? std::vector{combination} : classes(combination);
}

ConditionedRows conditions_of(Atlas const& atlas, std::vector<std::string> const& columns) {
  std::vector<Attribute> attributes;
  std::vector<Labels> labels;
  for (auto const& column : columns.empty() ? std::vector<std::string>{""} : columns) {
    if (std::count(columns.begin(), columns.end(), column) > 1)
      fail(ExitCode::usage, "the label column '{}' is named twice. Name each once", column);
    labels.push_back(atlas.labels(column));
    attributes.push_back({labels.back().column, labels.back().names});
  }
  ConditionedRows rows{Conditions(std::move(attributes)), std::vector<std::int32_t>(index(atlas.cells()))};
  if (rows.conditions.combinations() > std::numeric_limits<std::int32_t>::max())
    fail(ExitCode::bad_input, "the label columns have more combinations than can be counted");
  for (auto const& column : labels)
    for (std::size_t row = 0; row < rows.combination.size(); ++row)
      rows.combination[row] = rows.combination[row] * static_cast<std::int32_t>(column.classes()) + column.codes[row];
  return rows;
}

}  // namespace retort
