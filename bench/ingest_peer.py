"""The peer of retort-ingest: read, filter, permute rows, split, write with anndata and scanpy. Prints one JSON line.

usage: ingest_peer.py IN.h5ad LABEL OUT.h5ad
"""

import json
import resource
import sys
import time

import anndata
import numpy as np
import scanpy

source, label, target = sys.argv[1:]
start = time.perf_counter()
atlas = anndata.read_h5ad(source)
scanpy.pp.filter_cells(atlas, min_counts=10)
scanpy.pp.filter_genes(atlas, min_cells=3)
random = np.random.default_rng(0)
atlas = atlas[random.permutation(atlas.n_obs)].copy()
test = np.zeros(atlas.n_obs, dtype=bool)
for name in atlas.obs[label].unique():
    rows = np.flatnonzero(atlas.obs[label] == name)
    test[random.permutation(rows)[: round(0.3 * len(rows))]] = True
atlas.obs["split"] = np.where(test, "test", "train")
atlas.write_h5ad(target)
print(
    json.dumps(
        {
            "seconds": time.perf_counter() - start,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
            "cells": atlas.n_obs,
            "genes": atlas.n_vars,
        }
    )
)
