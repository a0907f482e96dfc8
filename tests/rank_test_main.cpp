// The main of every test: runs on all ranks, prints failures with their rank, agrees on the verdict afterwards.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <mpi.h>

#include <cstdio>

namespace {

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
  if (!rank) std::printf("%d ranks: tests %s\n", ranks, any_failed ? "FAILED" : "PASSED");
  MPI_Finalize();
  return any_failed;
}
