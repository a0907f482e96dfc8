// retort-embed: the features of all cells of an atlas, each rank its rows, once.
#include <ATen/ATen.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "retort/cells/feature_file.hpp"
#include "retort/models/foundation.hpp"
#include "retort/models/gene_alignment.hpp"
#include "retort/programs/sections.hpp"
#include "retort/ranks/device.hpp"
#include "retort/run/index.hpp"
#include "retort/run/stopwatch.hpp"
#include "retort/session/session.hpp"

using namespace retort;

namespace {

// Section [embed].
struct EmbedOptions {
  std::string atlas, model, features, precision = "float32";
};

void add_embed_options(OptionTable& table, EmbedOptions& options) {
  table.add("embed.atlas", options.atlas, "atlas h5ad; empty: RUN/atlas.h5ad")
      .add("embed.model", options.model, "folder of the foundation model; empty: RUN/foundation")
      .add("embed.features", options.features, "h5ad to write; empty: RUN/features.h5ad")
      .add("embed.precision", options.precision,
           "float32, or bfloat16: twice as fast, features differ in their third digit; CPU");
}

void embed(Session& session, EmbedOptions const& options) {
  auto const precision = session.ranks.together([&] { return precision_of(options.precision, "embed.precision"); });
  auto const atlas_file = session.input(options.atlas, "atlas.h5ad");
  auto const model_folder = session.input(options.model, "foundation");
  auto const features_file = session.product(options.features, "features.h5ad");
  session.ranks.together([&] {
    require_input(atlas_file, "atlas");
    require_input(model_folder, "foundation model");
  });
  if (session.is_done({atlas_file, model_folder})) return;

  Atlas const atlas = session.ranks.together([&] { return Atlas(atlas_file); });
  Foundation model = session.ranks.together([&] { return Foundation::load(model_folder); });
  auto const reader = session.ranks.together([&] { return AlignedReader(atlas, model.gene_names()); });
  model.to(choose_device(session.ranks, session.run.device));
  auto const width = model.shape().latent;
  auto const rows = share_of(atlas.cells(), session.ranks.rank(), session.ranks.size(), rows_of_an_inference_block);
  if (!reader.same_genes()) {
    session.say(fmt::format("the model has {} genes, {} of them in the atlas; the others are zero",
                            with_commas(model.shape().genes), with_commas(reader.shared_genes())));
  }
  if (session.dry_run) {
    if (session.ranks.is_root()) {
      std::printf(
          "atlas          %s\n"
          "cells          %s, %s per rank\n"
          "features       %s floats per cell, %s MB per rank\n",
          atlas_file.c_str(), with_commas(atlas.cells()).c_str(), with_commas(rows.size()).c_str(),
          with_commas(width).c_str(), with_commas(rows.size() * width * 4 / 1'000'000).c_str());
    }
    return;
  }

  // Blocks begin at fixed global rows, so a cell's features have the same bits on any number of ranks.
  std::vector<float> features(index(rows.size() * width));  // [rows, width]
  auto progress = session.progress(session.ranks.size() == 1 ? "embed" : "embed, rank 0", rows.size(), "cells");
  session.ranks.together([&] { model.freeze(precision); });
  session.ranks.barrier();
  Stopwatch const watch;
  session.ranks.together([&] {
    for (auto begin = rows.begin; begin < rows.end; begin += rows_of_an_inference_block) {
      auto const end = std::min(rows.end, begin + rows_of_an_inference_block);
      at::Tensor const block = model.encode(reader.read(begin, end), precision).cpu().contiguous();
      std::copy_n(block.const_data_ptr<float>(), block.numel(), features.begin() + (begin - rows.begin) * width);
      progress.update(end - rows.begin);
    }
  });
  session.ranks.barrier();
  double const seconds = watch.seconds();
  progress.finish();
  session.folder.note("embedded", {{"cells", atlas.cells()},
                                   {"seconds", seconds},
                                   {"cells_per_second", static_cast<double>(atlas.cells()) / seconds}});
  write_features(session.ranks, features_file, atlas, rows, features, width, model.weights_hash());
  session.say(fmt::format("wrote '{}': {} cells, {} features, encoder {}", features_file.string(),
                          with_commas(atlas.cells()), width, model.weights_hash()));
  session.set_done({features_file});
}

}  // namespace

int main(int argc, char** argv) {
  EmbedOptions options;
  OptionTable table = program_table("embed", "computes the features of all cells of an atlas with a frozen encoder");
  add_embed_options(table, options);
  table.without_effect("run.shards");
  return run_program(argc, argv, table, [&](Session& session) { embed(session, options); });
}
