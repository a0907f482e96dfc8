"""Structure-aware mutants of real files, read under AddressSanitizer and UndefinedBehaviorSanitizer.

usage: fuzz_test.py PROGRAM COUNT    exits 77 where the program was not built (tools/check builds it)"""

import os
import subprocess
import sys
import tempfile
import warnings

warnings.filterwarnings("ignore")
import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

PROGRAM, COUNT = sys.argv[1], sys.argv[2]
if not os.path.exists(PROGRAM):
    print("the sanitized build is not there")
    sys.exit(77)

with tempfile.TemporaryDirectory(prefix="retort_fuzz_") as folder:
    kidney = os.path.join(os.environ.get("RETORT_SHARED", ""), "data", "kidney_5685x2000.h5ad")
    if os.path.exists(kidney):
        real = ad.read_h5ad(kidney)[:60, :90].copy()
    else:
        real = ad.AnnData(sp.random(60, 90, 0.1, "csr", dtype=np.float32, random_state=1))
        real.X.data = np.ceil(real.X.data * 9)
    real.obs["kind"] = pd.Categorical(np.arange(60) % 4)
    real.obs["text"] = [f"t{i % 5}" for i in range(60)]
    real.obs["flag"] = np.arange(60) % 2 == 0
    real.obs["maybe"] = pd.array([None if i % 7 == 0 else i % 3 for i in range(60)], dtype="Int64")
    real.X = sp.csr_matrix(real.X)
    real.raw = real
    real.layers["counts"] = real.X.copy()
    for name, matrix in {"csr": real.X, "csc": real.X.tocsc(), "dense": real.X.toarray()}.items():
        seed = real.copy()
        seed.X = matrix
        seed.write_h5ad(os.path.join(folder, f"{name}.h5ad"), compression="gzip" if name == "csc" else None)
    done = subprocess.run(
        [PROGRAM, folder, COUNT],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0",
            "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
        },
    )
    print(done.stdout + done.stderr[-3000:])
    sys.exit(done.returncode != 0)
