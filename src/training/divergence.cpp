#include "retort/training/divergence.hpp"

#include <cmath>

#include "retort/run/error.hpp"

namespace retort {

void require_finite(Communicator const& ranks, GradientArena const& arena, double loss, double norm,
                    std::string const& advice, Checkpoints const* checkpoints) {
  if (std::isfinite(loss) && std::isfinite(norm)) return;
  auto const good = checkpoints ? checkpoints->latest() : std::nullopt;
  auto const kept = good ? fmt::format("the last good checkpoint is '{}'", good->string())
                         : std::string("no checkpoint was written before");
  auto const refuse = [&](char const* whose) {
    fail(ExitCode::failed,
         "{} loss and gradients are not finite: loss {}, norm {} over all ranks (training diverged, or a cell's values "
         "are not finite). {}; {}",
         whose, loss, norm, advice, kept);
  };
  ranks.together([&] {
    if (!arena.own_is_finite()) refuse("this rank's");
  });
  ranks.together([&] { refuse("the summed"); });
}

}  // namespace retort
