"""retort-ingest against scanpy on a real atlas; skipped where there is none."""

import anndata as ad
from ingest_runs import filtered, same


def test_a_real_atlas_is_what_scanpy_keeps(runs, ranks, kidney):
    atlas, _ = runs.atlas(ranks, [kidney], "--ingest.label", "cell_type")
    same(atlas, filtered(ad.read_h5ad(kidney)), ("cell_type",))
