#include "retort/cells/gene_vocabulary.hpp"

#include <gtest/gtest.h>

#include "retort/run/error.hpp"

using namespace retort;

namespace {

std::vector<std::vector<std::string>> const genes{{"B", "A", "C", "A"}, {"A", "D", "B"}};
std::vector<std::filesystem::path> const files{"one", "two"};

TEST(GeneVocabulary, IntersectionKeepsTheFirstFilesOrder) {
  auto const vocabulary = register_genes(genes, GeneJoin::intersection, {}, files);
  EXPECT_EQ(vocabulary.names, (std::vector<std::string>{"B", "A"}));
  EXPECT_EQ(vocabulary.maps[0].to, (std::vector<std::int32_t>{0, 1, -1, 1}));
  EXPECT_EQ(vocabulary.maps[0].duplicates, 1);
  EXPECT_EQ(vocabulary.maps[0].dropped, 1);
  EXPECT_FALSE(vocabulary.maps[0].rises);
  EXPECT_EQ(vocabulary.maps[1].to, (std::vector<std::int32_t>{1, -1, 0}));
}

TEST(GeneVocabulary, UnionAddsWhatIsNew) {
  auto const vocabulary = register_genes(genes, GeneJoin::join_union, {}, files);
  EXPECT_EQ(vocabulary.names, (std::vector<std::string>{"B", "A", "C", "D"}));
  EXPECT_EQ(vocabulary.maps[1].to, (std::vector<std::int32_t>{1, 3, 0}));
}

TEST(GeneVocabulary, AGeneTwiceInOneFileIsNotInBoth) {
  auto const vocabulary = register_genes({{"A", "A", "B"}, {"B"}}, GeneJoin::intersection, {}, files);
  EXPECT_EQ(vocabulary.names, std::vector<std::string>{"B"});
}

TEST(GeneVocabulary, AFixedOneStays) {
  auto const vocabulary = register_genes(genes, GeneJoin::intersection, {"X", "D", "A"}, files);
  EXPECT_EQ(vocabulary.names, (std::vector<std::string>{"X", "D", "A"}));
  EXPECT_EQ(vocabulary.maps[1].to, (std::vector<std::int32_t>{2, 1, -1}));
  EXPECT_EQ(vocabulary.maps[1].found, 2);
}

TEST(GeneVocabulary, NothingInCommonIsBadInput) {
  for (auto const& fixed : {std::vector<std::string>{}, std::vector<std::string>{"Z"}}) {
    try {
      register_genes({{"A"}, {"B"}}, GeneJoin::intersection, fixed, files);
      ADD_FAILURE() << "it was accepted";
    } catch (Failure const& failure) {
      EXPECT_EQ(failure.code, ExitCode::bad_input);
    }
  }
}

}  // namespace
