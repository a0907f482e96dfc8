// GMT files as they should and should not be, and which pathways are chosen.
#include "retort/evaluate/pathways.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "../shared_folder.hpp"

namespace retort {
namespace {

std::vector<std::string> names_of(int count, std::string const& stem) {
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) names.push_back(stem + std::to_string(i));
  return names;
}

// `count` sets; set i has 4 + i % 297 symbols from gene i on.
std::vector<GeneSet> many_sets(int count, std::string const& stem) {
  std::vector<GeneSet> sets;
  for (int i = 0; i < count; ++i) {
    sets.push_back({"set" + std::to_string(i), {}});
    for (int k = 0; k < 4 + i % 297; ++k) sets.back().symbols.push_back(stem + std::to_string((i + k) % 600));
  }
  return sets;
}

TEST(GeneSets, AreReadByLine) {
  Communicator const alone = Communicator::serial();
  SharedFolder const folder(alone, "pathways");
  std::ofstream(folder / "good.gmt") << "A\thttp://a\tG1\tG2\tG1\t\r\n\nB\t\tG3\n";
  auto const sets = read_gene_sets(folder / "good.gmt");
  ASSERT_EQ(sets.size(), 2U);
  EXPECT_EQ(sets[0].symbols, (std::vector<std::string>{"G1", "G2"}));
  EXPECT_EQ(sets[1].name, "B");
  EXPECT_EQ(sets[1].symbols, (std::vector<std::string>{"G3"}));
}

TEST(GeneSets, BrokenFilesAreRefused) {
  Communicator const alone = Communicator::serial();
  SharedFolder const folder(alone, "pathways");
  failure_of(ExitCode::missing_input, [&] { read_gene_sets(folder / "none.gmt"); });
  for (std::string const text :
       {"", "\n\n", "A\td\tG1\nB C D\n", "A\td\n", "\td\tG1\n", "A\td\t\t\n", "A\td\tG1\nA\td\tG2\n"}) {
    std::ofstream(folder / "bad.gmt") << text;
    failure_of(ExitCode::bad_input, [&] { read_gene_sets(folder / "bad.gmt"); });
  }
  std::ofstream(folder / "bad.gmt") << "A\td\tG1\nB C D\n";
  EXPECT_NE(failure_of(ExitCode::bad_input, [&] { read_gene_sets(folder / "bad.gmt"); }).find("line 2"),
            std::string::npos);
}

TEST(Pathways, AreTheLargestThatAreNotTooLarge) {
  auto sets = many_sets(400, "gene");  // 1 + 1 of 4 genes, 3 too few
  sets.push_back({"huge", names_of(301, "gene")});
  auto const chosen = choose_pathways(sets, names_of(600, "Gene"));  // as mice write it
  EXPECT_FALSE(chosen.random);
  ASSERT_EQ(chosen.genes.size(), 299U);
  std::vector<std::size_t> sizes, expected;
  for (auto const& genes : chosen.genes) {
    sizes.push_back(genes.size());
    EXPECT_TRUE(std::is_sorted(genes.begin(), genes.end()));
  }
  for (auto const& set : sets)
    if (set.symbols.size() > 4 && set.symbols.size() <= 300) expected.push_back(set.symbols.size());
  std::sort(sizes.rbegin(), sizes.rend());
  std::sort(expected.rbegin(), expected.rend());
  expected.resize(299);
  EXPECT_EQ(sizes, expected);
}

TEST(Pathways, AreDrawnWhereTooFewMatch) {
  auto const sets = many_sets(100, "gene");
  auto const drawn = choose_pathways(sets, names_of(90, "ENSG"));
  EXPECT_TRUE(drawn.random);
  EXPECT_NE(drawn.origin.find("0 of 100 pathways"), std::string::npos) << drawn.origin;
  ASSERT_EQ(drawn.genes.size(), 99U);  // those of 5 to 103 genes
  for (std::size_t i = 0; i < drawn.genes.size(); ++i) {
    EXPECT_EQ(drawn.genes[i].size(), std::min<std::size_t>(5 + i, 90));
    EXPECT_EQ(std::set(drawn.genes[i].begin(), drawn.genes[i].end()).size(), drawn.genes[i].size());
    EXPECT_LT(drawn.genes[i].back(), 90);
  }
  EXPECT_NE(drawn.genes[40], std::vector<std::int32_t>(drawn.genes[41].begin(), drawn.genes[41].end() - 1));
  EXPECT_EQ(choose_pathways(sets, names_of(90, "ENSG")).genes, drawn.genes);

  auto const without_file = choose_pathways({}, names_of(2000, "gene"));
  EXPECT_TRUE(without_file.random);
  ASSERT_EQ(without_file.genes.size(), 299U);
  EXPECT_EQ(without_file.genes.front().size(), 200U);
  EXPECT_EQ(without_file.genes.back().size(), 20U);
}

TEST(Pathways, ThirtyAreEnough) {
  EXPECT_TRUE(choose_pathways(many_sets(30, "gene"), names_of(600, "gene")).random);  // one of them has four genes
  EXPECT_FALSE(choose_pathways(many_sets(31, "gene"), names_of(600, "gene")).random);
}

}  // namespace
}  // namespace retort
