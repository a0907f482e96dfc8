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
    "data": {"cells": 40, "genes": 9, "classes": 2, "label": "<i>type", "class_names": ["<script>T", "B"],
             "fit_cells": 20, "held_out_cells": 4, "test_cells": 16},
    "rows": [{"variant":"full","matching":"","spc":0,"draws":1,"accuracy_mean":97.5,"accuracy_sd":0.1,"macro_f1":90,
              "headroom":null},
             {"variant":"random","matching":"","spc":1,"draws":5,"accuracy_mean":80.25,"accuracy_sd":3,
              "accuracy_sd_draws":2},
             {"variant":"class_mean","matching":"","spc":1,"accuracy_mean":90.125},
             {"variant":"scdd","matching":"dm","spc":1,"accuracy_mean":95.75}],
    "cnn": [{"variant":"scdd","matching":"dm","spc":1,"accuracy_mean":91}],
    "confusion": [{"set":"full","counts":[[9,1],[0,6]]}, {"set":"scdd-dm-spc1-draw0","counts":[[8,2],[0,0]]}]})");
  return run;
}

// With recall in two classes, and an audit of the product.
FinishedRun judged_run() {
  auto run = small_run();
  run.folder = "/runs/kidney";
  auto& rows = run.results["rows"];
  rows[0]["recall"] = {{"<script>T", 99.0}, {"B", 40.0}};
  rows[1]["recall"] = {{"<script>T", 70.0}, {"B", nullptr}};
  rows[3]["recall"] = {{"<script>T", 93.5}, {"B", 41.0}};
  run.ingested = {{"label", "<i>type"}, {"classes", {{{"class", "B"}, {"fit", 7}, {"held_out", 2}, {"test", 6}}}}};
  run.results["audits"]["sets"] =
      nlohmann::json::parse(R"([{"variant":"random","matching":"","spc":1,"set":"random-spc1","membership_auc":0.9},
    {"variant":"scdd","matching":"dm","spc":1,"set":"scdd-dm-spc1","membership_auc":0.56,
     "membership_interval":[0.5,0.62],"confidence_auc":0.75,"expression_auc":0.51,"copies":0,"leaks":["B"],
     "expression_leaks":[],
     "membership_auc_by_class":{"B":0.58,"<script>T":0.55},"confidence_auc_by_class":{"B":0.81},
     "expression_auc_by_class":{"B":0.52},"zero_proportion":{"real":0.94,"distilled":0.19},
     "detected_genes":{"real":373.5,"distilled":340.25,"inside":1},
     "differential_expression":{"precision_at_50":0.6,"by_class":{"B":{"precision_at_50":0.64}}}}])");
  return run;
}

TEST(Verdict, SaysWhatIsGoodAndWhatIsNot) {
  auto const html = verdict_section(judged_run());
  for (char const* text :
       {"<li class=\"good\"><b>Accuracy.</b>", "labels 95.75 % of 16 unseen real cells correctly", "97.50 %",
        "80.25 %",  // within 5 points of all cells
        "<li class=\"weak\"><b>Classes.</b> Recall falls by more than 5 points against all train cells in "
        "&lt;script&gt;T (94 % instead of 99 % of 10 test cells).",
        "too: B (40 %).", "<li class=\"good\"><b>Does the file give cells away?</b>",
        "AUC 0.51. It is highest in B (0.52). No class leaks.", "<li class=\"weak\"><b>And with foundation/?</b>",
        "AUC 0.56 (0.50 to 0.62) by distance of features, 0.75 by a classifier&#39;s confidence. It is highest in B "
        "(0.81). It leaks in B.",
        "<li class=\"weak\"><b>Do they look like cells?</b> 19 % of their values are zero; of real cells&#39; 94 %."})
    EXPECT_NE(html.find(text), std::string::npos) << text << html;
  EXPECT_EQ(html.find("Classifiers of genes"), std::string::npos);
  auto run = judged_run();
  run.results["celltypist"] = run.results["cnn"];
  run.results["rows"].push_back({{"variant", "genes"}, {"matching", ""}, {"spc", 0}, {"accuracy_mean", 98}});
  run.results["rows"][2]["accuracy_mean"] = 96;  // class means
  auto const warned = verdict_section(run);
  for (char const* text :
       {"<li class=\"weak\"><b>Accuracy.</b>", "which cost nothing, do as well (96.00 %)",
        "<li class=\"weak\"><b>Classifiers of genes.</b>", "reaches 91.00 %", "distill.matchings=head+genes"})
    EXPECT_NE(warned.find(text), std::string::npos) << text << warned;
  run.product.reset();
  EXPECT_EQ(verdict_section(run), "");
  EXPECT_EQ(verdict_section(FinishedRun{}), "");
}

TEST(Classes, HaveTheOneThatLosesMostFirst) {
  auto const html = classes_section(judged_run());
  auto const worst = html.find(
      "<tr class=\"strong\"><td "
      "class=\"l\">&lt;script&gt;T</td><td>–</td><td>10</td><td>93.5</td><td>99.0</td><td>70.0</td><td>-5.5</"
      "td><td>0.55</td><td>–</td><td>–</td>");
  auto const other = html.find(
      "<tr><td "
      "class=\"l\">B</td><td>9</td><td>6</td><td>41.0</td><td>40.0</td><td>–</td><td>+1.0</td><td>0.81</td><td>0.52</"
      "td><td>64</td>");
  ASSERT_NE(worst, std::string::npos) << html;
  ASSERT_NE(other, std::string::npos) << html;
  EXPECT_LT(worst, other);
  EXPECT_EQ(classes_section(small_run()), "");  // no recall
}

TEST(Usage, NamesTheFileAndItsLabels) {
  auto run = judged_run();
  auto const html = usage_section(run);
  for (char const* text : {"sc.read_h5ad(&quot;/runs/kidney/distilled.h5ad&quot;)", "labels=&quot;&lt;i&gt;type&quot;",
                           "do not normalise again"})
    EXPECT_NE(html.find(text), std::string::npos) << text << html;
  EXPECT_EQ(html.find("% right"), std::string::npos);
  run.results["celltypist"] = run.results["cnn"];
  EXPECT_NE(usage_section(run).find("91.0 % right"), std::string::npos);
  EXPECT_EQ(usage_section(FinishedRun{}), "");
}

TEST(Summary, HasTheProductBesideWhatItMustBeat) {
  auto const html = summary_section(small_run());
  for (char const* text : {"95.75 %", "97.50 %", "80.25 %", "90.12 %", "all 24 train cells", "&lt;i&gt;type"})
    EXPECT_NE(html.find(text), std::string::npos) << text << html;
  EXPECT_EQ(html.find("Not on this page"), std::string::npos);
}

TEST(Runs, HaveColumnsOfWhatTheyDid) {
  auto cells = small_run();
  cells.generation = nlohmann::json::parse(
      R"({"rows": [{"kind": "floor", "w2": 5.5}, {"kind": "generated", "w2": 9, "set": "a"},
                   {"kind": "generated", "w2": 7.25, "set": "b"}]})");
  auto const html = runs_section({small_run(), cells});
  EXPECT_NE(html.find("<td>7.25</td><td>5.5</td>"), std::string::npos) << html;
  EXPECT_EQ(runs_section({small_run(), small_run()}).find("W2"), std::string::npos);
}

TEST(Summary, HasNoTileOfWhatIsNotThere) {
  auto run = small_run();
  run.results["rows"] = nlohmann::json::array();
  EXPECT_EQ(summary_section(run).find("class=\"tile"), std::string::npos);
}

TEST(Accuracy, HasAPlotForEveryJudge) {
  auto const html = accuracy_section(small_run());
  EXPECT_EQ(count(html, "<figure>"), 2);
  EXPECT_NE(html.find("Convolutional network"), std::string::npos);
  EXPECT_NE(html.find("Accuracy on real test cells"), std::string::npos);  // one size: dots under each other
  EXPECT_NE(html.find("80.25 ± 2.00"), std::string::npos);
  auto sizes = small_run();
  sizes.results["rows"].push_back({{"variant", "scdd"}, {"matching", "dm"}, {"spc", 10}, {"accuracy_mean", 96.5}});
  EXPECT_NE(accuracy_section(sizes).find("Accuracy against size"), std::string::npos);
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
  EXPECT_EQ(html.substr(0, html.find("Most variable genes")).find("ACTB"), std::string::npos);
  EXPECT_LT(html.rfind("CD3E in T: 3.00<"), html.rfind("ACTB in T: 1.00<"));  // what varies more comes first
}

TEST(Audits, RendersWhateverIsThere) {
  auto run = small_run();
  EXPECT_EQ(audits_section(run), "");
  run.results["audits"] = nlohmann::json::parse(
      R"({"sets":[{"variant":"scdd","set":"scdd-dm-spc1-draw0","membership_auc":0.51,
                   "membership_auc_by_class":{"<b>":0.5,"b":1,"c":2,"d":3,"e":4},
                   "zero_proportion":{"real":0.9,"distilled":0.4},"interval":[0.123456,0.5]},
                  {"set":"other","extra":null,"membership_auc_by_class":{"<b>":0.75,"b":1,"c":2,"d":3,"f":4}}],
          "rare_classes":[], "paired":"soon", "one": {"n": 3, "list": ["x", "y"]}})");
  auto const html = audits_section(run);
  for (char const* text :
       {"zero proportion real", "0.51", "<summary>membership auc by class</summary>", "other", "0.123 … 0.5", "x, y"})
    EXPECT_NE(html.find(text), std::string::npos) << text << html;
  EXPECT_LT(html.find("<th class=\"l\">set"), html.find("<th class=\"l\">variant"));  // what names a set comes first
  EXPECT_NE(html.find("<td class=\"l\">&lt;b&gt;</td><td>0.5</td><td>0.75</td>"), std::string::npos)
      << html;  // sets side by side
  EXPECT_NE(html.find("<td class=\"l\">f</td><td>–</td><td>4</td>"), std::string::npos);
  EXPECT_EQ(count(html, "<section>"), 3);  // what sets give away, how they look, and the one more
}

TEST(Audits, HaveTablesForReaders) {
  auto run = judged_run();
  run.results["audits"]["rare_classes"] = nlohmann::json::parse(
      R"({"train_cells":{"B":9},
          "rows":[{"set":"full","recall":{"B":40}},{"set":"scdd-dm-spc1","recall":{"B":null}}]})");
  auto const html = audits_section(run);
  for (char const* text :
       {"<td class=\"l\">random-spc1</td><td>0.90</td><td>–</td>",
        "<td class=\"l\">scdd-dm-spc1</td><td>0.56 "
        "(0.50–0.62)</td><td>0.75</td><td>B</td><td>0.51</td><td>none</td><td>0</td>",
        "<tr class=\"strong\"><td "
        "class=\"l\">scdd-dm-spc1</td><td>19.0</td><td>94.0</td><td>340</td><td>374</td><td>100</td>",
        "<th>B (9 train cells)</th>", "<td class=\"l\">all train cells</td><td>40.0</td>",
        "<tr class=\"strong\"><td class=\"l\">scdd-dm-spc1</td><td>–</td>"})
    EXPECT_NE(html.find(text), std::string::npos) << text << html;
}

// Two sets of many numbers: sets are columns.
TEST(Audits, TurnsWideTables) {
  auto run = small_run();
  for (char const* set : {"a", "b"}) {
    nlohmann::json one{{"set", set}};
    for (int i = 0; i < 12; ++i) one["number_" + std::to_string(i)] = i;
    run.results["audits"]["sets"].push_back(one);
  }
  auto const html = audits_section(run);
  EXPECT_NE(html.find("<th class=\"l\"></th><th>a</th><th>b</th>"), std::string::npos) << html;
  EXPECT_NE(html.find("<td class=\"l\">number 11</td><td>11</td><td>11</td>"), std::string::npos);
}

TEST(Training, DrawsLossesAndSets) {
  auto run = small_run();
  EXPECT_EQ(training_section(run), "");
  run.steps["train-foundation"] = {{"step", {0, 1, 2}}, {"loss", {3, 2, 1}}};
  run.scored = {{"scdd-dm-spc1-draw0", 0.1, 0, 3, 70},
                {"scdd-dm-spc1-draw0", 0.1, 10, 2, 80},
                {"scdd-dm-spc1-draw0", 0.3, 10, 1, 85}};
  run.chosen["scdd-dm-spc1-draw0"] = {0.3, 10};
  auto const html = training_section(run);
  EXPECT_EQ(count(html, "<figure>"), 2);
  EXPECT_NE(html.find("kept of scdd-dm-spc1-draw0: rate 0.3, 10 steps"), std::string::npos);
}

FinishedRun generation_run() {
  FinishedRun run;
  run.name = "kidney";
  run.generation = nlohmann::json::parse(R"({
    "classes": ["<b>T", "B", "rare"], "unseen": [false, true, false], "train_cells_of_class": [5, 6, 1],
    "test_cells_of_class": [4, 3, 0], "test_cells": 7, "columns": ["type"],
    "comparisons": [{"values": "counts", "is_labelled": true, "genes": 2000, "variable_genes": 500, "components": 10,
                     "test_cells": 7, "real": {"zeros": 0.91, "variation": 2.5, "library": 1800.4,
                                               "zeros_of_class": [0.9, 0.92, null]}}],
    "rows": [{"set": "train cells", "kind": "floor", "comparison": 0, "cells": 7, "w2": 5.5, "mmd2": 0.01, "frechet": 2,
              "kl": 0.1, "w1": 0.02, "scrdit_mmd": 0.03, "neighbour_accuracy": 0.5, "precision": 0.9, "recall": 0.8,
              "zeros": 0.91, "variation": 2.4, "library": 1799, "unseen": {"w2": 6.25, "mmd2": 0.02},
              "of_class": {"w2": [5, 6, null], "mmd2": [0.01, 0.01, null], "frechet": [1, 3, null]}},
             {"set": "<i>guided", "kind": "generated", "comparison": 0, "cells": 7, "file": "/nowhere/guided.h5ad",
              "w2": 7.125, "mmd2": 0.05, "frechet": 12, "kl": 0.3, "w1": 0.04, "scrdit_mmd": null,
              "neighbour_accuracy": 0.7, "precision": 0.5, "recall": 0.4, "zeros": 0.88, "variation": 2.2,
              "library": 1700, "unseen": {"w2": 9, "mmd2": 0.09},
              "of_class": {"w2": [7, 7.25, null], "mmd2": [0.05, 0.05, null], "frechet": [11, 13, null]}}],
    "reconstruction": {"re": 4571.6, "pcc": 0.273, "mse": 0.206},
    "classification": {"type": {
      "classes": 3, "neighbours": {"accuracy": 88.5, "macro_f1": 70, "roc_auc": 0.9, "pr_auc": null},
      "logistic_regression": {"accuracy": 91.25, "macro_f1": 80, "roc_auc": 0.97, "pr_auc": 0.8}}}})");
  return run;
}

TEST(Generation, HasSetsClassesAndWhatLatentsKeep) {
  EXPECT_EQ(generation_section(FinishedRun{}), "");
  auto const html = generation_section(generation_run());
  for (char const* text : {"7.125", "train cells (real: the floor)", "real test cells", "0.91", "1,800",
                           "Classes that no generator was trained on", "6.25", "B (unseen)",
                           "W2 of &lt;i&gt;guided: B (unseen) 7.25 (3 test cells)", "What the columns mean"})
    EXPECT_NE(html.find(text), std::string::npos) << text << html;
  EXPECT_EQ(html.find("<i>guided"), std::string::npos);
  EXPECT_EQ(html.find("rare"), std::string::npos);  // no test cells, no distances
  EXPECT_EQ(count(html, "<figure>"), 6 + 3);
  EXPECT_EQ(count(html, "class=\"heat\""), 3 * 2 * 2);
}

TEST(GeneratedVerdict, SaysWhatIsGoodAndWhatIsNot) {
  EXPECT_EQ(generated_verdict_section(FinishedRun{}), "");
  auto run = generation_run();
  auto html = generated_verdict_section(run);
  for (char const* text :
       {"<h3>&lt;i&gt;guided</h3>",
        "<li class=\"good\"><b>Near real cells?</b> W2 to the real test cells: 7.12. Of real train cells: 5.50.",
        "<li class=\"weak\"><b>Can they be told apart?</b> By its nearest neighbour a cell is known as real or "
        "generated in 70 %",
        "<li class=\"weak\"><b>Do they look like cells?</b> 88.0 % of their values are zero; of real "
        "cells&#39; 91.0 %. They have 1,700 counts per cell; real cells have 1,800.",
        "<li class=\"good\"><b>Classes.</b> Farthest from its real cells is &lt;b&gt;T: W2 7.00, of real train cells "
        "5.00."})
    EXPECT_NE(html.find(text), std::string::npos) << text << html;
  auto& rows = run.generation["rows"];
  rows.push_back(
      {{"set", "Gaussian"}, {"kind", "prior"}, {"comparison", 0}, {"w2", 7.0}});  // nearer than the generated set
  rows[1]["zeros"] = 0.9, rows[1]["library"] = 1790, rows[1]["neighbour_accuracy"] = 0.6,
  rows[1]["of_class"]["w2"][1] = 9.5;
  html = generated_verdict_section(run);
  for (char const* text :
       {"<li class=\"weak\"><b>Near real cells?</b>", "which cost nothing: 7.00.",
        "<li class=\"good\"><b>Can they be told apart?</b>", "<li class=\"good\"><b>Do they look like cells?</b>",
        "<li class=\"weak\"><b>Classes.</b> Farthest from its real cells is B: W2 9.50"})
    EXPECT_NE(html.find(text), std::string::npos) << text << html;
}

TEST(Latents, HasReconstructionAndClassifiers) {
  EXPECT_EQ(latents_section(FinishedRun{}), "");
  auto const html = latents_section(generation_run());
  for (char const* text : {"4,572", "91.25", "logistic regression", "–"})
    EXPECT_NE(html.find(text), std::string::npos) << text << html;
}

TEST(Summary, HasTheBestGeneratedSetBesideTheFloor) {
  auto const html = summary_section(generation_run());
  EXPECT_NE(html.find("<b>7.125</b>"), std::string::npos) << html;
  EXPECT_NE(html.find("<b>5.5</b>"), std::string::npos);
}

TEST(GeneratedMap, HasAPanelASetOverTheRealCells) {
  MappedCells real, made;
  Random random(1, 98);
  for (std::int32_t i = 0; i < 60; ++i) {
    real.classes.push_back(i % 2);
    for (int d = 0; d < 3; ++d) real.features.push_back(static_cast<float>(random.normal() + (i % 2) * 9));
  }
  made = {{0, 0, 0, 9, 9, 9}, {0, -1}};
  auto const html = generated_map_section(real, {{"<b>one", made}, {"two", made}}, 3, "three numbers", {"T", "B"}, 4);
  EXPECT_EQ(count(html, "<figure>"), 3);
  EXPECT_EQ(count(html, "class=\"shadow\""), 2);
  EXPECT_EQ(count(html, "<title>no class</title>"), 2);
  EXPECT_NE(html.find("&lt;b&gt;one"), std::string::npos);
  EXPECT_EQ(html, generated_map_section(real, {{"<b>one", made}, {"two", made}}, 3, "three numbers", {"T", "B"}, 4));
}

TEST(Training, NamesTheModel) {
  FinishedRun run;
  run.stages.push_back({.verb = "train-diffusion", .options = "[diffusion]\n# a model\nmodel = scldm\n", .build = ""});
  run.steps["train-vae"] = run.steps["train-diffusion"] = {{"step", {0, 1, 2}}, {"loss", {3, 2, 1}}};
  auto const html = training_section(run);
  EXPECT_NE(html.find("Autoencoder of counts"), std::string::npos) << html;
  EXPECT_NE(html.find("flow of latents"), std::string::npos);
}

TEST(Making, HasTheCommands) {
  FinishedRun run;
  run.stages.push_back({.verb = "embed",
                        .options = "",
                        .build = "retort 0.1.0 (commit abc)\nLibTorch 2.11.0\nranks 2\n",
                        .folder = "/runs/a/embed",
                        .ranks = 2});
  auto const html = provenance_section(run);
  EXPECT_NE(html.find("retort 0.1.0 (commit abc), LibTorch 2.11.0."), std::string::npos) << html;
  EXPECT_NE(html.find("mpirun -n 2 retort-embed --config /runs/a/embed/options.ini"), std::string::npos) << html;
}

TEST(Names, ExplainsTheOnesUsed) {
  auto const html = names_section(small_run());
  EXPECT_NE(html.find("<dt>scdd</dt>"), std::string::npos);
  EXPECT_EQ(html.find("<dt>decoder</dt>"), std::string::npos);
}

}  // namespace
