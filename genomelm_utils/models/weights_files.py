"""Weights of a published or own checkpoint folder, as tensors by name.

Both files that such folders hold are read; code in a pickled one is never run.
"""

import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def weights_file(folder: Path) -> Path:
    """The folder's weights; FileNotFoundError naming what it holds instead."""
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    held = ", ".join(sorted(p.name for p in folder.iterdir())) or "nothing"
    raise FileNotFoundError(
        f"{folder} has no weights: expected {' or '.join(WEIGHTS)}, found {held}; download the "
        "weights file into it"
    )


def read_weights(file: Path) -> dict[str, torch.Tensor]:
    """Tensors by key, on the CPU; code in the file is never run (weights_only)."""
    try:
        if file.suffix == ".safetensors":
            weights = load_file(file, device="cpu")
        else:
            weights = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        start = file.open("rb").read(40)
        hint = "a Git LFS pointer" if start.startswith(b"version https://git-lfs") else "damaged"
        raise ValueError(
            f"{file} ({file.stat().st_size} bytes) holds no readable weights, it may be {hint} or "
            f"hold more than tensors: {error}; download it again"
        ) from error
    if not isinstance(weights, dict) or not all(
        isinstance(value, torch.Tensor) for value in weights.values()
    ):
        raise ValueError(f"{file} holds no table of tensors by name, expected a state dict")
    return weights
