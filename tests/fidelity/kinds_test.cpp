// Kinds of cells, and files of generated cells: genes by name, kinds by name, and what is refused.
#include "retort/fidelity/kinds.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "../shared_folder.hpp"
#include "../small_cells.hpp"
#include "retort/cells/simulator.hpp"
#include "retort/files/h5ad_writer.hpp"
#include "retort/run/index.hpp"

namespace retort {
namespace {

class KindsTest : public testing::Test {
 protected:
  KindsTest() {
    SimulateOptions options;
    options.cells = 300, options.genes = 40, options.types = 3;
    simulate(ranks, options, 3, folder / "atlas.h5ad");
    atlas = std::make_unique<Atlas>(folder / "atlas.h5ad");
    types = atlas->labels("cell_type");
    states = atlas->labels("condition");
  }

  // Two cells over three of the atlas's genes, not in their order.
  CellSet small_set() const {
    auto const& genes = atlas->gene_names();
    return {.cells = 2,
            .genes = 3,
            .x = {1, 2, 0, 3, 0, 4},
            .gene_names = {genes[7], genes[2], genes[30]},
            .cell_names = {},
            .columns = {{"cell_type", {"unused", types.names[1], types.names[0]}, {1, 2}},
                        {"condition", {states.names[0]}, {0, 0}}},
            .obsm = {}};
  }
  std::filesystem::path written(CellSet const& set, nlohmann::json const& uns = nullptr) const {
    write_cell_set(folder / "set.h5ad", set, uns);
    return folder / "set.h5ad";
  }
  std::string refused(std::function<void(CellSet&)> const& change, nlohmann::json const& uns = nullptr) const {
    auto set = small_set();
    change(set);
    auto const file = written(set, uns);
    return failure_of(ExitCode::bad_input, [&] { read_generated(file, *atlas, kinds_of(*atlas, {"cell_type"})); });
  }

  Communicator const ranks = Communicator::serial();
  SharedFolder const folder{ranks, "kinds"};
  std::unique_ptr<Atlas> atlas;
  Labels types, states;
};

TEST_F(KindsTest, AreClassesOrTheCombinationsThatOccur) {
  auto const one = kinds_of(*atlas, {});
  EXPECT_EQ(one.columns, std::vector{atlas->labels().column});
  EXPECT_EQ(one.names, types.names);
  EXPECT_EQ(one.of_row, types.codes);
  std::int64_t train = 0, test = 0;
  for (std::size_t kind = 0; kind < one.names.size(); ++kind)
    train += one.train_cells[kind], test += one.test_cells[kind];
  EXPECT_EQ(test, std::count(atlas->parts().begin(), atlas->parts().end(), Part::test));
  EXPECT_EQ(train + test, 300);
  EXPECT_EQ(std::count(one.unseen.begin(), one.unseen.end(), true), 0);

  auto const both = kinds_of(*atlas, {"cell_type", "condition"}, {types.names[2] + "/" + states.names[1]});
  EXPECT_EQ(both.count(), 6);
  for (std::size_t row = 0; row < both.of_row.size(); ++row)
    EXPECT_EQ(both.names[index(both.of_row[row])],
              types.names[index(types.codes[row])] + "/" + states.names[index(states.codes[row])]);
  EXPECT_EQ(both.unseen, (std::vector<bool>{false, false, false, false, false, true}));
  EXPECT_NE(
      failure_of(ExitCode::usage, [&] { kinds_of(*atlas, {"cell_type"}, {"no such type"}); }).find("'no such type'"),
      std::string::npos);
  failure_of(ExitCode::bad_input, [&] { kinds_of(*atlas, {"no such column"}); });
}

TEST_F(KindsTest, GenesOfAFileAreMatchedByName) {
  auto const kinds = kinds_of(*atlas, {"cell_type", "condition"});
  auto const read = read_generated(written(small_set()), *atlas, kinds);
  EXPECT_EQ(read.terms, (Terms{CellValues::counts, {2, 7, 30}, {true, false, true, false, false, false}}));
  auto const dense = testing_cells::dense(read.cells.cells);
  EXPECT_TRUE(at::equal(dense, at::tensor({2.0F, 1.0F, 0.0F, 0.0F, 3.0F, 4.0F}).view({2, 3})));
  EXPECT_EQ(read.cells.kinds, (std::vector<std::int32_t>{2, 0}));  // second type, first; first condition

  // Real cells on the same terms.
  std::vector<std::int64_t> const rows{5, 250, 17};
  auto const counts = real_cells(*atlas, kinds, rows, read.terms);
  auto const all = testing_cells::dense(atlas->read(rows)), logs = testing_cells::dense(atlas->read_log(rows));
  at::Tensor const columns = at::tensor({2, 7, 30}, at::kLong);
  EXPECT_TRUE(at::equal(testing_cells::dense(counts.cells), all.index_select(1, columns)));
  EXPECT_EQ(counts.kinds[1], kinds.of_row[250]);
  // Expression is normalised over all genes, not over those three.
  EXPECT_TRUE(at::equal(
      testing_cells::dense(real_cells(*atlas, kinds, rows, {CellValues::log_normalised, {2, 7, 30}, {}}).cells),
      logs.index_select(1, columns)));
}

TEST_F(KindsTest, SetsWithoutLabelsAreOfTheClassesThatTheyName) {
  auto set = small_set();
  set.columns.clear();
  auto const kinds = kinds_of(*atlas, {"cell_type"});
  auto const all = read_generated(written(set), *atlas, kinds);
  EXPECT_FALSE(all.terms.is_labelled);
  EXPECT_EQ(all.terms.covers, (std::vector<bool>{true, true, true}));
  nlohmann::json const uns{{"retort", {{"label", "cell_type"}, {"classes", {types.names[1], types.names[2]}}}}};
  EXPECT_EQ(read_generated(written(set, uns), *atlas, kinds).terms.covers, (std::vector<bool>{false, true, true}));
  auto const file = written(set, uns);
  EXPECT_NE(failure_of(ExitCode::bad_input, [&] { read_generated(file, *atlas, kinds_of(*atlas, {"condition"})); })
                .find("Set evaluate_generated.label"),
            std::string::npos);
}

TEST_F(KindsTest, ExpressionMayBeBelowZero) {
  auto set = small_set();
  set.x[1] = -0.5F;
  auto const read = read_generated(written(set, {{"retort", {{"values", "log_normalised"}}}}), *atlas,
                                   kinds_of(*atlas, {"cell_type"}));
  EXPECT_EQ(read.terms.values, CellValues::log_normalised);
  EXPECT_EQ(testing_cells::dense(read.cells.cells)[0][0].item<float>(), -0.5F);
}

TEST_F(KindsTest, RefusesWhatCannotBeCompared) {
  EXPECT_NE(
      refused([](CellSet& set) { set.gene_names[1] = "NEW1"; }).find("has the gene 'NEW1', which the atlas lacks"),
      std::string::npos);
  EXPECT_NE(refused([](CellSet& set) { set.gene_names[1] = set.gene_names[0]; }).find("twice"), std::string::npos);
  EXPECT_NE(
      refused([](CellSet& set) { set.x[3] = std::numeric_limits<float>::quiet_NaN(); }).find("row 1 holds nan of gene"),
      std::string::npos);
  EXPECT_NE(refused([](CellSet& set) { set.x[3] = std::numeric_limits<float>::infinity(); }).find("holds inf"),
            std::string::npos);
  EXPECT_NE(refused([](CellSet& set) { set.x[1] = -1; }).find("holds -1 of gene"), std::string::npos);
  EXPECT_NE(refused([](CellSet& set) {
              set.columns[0].codes[1] = 0;
            }).find("row 1 is 'unused', and the atlas has no such cells"),
            std::string::npos);
  EXPECT_NE(refused([](CellSet& set) { set.columns[0].codes[1] = -1; }).find("row 1 has no label"), std::string::npos);
  auto half = small_set();
  half.columns.pop_back();
  auto const file = written(half);
  EXPECT_NE(failure_of(ExitCode::bad_input,
                       [&] {
                         read_generated(file, *atlas, kinds_of(*atlas, {"cell_type", "condition"}));
                       })
                .find("no obs column 'condition'"),
            std::string::npos);
  EXPECT_NE(refused([](CellSet&) {}, {{"retort", {{"values", "tpm"}}}}).find("uns/retort/values is 'tpm'"),
            std::string::npos);
  EXPECT_NE(refused([](CellSet& set) {
              set.cells = 0;
              set.x.clear();
              for (auto& column : set.columns) column.codes.clear();
            }).find("has 0 cells"),
            std::string::npos);
  auto const missing = folder / "missing.h5ad";
  failure_of(ExitCode::missing_input, [&] { read_generated(missing, *atlas, kinds_of(*atlas, {})); });
}

}  // namespace
}  // namespace retort
