// A transformer whose tokens are pathways, as TOSICA's (Chen et al. 2023; methods 1.5.3).
#pragma once

#include "retort/evaluate/pathways.hpp"
#include "retort/evaluate/student.hpp"

namespace retort {

// Token t of a cell is W_t x_t + b_t of the genes of pathway t alone; a last token has all genes. A class token goes
// before them; two pre-norm blocks (4 heads, MLP of 4 x 48 with GELU, LayerNorm with eps 1e-6), LayerNorm, and a Linear
// layer on the class token. In training a quarter of the tokens' numbers, of the projections' and of the MLP's are
// dropped, and the second block is left out for a quarter of the cells; attention weights are kept. (TOSICA: a half,
// attention too; docs/decisions.md.)
//
// The mask is the structure: weights are kept for pairs of pathway and gene alone, a row of 48 each, and cells stay
// sparse, so the first layer costs what its pathways hold, not genes x 48 x pathways. Upstream reshapes the layer's
// output so that a token mixes pathways (methods, quirk i); here a token is its pathway. In the last block the class
// token alone asks, for nothing else is read: the same result with little more than half of the work.
class PathwayTransformer : public Student {
 public:
  // Matrices N(0, 1 / inputs), not TOSICA's N(0, 1e-4), which needs thousands of steps to leave its start
  // (docs/decisions.md); the pathway layer U(-1, 1) / sqrt(genes), the class token N(0, 0.02^2), biases zero.
  PathwayTransformer(Pathways const& pathways, std::int64_t genes, std::int64_t classes, std::uint64_t seed,
                     std::uint64_t number);
  at::Tensor scores(CsrBlock const& cells, Random* dropout) const override;
  // The pathway layer: [cells, pathways + 1, 48].
  at::Tensor tokens(CsrBlock const& cells) const;

 private:
  struct Linear {
    at::Tensor weight, bias;  // [out, in], [out]
    at::Tensor operator()(at::Tensor const& x) const;
  };
  struct Norm {
    at::Tensor scale, shift;  // [48]
    at::Tensor operator()(at::Tensor const& x) const;
  };
  struct Block {
    Norm attention_norm;
    Linear query, key_value, projection;
    Norm mlp_norm;
    Linear widen, narrow;
  };
  Linear linear(std::string const& name, std::int64_t in, std::int64_t out);
  Norm norm(std::string const& name);
  at::Tensor through(Block const& block, at::Tensor const& x, bool is_last, Random* dropout) const;

  std::int64_t genes_;
  std::vector<std::int64_t> first_row_;  // of a token's weights, [tokens + 1]
  std::vector<std::int32_t> gene_;       // of each row of weights
  at::Tensor weight_, bias_;             // [rows, 48], [tokens, 48]
  at::Tensor class_token_;               // [1, 1, 48]
  std::vector<Block> blocks_;
  Norm norm_;
  Linear head_;
};

}  // namespace retort
