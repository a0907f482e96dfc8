// retort-simulate: cells with known truth, as an atlas or as an input of ingest.
#include <cstdio>

#include "retort/cells/atlas_writer.hpp"
#include "retort/cells/simulator.hpp"
#include "retort/programs/sections.hpp"
#include "retort/session/session.hpp"

int main(int argc, char** argv) {
  using namespace retort;
  SimulateOptions options;
  OptionTable table = program_table("simulate", "writes cells with known types, batches, conditions and changed genes");
  add_simulate_options(table, options);
  table.without_effect("run.shards");
  return run_program(argc, argv, table, [&](Session& session) {
    auto const file = session.product(options.output, "atlas.h5ad");
    auto const share = share_of(options.cells, session.ranks.rank(), session.ranks.size());
    if (session.dry_run) {
      std::int64_t const nonzeros =
          (options.nonzeros > 0 ? options.nonzeros : options.genes * 95 / 1000) * options.cells;
      std::int64_t const bytes_each = options.format == "h5ad" ? 8 : options.genes > 256 ? 4 : 3;
      if (session.ranks.is_root())
        std::printf("cells %s (%s per rank)\ngenes %s\nnonzeros %s\nbytes %s\nfile %s\n",
                    with_commas(options.cells).c_str(), with_commas(share.size()).c_str(),
                    with_commas(options.genes).c_str(), with_commas(nonzeros).c_str(),
                    with_commas(nonzeros * bytes_each).c_str(), file.c_str());
      return;
    }
    if (session.is_done({})) return;
    auto progress = session.progress("simulating, two passes", 2 * share.size(), "cells");
    simulate(session.ranks, options, static_cast<std::uint64_t>(session.run.seed), file,
             [&](std::int64_t done) { progress.update(done); });
    progress.finish();
    session.say(fmt::format("wrote {} cells x {} genes to '{}'", with_commas(options.cells), with_commas(options.genes),
                            file.string()));
    session.set_done({file});
  });
}
