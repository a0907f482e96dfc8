// The parts of the page, each HTML; a part whose material is missing is empty text.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "retort/report/finished_run.hpp"
#include "retort/report/real_cells.hpp"

namespace retort {

// What the run is of and what came out, in a line, in tiles and in a sentence; and what the page lacks.
std::string summary_section(FinishedRun const& run);
// Whether the product is good enough, in sentences: accuracy, classes, membership, looks; and how to load what the run
// made.
std::string verdict_section(FinishedRun const& run);
std::string usage_section(FinishedRun const& run);
// Recall and membership of the product's kind of set in each class, the class that loses most first.
std::string classes_section(FinishedRun const& run);
// One line a run.
std::string runs_section(std::vector<FinishedRun> const& runs);
// Accuracy against cells a class, a plot for every array of rows in results.json; and the confusion matrices.
std::string accuracy_section(FinishedRun const& run);
std::string confusion_section(FinishedRun const& run);

// Some cells and the class of each (-1: none); features [n, width].
struct MappedCells {
  std::vector<float> features;
  std::vector<std::int32_t> classes;
};
// UMAP of real and distilled cells together (`distilled` may be empty); drawn from `seed`.
std::string map_section(MappedCells const& real, MappedCells const& distilled, std::int64_t width,
                        std::vector<std::string> const& class_names, std::uint64_t seed);
// One UMAP of real and generated cells of a space (`space`: its name in a sentence), a panel a set.
struct MappedSet {
  std::string name;
  MappedCells cells;
};
std::string generated_map_section(MappedCells const& real, std::vector<MappedSet> const& sets, std::int64_t width,
                                  std::string const& space, std::vector<std::string> const& class_names,
                                  std::uint64_t seed);

// Class means of the marker genes, real beside distilled; both have the genes of `gene_names`.
std::string expression_section(ClassMeans const& real, ClassMeans const& distilled,
                               std::vector<std::string> const& gene_names, std::vector<std::string> const& class_names);

// Whether generated sets are good enough, each in sentences: distances, telling apart, looks, the worst class.
std::string generated_verdict_section(FinishedRun const& run);
// generation.json: sets against each other and against real and Gaussian cells, and class by class; what the latents
// keep.
std::string generation_section(FinishedRun const& run);
std::string latents_section(FinishedRun const& run);
// Losses and held-out accuracy against steps.
std::string training_section(FinishedRun const& run);
// results.json's "audits": sets and rare classes as tables for readers; all else whatever it holds: arrays of objects
// as tables, what is nested deeper folded away.
std::string audits_section(FinishedRun const& run);
// All rows; what the names mean; settings, build and seconds of every stage.
std::string rows_section(FinishedRun const& run);
std::string names_section(FinishedRun const& run);
std::string provenance_section(FinishedRun const& run);

}  // namespace retort
