// What generated cells are asked to be: one label column of an atlas, or several.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "retort/cells/atlas.hpp"
#include "retort/models/scldm_transformer.hpp"

namespace retort {

// How a network hears of several columns. joint: one embedding a combination (the paper's Type I); summed: the sum of
// one a column (the public code's joint mode), which can be asked for combinations it never saw; additive: trained on
// one column at a time, guided by the sum of their terms (Type II).
enum class Conditioning { joint, summed, additive };
// Throws Failure(usage) for another name.
Conditioning conditioning_of(std::string const& name);
std::string name_of(Conditioning conditioning);

// Label columns and their combinations, the last column's class running fastest.
class Conditions {
 public:
  explicit Conditions(std::vector<Attribute> columns) : columns_(std::move(columns)) {}

  std::vector<Attribute> const& columns() const { return columns_; }
  std::vector<std::string> column_names() const;
  std::int64_t combinations() const;
  // "CD4 T/stimulated".
  std::string name(std::int64_t combination) const;
  // The combination of such a name. Throws Failure(usage) with those there are, or where two have that name.
  std::int64_t of_name(std::string const& name) const;
  // One class a column.
  std::vector<std::int64_t> classes(std::int64_t combination) const;
  // What the network has as attributes: the columns, or all combinations as one.
  std::vector<Attribute> attributes(Conditioning conditioning) const;
  // A combination as labels of those attributes.
  std::vector<std::int64_t> labels(std::int64_t combination, Conditioning conditioning) const;

 private:
  std::vector<Attribute> columns_;
};

// The combination of each row of the atlas; `columns` as settings name them, none for the one that ingest was told.
// Throws Failure(bad_input).
struct ConditionedRows {
  Conditions conditions;
  std::vector<std::int32_t> combination;  // [rows]
};
ConditionedRows conditions_of(Atlas const& atlas, std::vector<std::string> const& columns);

}  // namespace retort
