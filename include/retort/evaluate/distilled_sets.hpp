// The distilled sets of a run, read back from the files that left the project.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace retort {

// Which set a file holds: <variant>-<matching>-spc<N>-draw<K>.h5ad.
struct DistilledName {
  std::string variant, matching;
  std::int64_t spc = 0, draw = 0;
  auto operator<=>(DistilledName const&) const = default;
};

// Nothing where the file name is of another form.
std::optional<DistilledName> parse_distilled_name(std::filesystem::path const& file);

struct DistilledFile {
  DistilledName name;
  std::filesystem::path file;
};

// All of a folder, by SPC, variant, matching and draw; empty where there is no such folder. Not collective.
std::vector<DistilledFile> find_distilled(std::filesystem::path const& folder);

// The set that a run's product is a copy of, as retort-distill noted it in the file: VARIANT-MATCHING-spcN-drawK;
// nothing where there is no such file, or another program made it. Not collective.
std::optional<DistilledName> product_set(std::filesystem::path const& file);
std::string set_stem(DistilledName const& name);

// Seconds that each set took, by file stem, from the log.jsonl of retort-distill (its last word on a set); empty where
// there is no log. Not collective.
std::map<std::string, double> distilling_seconds(std::filesystem::path const& log);

struct DistilledSet {
  at::Tensor cells;          // [n, genes] float32, log-normalised
  at::Tensor labels;         // int64 [n]: classes of the atlas
  at::Tensor features = {};  // [n, latent] where the set is one of features, not of cells
};

// Labels are matched by name in the obs column `column`; `atlas` is the identity of the atlas it must have been made
// from, where it says (sets made elsewhere do not). Throws Failure(missing_input), or Failure(bad_input) when genes,
// column or a label are not the atlas's. Not collective.
DistilledSet read_distilled(std::filesystem::path const& file, std::vector<std::string> const& gene_names,
                            std::string const& column, std::vector<std::string> const& class_names,
                            std::string const& atlas);

}  // namespace retort
