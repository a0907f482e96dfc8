// What the page says to its readers: titles, captions and whole sentences. A section chooses among them and fills in
// their placeholders; it puts no sentence together from pieces. What names mean stands in meanings.hpp.
#pragma once

namespace retort::texts {

struct Heading {
  char const* title;
  char const* caption;
};

// What the run is of.

inline constexpr char const* distilled_atlas = "An atlas of {}, distilled by retort.";
inline constexpr char const* atlas_of_new_cells = "An atlas of {}; retort made new cells after it.";
inline constexpr char const* distilled_atlas_of_new_cells =
    "An atlas of {}, distilled by retort, which made new cells after it too.";
inline constexpr char const* data_of_run =
    "{} cells, {} genes, {} classes in the column {}. Classifiers were trained on each set and tried on {} test cells "
    "that nothing else has seen.";
inline constexpr char const* missing_parts = "Not on this page, because the run folder does not have it:";

inline constexpr char const* tile_of_product = "the product distilled.h5ad: {} synthetic cells, {} per class ({}-{})";
inline constexpr char const* tile_of_all = "all {} train cells";
inline constexpr char const* tile_of_random = "random real cells, {} per class";
inline constexpr char const* tile_of_class_means = "class means, 1 per class";
inline constexpr char const* tile_of_cluster_means = "means of clusters, {} per class";
inline constexpr char const* about_tiles =
    "Accuracy on the test cells of a linear classifier (a linear head) that reads the features of the run's encoder. "
    "The product is the kind of set that did best on held-out train cells, so another may do better here. Good is a "
    "product near all train cells and clearly above random cells and means, which cost nothing.";
inline constexpr char const* tile_of_generated = "W2 of generated cells to real test cells: {}";
inline constexpr char const* tile_of_floor = "W2 of as many real train cells: the floor";
inline constexpr char const* tile_of_prior = "W2 of a Gaussian fitted to each class: what must be beaten";
inline constexpr char const* about_generation_tiles =
    "Wasserstein distances, means over classes. Good is a number near the floor and well below the Gaussian's.";

inline constexpr Heading runs{
    "Runs on this page",
    "Accuracy of a linear head on real test cells, one line per run. Good is a product near all "
    "cells and above random cells and means."};
inline constexpr char const* about_w2_of_runs =
    "W2 is the distance of the best generated set from real test cells; good is near the floor.";

// Whether the product is good enough.

inline constexpr Heading verdict{
    "Is distilled.h5ad good enough?",
    "What this page says of the product, in short. A tick means: accuracy within {0:.0f} points of all train cells, "
    "and above random cells and means; no class that loses more than {0:.0f} points of recall; no class with a "
    "membership AUC surely above 0.6 (0.5 is a guess, 1 is certainty; the 95 % interval stands in brackets); a share "
    "of zeros within 10 points of real cells. An exclamation mark means: look closer."};
inline constexpr char const* and_more = "{} and {} more";

inline constexpr char const* about_accuracy = "Accuracy.";
inline constexpr char const* accuracy_of_product =
    "A linear classifier on the encoder's features that learned from these {} cells labels {:.2f} % of {} unseen real "
    "cells correctly.";
inline constexpr char const* accuracy_of_all = "One that learned from all train cells: {:.2f} %.";
inline constexpr char const* accuracy_of_random = "From as many random real cells: {:.2f} %.";
inline constexpr char const* means_do_as_well = "Means of real cells, which cost nothing, do as well ({:.2f} %).";

inline constexpr char const* about_gene_classifiers = "Classifiers of genes.";
inline constexpr char const* gene_classifiers =
    "CellTypist's classifier, trained on the set's expression, reaches {:.2f} %; logistic regression on all train "
    "cells reaches {:.2f} %.";
inline constexpr char const* set_for_gene_classifiers =
    "For classifiers of genes, ask for a set that is made for them: distill.matchings=head+genes.";

inline constexpr char const* about_classes = "Classes.";
inline constexpr char const* no_class_loses =
    "No class loses more than {:.0f} points of recall against all train cells.";
inline constexpr char const* classes_lose = "Recall falls by more than {:.0f} points against all train cells in {}.";
inline constexpr char const* class_that_loses = "{} ({:.0f} % instead of {:.0f} %)";
inline constexpr char const* class_that_loses_of = "{} ({:.0f} % instead of {:.0f} % of {} test cells)";
inline constexpr char const* hard_class = "{} ({:.0f} %)";
inline constexpr char const* hard_classes = "Found badly with all train cells too: {}.";

inline constexpr char const* about_leaks_of_file = "Does the file give cells away?";
inline constexpr char const* leaks_of_file = "Membership inference from its cells alone: AUC {}.";
inline constexpr char const* about_leaks_with_encoder = "And with foundation/?";
inline constexpr char const* leaks_with_encoder =
    "Together with the encoder: AUC {} by distance of features, {} by a classifier's confidence.";
inline constexpr char const* highest_leak = "It is highest in {} ({:.2f}).";
inline constexpr char const* no_leaks = "No class leaks.";
inline constexpr char const* leaks_in = "It leaks in {}.";
inline constexpr char const* copies = "{} of its cells are copies of real ones.";
inline constexpr char const* keep_encoder_private = "Keep foundation/ private where it matters who was in the atlas.";

inline constexpr char const* about_looks = "Do they look like cells?";
inline constexpr char const* zeros_of_distilled = "{:.0f} % of their values are zero; of real cells' {:.0f} %.";
inline constexpr char const* use_to_train_alone =
    "Train classifiers with them; do not test genes or model counts on them.";

// How to use what was made. Code, with the file and the column of labels quoted as Python has them.

inline constexpr Heading usage{"How to use it", "In Python; the files are plain h5ad."};
inline constexpr char const* classifier_of_genes = "a classifier of genes";
inline constexpr char const* measured_classifier_of_genes =
    "a classifier of genes (on this run's test cells {:.1f} % right)";
inline constexpr char const* use_distilled = R"(import scanpy as sc, celltypist

cells = sc.read_h5ad({0})
cells.X  # log1p of counts scaled to 10,000 per cell, float32: do not normalise again
cells.obs[{1}]  # their classes

# {2}
model = celltypist.train(cells, labels={1}, use_SGD=True)
sc.pp.normalize_total(yours, target_sum=1e4)  # cells to be labelled, from raw counts
sc.pp.log1p(yours)
celltypist.annotate(yours, model=model)
)";
inline constexpr char const* use_generated_alone = "import scanpy as sc\n\n";
inline constexpr char const* use_generated_too = "\n# new cells\n";
inline constexpr char const* use_generated_counts = "new = sc.read_h5ad({})  # X: whole counts, normalise as usual\n";
inline constexpr char const* use_generated_expression =
    "new = sc.read_h5ad({})  # X: log-normalised, do not normalise again\n";

// Classes, accuracy, confusion.

inline constexpr Heading classes{
    "Class by class",
    "Recall is the share of a class's real test cells that a linear classifier finds. The classifier learned from "
    "distilled.h5ad's kind of set, from all train cells, or from as many random cells (means over draws and heads). "
    "The class that loses most comes first, bold where it loses more than {:.0f} points. Good is a difference near 0 "
    "or above; with few test cells one cell is many points. Membership AUC: how well an outsider tells train cells "
    "from others, with the set and the encoder (the higher of two attacks) or with the set's cells alone; 0.5 is a "
    "guess, 1 certainty. Top 50 genes: how many per cent of the set's 50 highest fold changes are among the 50 best of "
    "the real cells (Wilcoxon); 100 would be all."};
inline constexpr Heading accuracy_of_one_size{
    "Accuracy on real test cells",
    "Accuracy (%) on real test cells of classifiers trained on each set, one picture per classifier; ± is one standard "
    "deviation over draws of a set (over heads where there is one draw). Good is a dot near the mark of all train "
    "cells and right of the real cells and their means."};
inline constexpr Heading accuracy_of_sizes{
    "Accuracy against size",
    "Accuracy on real test cells of classifiers trained on each set, one plot per classifier; bands are ± one standard "
    "deviation over draws of a set (over heads where there is one draw). Good is a solid line that begins high, near "
    "the dashed level of all train cells, and above the dashed lines of real cells and their means."};
inline constexpr char const* central_cells = "central real cells (medoid, kmeans)";
inline constexpr char const* means_of_cells = "means of real cells (class_mean, kmeans_mean)";
inline constexpr char const* random_cells = "random real cells";
inline constexpr char const* point_of_accuracy = "{} {}, {} per class: {:.2f} ± {:.2f} %";
inline constexpr char const* level_of_all = "all cells {:.1f}";
inline constexpr char const* level_of_genes = "genes of all {:.1f}";

inline constexpr Heading confusion{
    "Which classes are taken for which",
    "Real test cells by their true class (rows) and the class that the first head gave them "
    "(columns), in per cent of the row; hover for counts. Good is a strong diagonal, and off "
    "it the same confusions for the distilled set as for all cells: these lie in the data."};
inline constexpr char const* taken_for = "{} taken for {}: {} of {} test cells ({:.1f} %)";
inline constexpr char const* head_on_all = "A head trained on all train cells";
inline constexpr char const* head_on_set = "A head trained on {}";

// Maps of cells and expression.

inline constexpr Heading map{
    "Map of cells",
    "UMAP of the frozen encoder's features: small dots are {} real test cells drawn class by class "
    "(numbers drawn in brackets)."};
inline constexpr char const* marks_on_map =
    "Larger outlined marks are the {} distilled cells. Good is marks that lie in the cloud of their own colour; those "
    "of matching head may lie apart from all clouds: they teach a classifier differences and need not look like cells.";
inline constexpr char const* about_distances = "Distances between clouds mean little.";
inline constexpr Heading generated_map{
    "Map of real and generated cells",
    "One UMAP of {}, one picture per set: {} real test cells drawn class by class, and as many of each set, over the "
    "real cells in grey. They have the colour of the class that they were asked to be, or the colour of this text "
    "where they have none. Good is a colour that covers the cloud of its class, all of it and nothing else. Distances "
    "between clouds mean little."};
inline constexpr char const* space_of_comparison =
    "{} principal components of {} variable genes of the real test cells";

inline constexpr Heading markers{
    "Marker genes",
    "Mean log-normalised expression of up to three genes per class that stand out most in it "
    "among the 2,000 most variable ones, each gene from its lowest (empty) to its highest (full) "
    "real class mean. Good is the same picture twice."};
inline constexpr Heading variable_genes{
    "Most variable genes",
    "The same for the {} genes whose log-normalised expression varies most over real cells, whatever their class."};
inline constexpr char const* values_correlate = "The values shown correlate with {:.2f}.";

// Audits.

inline constexpr Heading leaks{
    "What each set gives away",
    "Membership inference: is a real cell one of those that the set was made from? AUC 0.5 is a guess, 1 certainty. By "
    "distance and by confidence an outsider has the set and the encoder (foundation/), so both count what the encoder "
    "remembers: random cells and class means show how much that is. By cells alone an outsider has only the file. A "
    "class leaks where the lower end of its 95 % interval is above 0.6; copies are cells of the set that equal a real "
    "one (random cells are). Bold: the product's kind. Good is 0.5, none and 0."};
inline constexpr Heading looks{
    "How like cells each set looks",
    "Means over classes. Good is a number like that of real cells beside it: zeros, genes detected (above the smallest "
    "real value; its range is the 5th to 95th percentile) and the median coefficient of variation of genes; 100 % of "
    "the top 50 genes of each class; and a rank correlation ρ of fold changes of 1."};
inline constexpr char const* all_of_audit = "All numbers of the audit, by the names that results.json has";
inline constexpr Heading rare_classes{
    "Rare classes",
    "Recall (%) in the classes with the fewest train cells, in which averages hide failures, by a linear classifier "
    "that learned from each set. Good is a recall near that of all train cells. Bold: the product's kind."};
inline constexpr char const* audit = "Audit: {}";
inline constexpr char const* paired_audit =
    "Differences in accuracy (points) between kinds of sets, draw by draw, with the 95 % interval "
    "and two tests. Good is a difference whose interval leaves out zero.";
inline constexpr char const* other_audit = "As retort-evaluate wrote it.";

// Tables of everything, and how it was made.

inline constexpr Heading rows{
    "All rows",
    "Every set and every baseline on real test cells. sd is over all heads; headroom is the part of "
    "the way from random cells to all cells (it means little where these two lie close); seconds "
    "are those of making a set and training on it; bold is the kind of the product. Good is a high "
    "macro F1 too, which counts rare classes as much as common ones."};
inline constexpr char const* rows_of_another = "The same sets under {}";
inline constexpr Heading names{
    "What the names mean",
    "A distilled set is named after what is optimised (its variant) and what is compared with real "
    "cells (its matching)."};
inline constexpr char const* foundation_model = "Foundation model (encoder and decoder)";
inline constexpr char const* autoencoder = "Autoencoder of counts";
inline constexpr char const* flow_of_latents = "scLDM's flow of latents";
inline constexpr char const* denoiser_of_features = "Diffusion (denoiser of features)";
inline constexpr char const* other_diffusion = "Diffusion ({})";
inline constexpr Heading losses{
    "Training of the networks",
    "Training loss against step (means of neighbouring steps). Good is a curve that falls fast and ends flat."};
inline constexpr Heading distillation{
    "Distillation, set by set",
    "Matching loss (above) and accuracy of heads on the held-out part of train (below) against step, one pair per kind "
    "of set. Lines are the first draw with every rate that was tried; dots are the states that were kept, one per "
    "draw. Good is a loss that falls while accuracy rises or stays."};
inline constexpr char const* kept_state = "kept of {}: rate {}, {} steps, loss {:.4g}, held out {:.2f} %";
inline constexpr Heading provenance{
    "How it was made",
    "{}. The programs in their order, with the seconds that their last settings took. Good is "
    "a run of which every part is finished."};
inline constexpr char const* same_again =
    "The same again, to the same numbers on any number of ranks; a stage that is done is skipped, and another "
    "run.folder makes all of it anew:";
inline constexpr char const* settings_of_stage = "retort-{}: settings and build";

}  // namespace retort::texts
