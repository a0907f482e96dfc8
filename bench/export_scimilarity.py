"""Writes a foundation/ of retort in the layout of a SCimilarity model folder.

usage: export_scimilarity.py FOUNDATION FOLDER
"""

import json
import pathlib
import struct
import sys

import torch
from inputs import missing

TYPES = {"F32": torch.float32, "I64": torch.int64}


def tensors(file: pathlib.Path) -> dict[str, torch.Tensor]:
    """safetensors, read as the format says; names and shapes are SCimilarity's already."""
    data = bytearray(file.read_bytes())
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    return {
        name: torch.frombuffer(
            data[8 + length + entry["data_offsets"][0] : 8 + length + entry["data_offsets"][1]],
            dtype=TYPES[entry["dtype"]],
        ).reshape(entry["shape"])
        for name, entry in header.items()
        if name != "__metadata__"
    }


def main() -> None:
    source, target = map(pathlib.Path, sys.argv[1:])
    if not (source / "encoder.safetensors").exists():
        missing(f"the foundation {source}", "it holds no encoder.safetensors", "Run retort-train-foundation")
    target.mkdir(parents=True, exist_ok=True)
    states = {half: tensors(source / f"{half}.safetensors") for half in ("encoder", "decoder")}
    for half, state in states.items():
        torch.save({"state_dict": state}, target / f"{half}.ckpt")
    (target / "gene_order.tsv").write_text("\n".join(json.loads((source / "config.json").read_text())["gene_names"]))
    (target / "layer_sizes.json").write_text(
        json.dumps({name: list(tensor.shape) for name, tensor in states["encoder"].items()})
    )


if __name__ == "__main__":
    main()
