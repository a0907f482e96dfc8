#include "retort/report/sections.hpp"

#include <gtest/gtest.h>

#include <regex>

#include "retort/run/random.hpp"

using namespace retort;

namespace {

std::int64_t count(std::string const& text, char const* what) {
  std::regex const found(what);
  return std::distance(std::sregex_iterator(text.begin(), text.end(), found), {});
}

FinishedRun small_run() {
  FinishedRun run;
  run.name = "kidney";
  run.product = DistilledName{"scdd", "dm", 1, 0};
  run.results = nlohmann::json::parse(R"({
    "data": {"cells": 40, "genes": 9, "classes": 2, "label": "<i>type", "class_names": ["<script>T", "B"], "fit_cells": 20, "held_out_cells": 4, "test_cells": 16},
    "rows": [{"variant":"full","matching":"","spc":0,"draws":1,"accuracy_mean":97.5,"accuracy_sd":0.1,"macro_f1":90,"headroom":null},
             {"variant":"random","matching":"","spc":1,"draws":5,"accuracy_mean":80.25,"accuracy_sd":3,"accuracy_sd_draws":2},
             {"variant":"class_mean","matching":"","spc":1,"accuracy_mean":90.125},
             {"variant":"scdd","matching":"dm","spc":1,"accuracy_mean":95.75}],
    "cnn": [{"variant":"scdd","matching":"dm","spc":1,"accuracy_mean":91}],
    "confusion": [{"set":"full","counts":[[9,1],[0,6]]}, {"set":"scdd-dm-spc1-draw0","counts":[[8,2],[0,0]]}]})");
  return run;
}

TEST(Summary, HasTheProductBesideWhatItMustBeat) {
  auto const html = summary_section(small_run());
  for (char const* text : {"95.75 %", "97.50 %", "80.25 %", "90.12 %", "all 24 train cells", "&lt;i&gt;type"}) EXPECT_NE(html.find(text), std::string::npos) << text << html;
  EXPECT_EQ(html.find("Not on this page"), std::string::npos);
}

TEST(Accuracy, HasAPlotForEveryJudge) {
  auto const html = accuracy_section(small_run());
  EXPECT_EQ(count(html, "<figure>"), 2);
  EXPECT_NE(html.find("Convolutional network"), std::string::npos);
  EXPECT_EQ(accuracy_section(FinishedRun{}), "");
}

TEST(Confusion, SharesAreOfTheRow) {
  auto const html = confusion_section(small_run());
  EXPECT_NE(html.find("&lt;script&gt;T taken for B: 1 of 10 test cells (10.0 %)"), std::string::npos) << html;
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_EQ(count(html, "class=\"heat\""), 4 + 2);  // a class without test cells stays empty
}

TEST(Map, ShowsRealAndDistilledCellsAndEscapesTheirNames) {
  MappedCells real, distilled;
  Random random(1, 98);
  for (std::int32_t i = 0; i < 60; ++i) {
    real.classes.push_back(i % 2);
    for (int d = 0; d < 3; ++d) real.features.push_back(static_cast<float>(random.normal() + (i % 2) * 9));
  }
  distilled = {{0, 0, 0, 9, 9, 9}, {0, 1}};
  std::vector<std::string> const names{"<script>alert(1)</script>", "B"};
  auto const html = map_section(real, distilled, 3, names, 4);
  EXPECT_EQ(html, map_section(real, distilled, 3, names, 4));
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_EQ(count(html, "class=\"mark\""), 2);
  EXPECT_EQ(count(map_section(real, {}, 3, names, 4), "class=\"mark\""), 0);
}

TEST(Expression, ShowsTheSamePictureForTheSameMeans) {
  ClassMeans const means{2, 3, {3, 0, 1, 0, 5, 1}, {2, 1}, {1, 1, 0}};
  auto const html = expression_section(means, means, {"CD3E", "MS4A1", "ACTB"}, {"T", "B"});
  EXPECT_NE(html.find("correlate with 1.00"), std::string::npos);
  EXPECT_NE(html.find("MS4A1 in B: 5.00 (marks B)"), std::string::npos);
  EXPECT_EQ(html.find("ACTB"), std::string::npos);
}

TEST(Audits, RendersWhateverIsThere) {
  auto run = small_run();
  EXPECT_EQ(audits_section(run), "");
  run.results["audits"] = nlohmann::json::parse(R"({"sets":[{"set":"scdd-dm-spc1-draw0","membership_auc":0.51,"membership_auc_by_class":{"<b>":0.5,"b":1,"c":2,"d":3,"e":4},"zero_proportion":{"real":0.9,"distilled":0.4}},
                                                            {"set":"other","extra":null}],
                                                    "rare_classes":[], "paired":"soon", "one": {"n": 3, "list": [1, 2]}})");
  auto const html = audits_section(run);
  for (char const* text : {"zero proportion real", "0.51", "&lt;b&gt;", "<summary>membership auc by class, scdd-dm-spc1-draw0", "other"}) EXPECT_NE(html.find(text), std::string::npos) << text << html;
  EXPECT_EQ(count(html, "<section>"), 2);
}

TEST(Training, DrawsLossesAndSets) {
  auto run = small_run();
  EXPECT_EQ(training_section(run), "");
  run.steps["train-foundation"] = {{"step", {0, 1, 2}}, {"loss", {3, 2, 1}}};
  run.scored = {{"scdd-dm-spc1-draw0", 0.1, 0, 3, 70}, {"scdd-dm-spc1-draw0", 0.1, 10, 2, 80}, {"scdd-dm-spc1-draw0", 0.3, 10, 1, 85}};
  run.chosen["scdd-dm-spc1-draw0"] = {0.3, 10};
  auto const html = training_section(run);
  EXPECT_EQ(count(html, "<figure>"), 2);
  EXPECT_NE(html.find("kept of scdd-dm-spc1-draw0: rate 0.3, 10 steps"), std::string::npos);
}

TEST(Names, ExplainsTheOnesUsed) {
  auto const html = names_section(small_run());
  EXPECT_NE(html.find("<dt>scdd</dt>"), std::string::npos);
  EXPECT_EQ(html.find("<dt>decoder</dt>"), std::string::npos);
}

}  // namespace
