// The main of every test: runs on all ranks, prints failures with their rank, agrees on the verdict afterwards.
// A test that one rank skipped counts as skipped. Where one was skipped and none failed, the exit code is 77, which
// CTest reports as skipped (SKIP_RETURN_CODE in tests/CMakeLists.txt): a file is passed only where all of it ran.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include <cstdio>
#include <string>
#include <vector>

namespace {

constexpr int some_skipped = 77;

// Ranks above 0 speak only when they fail. No collective in here: a lone failure would hang.
struct FailurePrinter : testing::EmptyTestEventListener {
  explicit FailurePrinter(int rank) : rank_(rank) {}
  void OnTestPartResult(testing::TestPartResult const& part) override {
    if (!part.failed()) return;
    std::fprintf(stderr, "[rank %d] %s:%d\n%s\n", rank_, part.file_name() ? part.file_name() : "?", part.line_number(),
                 part.message());
  }
  int rank_;
};

struct SkippedTests {
  std::size_t count, of;
  std::string names;  // ", " between them
};

// Collective: every rank must call. Each rank was asked for the same tests, in the same order.
SkippedTests skipped_on_any_rank(testing::UnitTest const& tests) {
  std::vector<std::string> names;
  std::vector<int> skipped;
  for (int i = 0; i < tests.total_test_suite_count(); ++i) {
    testing::TestSuite const& suite = *tests.GetTestSuite(i);
    for (int k = 0; k < suite.total_test_count(); ++k) {
      testing::TestInfo const& test = *suite.GetTestInfo(k);
      if (!test.should_run()) continue;
      names.push_back(std::string(suite.name()) + "." + test.name());
      skipped.push_back(test.result()->Skipped());
    }
  }
  MPI_Allreduce(MPI_IN_PLACE, skipped.data(), static_cast<int>(skipped.size()), MPI_INT, MPI_MAX, MPI_COMM_WORLD);
  SkippedTests all{0, names.size(), ""};
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (!skipped[i]) continue;
    all.names += (all.count++ ? ", " : "") + names[i];
  }
  return all;
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  MPI_Init(&argc, &argv);
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  at::set_num_threads(1);
  int rank = 0, ranks = 1, any_failed = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  auto& tests = *testing::UnitTest::GetInstance();
  if (rank) {
    delete tests.listeners().Release(tests.listeners().default_result_printer());
    tests.listeners().Append(new FailurePrinter(rank));
  }
  int failed = RUN_ALL_TESTS() || tests.test_to_run_count() == 0;  // no tests is a failure
  MPI_Allreduce(&failed, &any_failed, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
  SkippedTests const skipped = skipped_on_any_rank(tests);
  if (!rank) {
    std::printf("%d ranks: tests %s", ranks, any_failed ? "FAILED" : "PASSED");
    if (skipped.count)
      std::printf(", but %zu of %zu were skipped: %s", skipped.count, skipped.of, skipped.names.c_str());
    std::printf("\n");
  }
  MPI_Finalize();
  return skipped.count && !any_failed ? some_skipped : any_failed;
}
