#include "retort/generate/scdg_task.hpp"

#include <ATen/ATen.h>

#include <cmath>

#include "retort/cells/batch_stream.hpp"
#include "retort/cells/feature_file.hpp"
#include "retort/cells/feature_rows.hpp"
#include "retort/generate/shard_rows.hpp"
#include "retort/run/error.hpp"
#include "retort/run/index.hpp"
#include "retort/run/random.hpp"

namespace retort {
namespace {

ScdgShape fitting(ScdgShape shape, std::int64_t latent, std::int64_t classes) {
  shape.latent = latent;
  shape.classes = classes;
  return shape;
}

}  // namespace

ScdgTask::ScdgTask(Session const& session, Atlas const& atlas, std::filesystem::path const& features,
                   std::string const& label, ScdgShape shape, ShardPlan const& plan)
    : seed_(static_cast<std::uint64_t>(session.run.seed)),
      labels_(atlas.labels(label)),
      atlas_(atlas.identity()),
      model_(fitting(std::move(shape), read_features(features, {0, 1}).width, labels_.classes()), seed_) {
  auto const rows = rows_of_part(atlas, Part::fit);
  if (rows.empty())
    fail(ExitCode::bad_input, "'{}' has no cell in its fit part (nothing to train on)", atlas.file().string());
  Features const first = read_features(features, {0, 1});
  require_features_of(atlas, features, first);
  encoder_ = first.encoder;
  for (int shard = plan.begin(); shard < plan.end() && !session.dry_run; ++shard) {
    auto const own = rows_of_shard(rows, shard, plan.shards());
    ShardCells cells{read_feature_rows(features, own) * model_.shape().latent_scale, {}};
    for (std::int64_t const row : own) cells.classes.push_back(labels_.codes[index(row)]);
    cells_.emplace(shard, std::move(cells));
  }
}

std::string ScdgTask::description() const {
  return fmt::format("{} classes, {} latents", labels_.classes(), model_.shape().latent);
}

NoisyCells ScdgTask::draw(std::int64_t step, int first, int shards, std::int64_t n) const {
  std::int64_t const width = model_.shape().latent, rows = shards * n;
  at::Tensor const clean = at::empty({rows, width}), noisy = at::empty({rows, width}),
                   times = at::empty({rows}, at::kLong), classes = at::empty({rows}, at::kLong);
  for (int shard = first; shard < first + shards; ++shard) {
    auto const& own = cells_.at(shard);
    Random random(seed_, purpose::diffusion, static_cast<std::uint64_t>(step), static_cast<std::uint32_t>(shard));
    for (std::int64_t i = (shard - first) * n; i < (shard - first + 1) * n; ++i) {
      std::uint64_t const cell = random.below(own.classes.size());
      std::int64_t const t = 1 + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(schedule_.steps())));
      times.data_ptr<std::int64_t>()[i] = t;
      classes.data_ptr<std::int64_t>()[i] = own.classes[cell];
      auto const keep = static_cast<float>(std::sqrt(schedule_.alpha_bar(t))),
                 spread = static_cast<float>(std::sqrt(1 - schedule_.alpha_bar(t)));
      float const* const from = own.latents.const_data_ptr<float>() + static_cast<std::int64_t>(cell) * width;
      for (std::int64_t j = 0; j < width; ++j) {
        clean.data_ptr<float>()[i * width + j] = from[j];
        noisy.data_ptr<float>()[i * width + j] = keep * from[j] + spread * static_cast<float>(random.normal());
      }
    }
  }
  return {noisy, times, classes, clean};
}

}  // namespace retort
