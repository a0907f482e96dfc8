#include "retort/distill/initial_codes.hpp"

#include <ATen/ATen.h>

#include <span>
#include <utility>

#include "retort/cells/feature_rows.hpp"
#include "retort/run/index.hpp"
#include "retort/run/random.hpp"

namespace retort {

std::vector<std::int64_t> initial_rows(std::vector<std::vector<std::int64_t>> const& rows_by_class, std::int64_t spc,
                                       std::uint64_t seed, std::int64_t draw) {
  std::vector<std::int64_t> chosen;
  for (std::size_t c = 0; c < rows_by_class.size(); ++c) {
    Random random(seed, purpose::initial_cells, static_cast<std::uint64_t>(draw), static_cast<std::uint32_t>(c));
    auto rows = rows_by_class[c];
    bool const enough = std::ssize(rows) >= spc;
    for (std::size_t i = 0; i < index(spc); ++i) {
      if (enough) std::swap(rows[i], rows[i + random.below(rows.size() - i)]);
      chosen.push_back(enough ? rows[i] : rows[random.below(rows.size())]);
    }
  }
  return chosen;
}

at::Tensor initial_codes(DistillInputs const& in, Variant const& variant, std::vector<std::int64_t> const& start_rows,
                         std::int64_t averaged, RowRange rows) {
  std::span<std::int64_t const> const chosen(start_rows.data() + rows.begin * averaged, index(rows.size() * averaged));
  if (variant.start == Variant::Start::latents) {
    at::Tensor const mean =
        read_feature_rows(in.features_file, chosen).view({rows.size(), averaged, -1}).mean(1);  // [rows, latent]
    return averaged == 1 ? mean : mean / mean.norm(2, {1}, true).clamp_min(1e-12);
  }
  at::Tensor cells = at::zeros({rows.size(), in.foundation->shape().genes}, at::kFloat);
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    CsrBlock const cell = in.reader->read(chosen[i], chosen[i] + 1);
    float* const row = cells.data_ptr<float>() + static_cast<std::int64_t>(i) / averaged * cells.size(1);
    for (std::size_t k = 0; k < cell.indices.size(); ++k)
      row[cell.indices[k]] += cell.values[k] / static_cast<float>(averaged);
  }
  return cells;
}

at::Tensor grown_codes(at::Tensor const& codes, at::Tensor const& centres, bool stay_positive) {
  std::int64_t const classes = centres.size(0), width = codes.size(1);
  at::Tensor const by_class = codes.view({classes, -1, width});
  at::Tensor const grown = (by_class - by_class.mean(1, true) + centres.unsqueeze(1)).reshape(codes.sizes());
  return stay_positive ? grown.clamp_min(0) : grown;
}

std::function<at::Tensor(RowRange)> start_of_set(DistillInputs const& in, Recipe const& recipe, std::int64_t draw,
                                                 Variant const& variant, DistillOptions const& options,
                                                 std::uint64_t seed, std::filesystem::path const& folder) {
  std::int64_t const spc = recipe.spc, averaged = recipe.matching.is_none() ? 1 : initial_cells_of(options, spc);
  bool const stay_positive = variant.codes_stay_positive;
  return
      [&in, &variant, spc, averaged, stay_positive, start_rows = initial_rows(in.fit_rows, spc * averaged, seed, draw),
       centres = smaller_set_centres(in, folder, recipe, draw, options)](RowRange rows) {
        at::Tensor const codes = initial_codes(in, variant, start_rows, averaged, rows);
        if (!centres) return codes;
        return grown_codes(codes, centres->narrow(0, rows.begin / spc, rows.size() / spc), stay_positive);
      };
}

}  // namespace retort
