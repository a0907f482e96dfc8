"""The peer of retort-embed: the same encoder, dense float32, in PyTorch. Prints one JSON line.

usage: embed_peer.py ATLAS.h5ad MODEL_FOLDER FEATURES.h5ad [--threads 2] [--cells 4000]
Times the forward pass of dense batches alone, and the whole of densify + normalise + forward; compares with FEATURES.
"""

import argparse
import json
import time

import anndata
import numpy as np
import torch
from safetensors.torch import load_file

parser = argparse.ArgumentParser()
parser.add_argument("atlas")
parser.add_argument("model")
parser.add_argument("features")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--cells", type=int, default=4000)
arguments = parser.parse_args()
torch.set_num_threads(arguments.threads)

weights = load_file(f"{arguments.model}/encoder.safetensors")
layers = []
count = sum(key.endswith("running_mean") for key in weights)
for i in range(count):
    out, width = weights[f"network.{i}.1.weight"].shape
    block = torch.nn.Sequential(
        torch.nn.Dropout(0.5), torch.nn.Linear(width, out), torch.nn.BatchNorm1d(out), torch.nn.PReLU()
    )
    block.load_state_dict(
        {key.split(".", 2)[2]: value for key, value in weights.items() if key.startswith(f"network.{i}.")}, strict=False
    )
    layers.append(block)
head = torch.nn.Linear(weights[f"network.{count}.weight"].shape[1], weights[f"network.{count}.weight"].shape[0])
head.load_state_dict({"weight": weights[f"network.{count}.weight"], "bias": weights[f"network.{count}.bias"]})
encoder = torch.nn.Sequential(*layers, head).eval()

atlas = anndata.read_h5ad(arguments.atlas)
counts = atlas.X[: arguments.cells].astype(np.float32)
forward = whole = 0.0
features = []
with torch.inference_mode():
    for begin in range(0, counts.shape[0], 256):
        start = time.perf_counter()
        dense = torch.from_numpy(counts[begin : begin + 256].toarray())
        dense = torch.log1p(dense / dense.sum(1, keepdim=True).clamp_min(1) * 1e4)
        ready = time.perf_counter()
        latent = torch.nn.functional.normalize(encoder(dense), dim=1)
        end = time.perf_counter()
        forward += end - ready
        whole += end - start
        features.append(latent)
found = anndata.read_h5ad(arguments.features).obsm["X_retort"][: arguments.cells]
ours, theirs = np.asarray(found, dtype=np.float64), torch.cat(features).numpy().astype(np.float64)
difference = float(np.abs(theirs - ours).max())
cosine = (theirs * ours).sum(1) / np.linalg.norm(theirs, axis=1) / np.linalg.norm(ours, axis=1)
print(
    json.dumps(
        {
            "forward_cells_per_second": counts.shape[0] / forward,
            "whole_cells_per_second": counts.shape[0] / whole,
            "largest_difference": difference,
            "largest_cosine_error": float((1 - cosine).max()),
        }
    )
)
