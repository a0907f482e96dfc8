"""Structure-aware mutants of real files, read under AddressSanitizer and UndefinedBehaviorSanitizer.

--programs names the folder of the sanitized build, --mutants how many; skipped where the program was not built."""

import os
import subprocess

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp


@pytest.fixture(scope="module")
def mutations(programs):
    program = os.path.join(programs, "h5ad_mutations")
    if not os.path.exists(program):
        pytest.skip("the sanitized build is not there (tools/check builds it)")
    return program


@pytest.fixture(scope="module")
def real():
    """Cells with columns of every kind: real counts, where there is a folder of data."""
    kidney = os.path.join(os.environ.get("RETORT_SHARED", ""), "data", "kidney_5685x2000.h5ad")
    if os.path.exists(kidney):
        made = ad.read_h5ad(kidney)[:60, :90].copy()
    else:
        made = ad.AnnData(sp.random(60, 90, 0.1, "csr", dtype=np.float32, random_state=1))
        made.X.data = np.ceil(made.X.data * 9)
    made.obs["kind"] = pd.Categorical(np.arange(60) % 4)
    made.obs["text"] = [f"t{i % 5}" for i in range(60)]
    made.obs["flag"] = np.arange(60) % 2 == 0
    made.obs["maybe"] = pd.array([None if i % 7 == 0 else i % 3 for i in range(60)], dtype="Int64")
    made.X = sp.csr_matrix(made.X)
    made.raw = made
    made.layers["counts"] = made.X.copy()
    return made


def test_mutants_are_read_or_refused_without_a_fault(mutations, real, tmp_path, request):
    for name, matrix in {"csr": real.X, "csc": real.X.tocsc(), "dense": real.X.toarray()}.items():
        seed = real.copy()
        seed.X = matrix
        seed.write_h5ad(tmp_path / f"{name}.h5ad", compression="gzip" if name == "csc" else None)
    sanitizers = {
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    }
    count = str(request.config.getoption("--mutants"))
    done = subprocess.run(
        [mutations, tmp_path, count], capture_output=True, text=True, env={**os.environ, **sanitizers}
    )
    print(done.stdout)
    assert done.returncode == 0, done.stderr[-3000:]
