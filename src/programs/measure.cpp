// retort-measure: what this cluster gives the programs, before a long job: sums between ranks, reading and writing
// together.
#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <numeric>

#include "retort/files/byte_file.hpp"
#include "retort/files/library_versions.hpp"
#include "retort/programs/sections.hpp"
#include "retort/ranks/ordered_sum.hpp"
#include "retort/run/index.hpp"
#include "retort/run/stopwatch.hpp"
#include "retort/session/session.hpp"

using namespace retort;

namespace {

// Section [measure].
struct MeasureOptions {
  std::vector<std::int64_t> bytes{1024, 65536, 1048576, 8388608, 67108864};
  std::int64_t repeats = 7;
  std::string file_bytes = "256MB";
};

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + std::ssize(values) / 2, values.end());
  return values[values.size() / 2];
}

// Collective: seconds of the slowest rank, median over repeats, the first left out.
template <class Work>
double seconds_of(Communicator const& ranks, std::int64_t repeats, Work const& work) {
  std::vector<double> seconds;
  for (std::int64_t i = 0; i <= repeats; ++i) {
    ranks.barrier();
    Stopwatch const watch;
    work();
    double const slowest = ranks.max(watch.seconds());
    if (i > 0) seconds.push_back(slowest);
  }
  return median(seconds);
}

// The sum of gradients as training does it (one block a rank), and the MPI library's own beside it. In nccl-tests'
// terms: algbw = bytes / time, busbw = algbw * 2 (n - 1) / n.
void measure_sums(Session& session, MeasureOptions const& options, nlohmann::json& results) {
  auto const& ranks = session.ranks;
  ShardPlan const plan(session.run.shards, ranks.rank(), ranks.size());
  if (ranks.is_root())
    std::printf("%14s %14s %12s %12s %14s %12s\n", "all-reduce, B", "ordered, us", "algbw, GB/s", "busbw, GB/s",
                "MPI's own, us", "ratio");
  for (std::int64_t const bytes : options.bytes) {
    auto const length = std::max<std::int64_t>(1, bytes / std::int64_t{sizeof(float)});
    OrderedSum<float> sum(ranks, plan, length);
    for (std::size_t b = 0; b < sum.blocks().size(); ++b) std::fill(sum.block(b).begin(), sum.block(b).end(), 1.0F);
    double const ours = seconds_of(ranks, options.repeats, [&] { static_cast<void>(sum.sum()); });
    std::vector<float> values(index(length), 1.0F);
    double const theirs = seconds_of(ranks, options.repeats, [&] { ranks.sum(std::span(values)); });
    double const algbw = static_cast<double>(length) * sizeof(float) / ours / 1e9;
    double const busbw = algbw * 2 * (ranks.size() - 1) / ranks.size();
    if (ranks.is_root())
      std::printf("%14s %14.1f %12.2f %12.2f %14.1f %12.2f\n", with_commas(bytes).c_str(), ours * 1e6, algbw, busbw,
                  theirs * 1e6, theirs / ours);
    results["sums"].push_back(
        {{"bytes", bytes}, {"ordered_seconds", ours}, {"algbw", algbw}, {"busbw", busbw}, {"mpi_seconds", theirs}});
  }
}

// Every rank writes, and then reads, its share of one file in the run folder, as ingest and training do.
void measure_files(Session& session, MeasureOptions const& options, nlohmann::json& results) {
  auto const& ranks = session.ranks;
  auto const bytes = parse_bytes(options.file_bytes, "measure.file_bytes");
  auto const file = session.product("", "measure.bytes");
  RowRange const share = share_of(bytes, ranks.rank(), ranks.size(), 1 << 20);
  std::vector<char> values(index(share.size()), 'r');
  ranks.together([&] {
    if (ranks.is_root()) ByteFile::create(file);
  });
  double const write = seconds_of(ranks, 1, [&] {
    ranks.together([&] {
      auto const opened = ByteFile::open_for_writing(file);
      opened.write(share.begin, values.data(), share.size());
      opened.flush();
    });
  });
  double const read = seconds_of(ranks, 3, [&] {
    ranks.together([&] { ByteFile::open_for_reading(file).read(share.begin, values.data(), share.size()); });
  });
  ranks.together([&] {
    std::error_code ignored;
    if (ranks.is_root()) std::filesystem::remove(file, ignored);
  });
  double const gigabytes = static_cast<double>(bytes) / 1e9;
  if (ranks.is_root())
    std::printf("write and flush  %8.2f GB/s\nread (cached)    %8.2f GB/s\n", gigabytes / write, gigabytes / read);
  results["files"] = {
      {"bytes", bytes}, {"write_gb_per_second", gigabytes / write}, {"read_gb_per_second", gigabytes / read}};
}

void measure(Session& session, MeasureOptions const& options) {
  session.ranks.together([&] {
    require_matching_libraries();
    if (options.repeats < 1) fail(ExitCode::usage, "measure.repeats is {} (it must be at least 1)", options.repeats);
    for (auto const bytes : options.bytes)
      if (bytes < 4) fail(ExitCode::usage, "measure.bytes has {} (a sum has at least 4 bytes)", bytes);
  });
  auto const nodes = session.ranks.sum(session.ranks.node().is_root() ? 1 : 0);
  session.say(fmt::format("{} ranks on {} nodes; libraries match", session.ranks.size(), nodes));
  if (session.dry_run) return;
  nlohmann::json results{{"ranks", session.ranks.size()}, {"nodes", nodes}};
  measure_sums(session, options, results);
  measure_files(session, options, results);
  session.ranks.together([&] {
    if (session.ranks.is_root()) write_text(session.product("", "measure.json"), json_text(results, 2) + "\n");
  });
}

}  // namespace

int main(int argc, char** argv) {
  MeasureOptions options;
  OptionTable table = program_table(
      "measure", "measures sums between ranks, reading and writing, and refuses libraries that do not match");
  table.add("measure.bytes", options.bytes, "sizes of the sums between ranks")
      .add("measure.repeats", options.repeats, "times that each is done; the median counts")
      .add("measure.file_bytes", options.file_bytes, "size of the file that all ranks write and read together");
  return run_program(argc, argv, table, [&](Session& session) { measure(session, options); });
}
