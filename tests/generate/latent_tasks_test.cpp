// What the generators of latents are trained on, on any number of ranks: each drawn cell is a cell of its shard between
// itself and noise, under its own label or under none.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <set>

#include "../shared_folder.hpp"
#include "retort/cells/batch_stream.hpp"
#include "retort/cells/feature_file.hpp"
#include "retort/cells/simulator.hpp"
#include "retort/generate/scdg_task.hpp"
#include "retort/generate/scldm_task.hpp"
#include "retort/generate/shard_rows.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

constexpr std::int64_t width = 6, drawn = 400;

// Latents that tell the row: its first number is the row itself.
struct Stage {
  Communicator const& ranks;
  SharedFolder shared;
  RunOptions run;
  OptionTable table{"retort-train-test", "a test"};
  RunFolder folder;
  Session session;
  ShardPlan plan;
  std::optional<Atlas> atlas;

  Stage(Communicator const& all, std::string const& name)
      : ranks(all),
        shared(all, name),
        folder(shared.path, "train-test", all.is_root()),
        session(ranks, folder, table, run),
        plan(4, all.rank(), all.size()) {
    run.seed = 4;
    SimulateOptions options;
    options.cells = 240, options.genes = 40, options.types = 3, options.nonzeros = 15;
    simulate(ranks, options, 3, shared / "atlas.h5ad");
    atlas.emplace(shared / "atlas.h5ad");
    std::vector<float> values;
    for (std::int64_t row = 0; row < atlas->cells(); ++row)
      for (std::int64_t k = 0; k < width; ++k)
        values.push_back(k ? std::sin(static_cast<float>(row * width + k)) : static_cast<float>(row) / 100);
    auto const own = share_of(atlas->cells(), ranks.rank(), ranks.size());
    write_features(ranks, shared / "latents.h5ad", *atlas, own,
                   std::span(values).subspan(index(own.begin * width), index(own.size() * width)), width, "an encoder");
  }

  at::Tensor latents() const {
    return at::tensor(read_features(shared / "latents.h5ad").values).view({-1, width}).to(at::kDouble);
  }

  // The rows whose latents these are, exactly but for rounding, and all in the shard.
  std::vector<std::int64_t> rows_of(at::Tensor const& x, int shard) const {
    auto const rows = rows_of_part(*atlas, Part::fit);
    auto const own = rows_of_shard(rows, shard, plan.shards());
    std::set<std::int64_t> const known(own.begin(), own.end());
    std::vector<std::int64_t> found;
    at::Tensor const all = latents();
    for (std::int64_t i = 0; i < x.size(0); ++i) {
      found.push_back(std::clamp<std::int64_t>(std::llround(100 * x[i][0].item<double>()), 0, all.size(0) - 1));
      EXPECT_LT((x[i] - all[found.back()]).abs().max().item<double>(), 1e-3) << "cell " << i << " is none of the atlas";
      EXPECT_TRUE(known.contains(found.back())) << "row " << found.back() << " is not of shard " << shard;
    }
    EXPECT_GT(std::set<std::int64_t>(found.begin(), found.end()).size(), known.size() / 2);
    return found;
  }
};

void expect_normal(at::Tensor const& noise) {
  auto const n = std::sqrt(static_cast<double>(noise.numel()));
  EXPECT_LT(std::abs(noise.mean().item<double>()), 5 / n);
  EXPECT_LT(std::abs(noise.std().item<double>() - 1), 5 / n);
}

TEST(ScldmTask, DrawsCellsBetweenNoiseAndLatents) {
  auto const ranks = Communicator::world();
  Stage const stage(ranks, "scldm_task");
  for (auto const conditioning : {Conditioning::joint, Conditioning::summed, Conditioning::additive}) {
    ScldmTraining training{.shape = {.tokens = 2, .width = 8, .blocks = 1, .heads = 2, .attributes = {}},
                           .columns = {"cell_type", "condition"},
                           .conditioning = conditioning,
                           .unlabelled = 0.3,
                           .left_out = {}};
    ScldmTask const task(stage.session, *stage.atlas, stage.shared / "latents.h5ad", training, stage.plan);
    auto const types = stage.atlas->labels("cell_type"), states = stage.atlas->labels("condition");
    auto const of_type = [&](std::int64_t row) { return types.codes[index(row)]; };
    auto const of_state = [&](std::int64_t row) { return states.codes[index(row)]; };
    std::set<std::int64_t> told;  // columns that any cell was labelled with
    double silent = 0, cells = 0, mean_time = 0;
    for (int shard = stage.plan.begin(); shard < stage.plan.end(); ++shard)
      for (std::int64_t step = 0; step < 6; ++step) {
        auto const some = task.draw(step, shard, 1, drawn);
        at::Tensor const x = some.values.to(at::kDouble).reshape({drawn, width}),
                         v = some.target.to(at::kDouble).reshape({drawn, width}),
                         t = some.times.to(at::kDouble).unsqueeze(1);
        EXPECT_GE(t.min().item<double>(), 0);
        EXPECT_LE(t.max().item<double>(), 1);
        mean_time += t.sum().item<double>();
        auto const rows = stage.rows_of(x + (1 - t) * v, shard);  // x1 = x + (1 - t)(x1 - x0)
        expect_normal(x - t * v);                                 // x0
        std::set<std::int64_t> told_now;
        for (std::int64_t i = 0; i < drawn; ++i) {
          auto const row = rows[index(i)];
          std::vector<std::int64_t> const right =
              conditioning == Conditioning::joint
                  ? std::vector<std::int64_t>{of_type(row) * states.classes() + of_state(row)}
                  : std::vector<std::int64_t>{of_type(row), of_state(row)};
          std::vector<std::int64_t> const classes = conditioning == Conditioning::joint
                                                        ? std::vector{types.classes() * states.classes()}
                                                        : std::vector{types.classes(), states.classes()};
          EXPECT_EQ(some.labels.size(1), std::ssize(right));
          if (some.labels.size(1) != std::ssize(right))
            continue;  // not ASSERT: the other ranks wait at the barrier below
          bool is_silent = true;
          for (std::size_t a = 0; a < right.size(); ++a) {
            auto const label = some.labels[i][static_cast<std::int64_t>(a)].item<std::int64_t>();
            if (label == classes[a]) continue;  // none
            EXPECT_EQ(label, right[a]) << "another cell's label";
            is_silent = false;
            told_now.insert(static_cast<std::int64_t>(a));
          }
          silent += is_silent, ++cells;
        }
        told.merge(std::set(told_now));
        if (conditioning == Conditioning::additive)
          EXPECT_EQ(told_now.size(), 1U) << "one column at a time, the same for the whole step";
        else
          EXPECT_EQ(told_now.size(), training.columns.size() - (conditioning == Conditioning::joint));
      }
    EXPECT_NEAR(silent / cells, training.unlabelled, 0.05);
    EXPECT_NEAR(mean_time / cells, 0.5, 0.03);
    EXPECT_EQ(told.size(), conditioning == Conditioning::joint ? 1U : 2U);
    ranks.barrier();
  }
}

TEST(ScdgTask, DrawsCellsNoisedAsTheScheduleHasIt) {
  auto const ranks = Communicator::world();
  Stage const stage(ranks, "scdg_task");
  std::unique_ptr<ScdgTask> task;
  ranks.together([&] {
    task = std::make_unique<ScdgTask>(stage.session, *stage.atlas, stage.shared / "latents.h5ad", "cell_type",
                                      ScdgShape{.hidden = {8, 4}, .latent_scale = 2}, stage.plan);
  });
  auto const types = stage.atlas->labels("cell_type");
  // The betas of methods 1.3: linear from 1e-4 to 0.1 over a thousand steps.
  at::Tensor const left = (1 - at::linspace(1e-4, 0.1, 1000, at::kDouble)).cumprod(0);
  auto const shards = stage.plan.end() - stage.plan.begin();
  auto const some = task->draw(3, stage.plan.begin(), shards, drawn);
  for (int shard = 0; shard < shards; ++shard) {
    auto const part = [&](at::Tensor const& of) { return of.narrow(0, shard * drawn, drawn); };
    at::Tensor const x = part(some.values).to(at::kDouble), clean = part(some.target).to(at::kDouble),
                     t = part(some.times), a = left.index_select(0, t - 1).unsqueeze(1);
    auto const rows = stage.rows_of(clean / 2, stage.plan.begin() + shard);
    for (std::int64_t i = 0; i < drawn; ++i)
      EXPECT_EQ(part(some.labels)[i].item<std::int64_t>(), types.codes[index(rows[index(i)])]);
    expect_normal((x - a.sqrt() * clean) / (1 - a).sqrt());
    EXPECT_GE(t.min().item<std::int64_t>(), 1);
    EXPECT_LE(t.max().item<std::int64_t>(), 1000);
    EXPECT_NEAR(t.to(at::kDouble).mean().item<double>(), 500.5, 75);
    EXPECT_TRUE(at::equal(part(some.values), task->draw(3, stage.plan.begin() + shard, 1, drawn).values))
        << "a shard's cells depend on its block";
  }
  ranks.barrier();
}

}  // namespace
}  // namespace retort
