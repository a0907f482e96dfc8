#include "retort/programs/sections.hpp"

namespace retort {

OptionTable program_table(std::string const& verb, std::string const& purpose) {
  std::vector<std::string> skipped;
  for (auto const& section : declared_sections) skipped.emplace_back(section.name);
  return OptionTable("retort-" + verb, purpose, skipped);
}

}  // namespace retort
