#include "retort/evaluate/distilled_sets.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <tuple>

#include "retort/files/h5ad_writer.hpp"
#include "retort/files/hdf5.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"

namespace retort {

std::optional<DistilledName> parse_distilled_name(std::filesystem::path const& file) {
  static std::regex const form("([^-]+)-([^-]+)-spc([0-9]{1,9})-draw([0-9]{1,9})\\.h5ad");
  std::smatch parts;
  auto const name = file.filename().string();
  if (!std::regex_match(name, parts, form)) return {};
  return DistilledName{parts[1], parts[2], std::stoll(parts[3]), std::stoll(parts[4])};
}

std::vector<DistilledFile> find_distilled(std::filesystem::path const& folder) {
  std::vector<DistilledFile> found;
  std::error_code ignored;  // no folder, no sets
  for (auto const& entry : std::filesystem::directory_iterator(folder, ignored))
    if (auto const name = parse_distilled_name(entry.path())) found.push_back({*name, entry.path()});
  std::sort(found.begin(), found.end(), [](auto const& a, auto const& b) {
    return std::tie(a.name.spc, a.name.variant, a.name.matching, a.name.draw) <
           std::tie(b.name.spc, b.name.variant, b.name.matching, b.name.draw);
  });
  return found;
}

std::optional<DistilledName> product_set(std::filesystem::path const& file) {
  if (!std::filesystem::exists(file)) return {};
  auto const opened = Hdf5File::open(file);
  for (char const* key : {"variant", "matching", "spc", "draw"})
    if (!opened.has(std::string("uns/retort/") + key)) return {};
  auto const made = opened.group("uns/retort");
  return DistilledName{made.dataset("variant").read_strings().at(0), made.dataset("matching").read_strings().at(0),
                       made.dataset("spc").read<std::int64_t>().at(0), made.dataset("draw").read<std::int64_t>().at(0)};
}

std::string set_stem(DistilledName const& name) {
  return fmt::format("{}-{}-spc{}-draw{}", name.variant, name.matching, name.spc, name.draw);
}

std::map<std::string, double> distilling_seconds(std::filesystem::path const& log) {
  std::map<std::string, double> seconds;
  std::ifstream stream(log);
  for (std::string line; std::getline(stream, line);) {
    auto const event = nlohmann::json::parse(line, nullptr, false);  // a run that was killed may leave half a line
    if (event.is_object() && event.value("event", "") == "set" && event.contains("set") && event.contains("seconds"))
      seconds[event["set"]] = event["seconds"];
  }
  return seconds;
}

DistilledSet read_distilled(std::filesystem::path const& file, std::vector<std::string> const& gene_names,
                            std::string const& column, std::vector<std::string> const& class_names,
                            std::string const& atlas) {
  auto const set = read_cell_set(file);
  auto const opened = Hdf5File::open(file);
  if (opened.has("uns/retort/atlas") && opened.dataset("uns/retort/atlas").read_strings() != std::vector{atlas})
    fail(ExitCode::bad_input,
         "'{}' was distilled from other cells or another split than this atlas has (its cells may be today's test "
         "cells). Distil it again from this run",
         file.string());
  if (set.gene_names != gene_names) {
    fail(ExitCode::bad_input,
         "'{}' has other genes than the foundation model (its features would mean nothing). Distil it again from this "
         "run",
         file.string());
  }
  auto const labels =
      std::find_if(set.columns.begin(), set.columns.end(), [&](auto const& one) { return one.name == column; });
  if (labels == set.columns.end()) fail(ExitCode::bad_input, "'{}' has no obs column '{}'", file.string(), column);
  DistilledSet result{at::empty({set.cells, set.genes}, at::kFloat), at::empty({set.cells}, at::kLong)};
  std::copy(set.x.begin(), set.x.end(), result.cells.data_ptr<float>());
  if (auto const name = parse_distilled_name(file); name && name->variant == "features") {
    auto const latent =
        std::find_if(set.obsm.begin(), set.obsm.end(), [](auto const& one) { return one.name == "X_latent"; });
    if (latent == set.obsm.end())
      fail(ExitCode::bad_input, "'{}' is a set of features and has no obsm X_latent. Distil it again", file.string());
    result.features = at::tensor(latent->values, at::kFloat).view({set.cells, latent->width});
  }
  for (auto const& values : {result.cells, result.features})
    if (values.defined() && !at::isfinite(values).all().item<bool>())
      fail(ExitCode::bad_input,
           "'{}' has values that are no finite numbers (what is trained on them would be none either). Distil it again",
           file.string());
  for (std::int64_t i = 0; i < set.cells; ++i) {
    std::int32_t const code = labels->codes[index(i)];
    if (code < 0 || code >= std::ssize(labels->categories))
      fail(ExitCode::bad_input, "'{}' obs/{} row {} has no label (a synthetic cell is of a class)", file.string(),
           column, i);
    auto const& label = labels->categories[index(code)];
    auto const known = std::find(class_names.begin(), class_names.end(), label);
    if (known == class_names.end())
      fail(ExitCode::bad_input, "'{}' obs/{} row {} is '{}', which is no class of the atlas", file.string(), column, i,
           label);
    result.labels.data_ptr<std::int64_t>()[i] = known - class_names.begin();
  }
  return result;
}

}  // namespace retort
