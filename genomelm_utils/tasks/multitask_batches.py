"""Batches of several tasks, one of each in every step, as a pure function of the step.

An epoch ends with the shortest task ('min_size': others are cut there and shuffled anew) or with
the longest ('max_size_cycle': shorter ones begin again). The order of a task's rows hangs on (seed,
name, pass) alone, so it does not matter which other tasks there are, or in which order.

Source: Reddy et al. 2023, code (`train_mode`); Lightning's `CombinedLoader`.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from genomelm_utils.sequences.alphabet import ALPHABET

TRAIN_MODES = ("min_size", "max_size_cycle")
PAD = len(ALPHABET)  # fills rows up on the right; networks mask it


@dataclass(frozen=True)
class TaskRows:
    """Training rows of one task: inputs (base codes, or embeddings float32 [S, D]) and labels."""

    name: str
    inputs: list[np.ndarray] | np.ndarray
    labels_ST: np.ndarray
    batch_size: int

    @property
    def n_batches(self) -> int:
        """Batches of a pass. A last one of one row is left out: a norm over it is undefined."""
        n, rest = divmod(len(self.labels_ST), self.batch_size)
        return max(1, n + (rest > 1))


def epoch_steps(n_batches: Mapping[str, int], train_mode: str) -> int:
    """Steps of an epoch when tasks have so many batches; ValueError for an unknown mode."""
    if train_mode not in TRAIN_MODES:
        raise ValueError(f"train_mode is {train_mode!r}, expected one of {', '.join(TRAIN_MODES)}")
    return (min if train_mode == "min_size" else max)(n_batches.values())


def make_batches(
    rows: list[TaskRows], train_mode: str, seed: int
) -> tuple[Callable[[int, int], dict[str, Any]], int]:
    """((step, micro-batch) -> tensors as `MultiTask` takes them, steps of an epoch)."""
    n_batches = {one.name: one.n_batches for one in rows}
    steps = epoch_steps(n_batches, train_mode)
    for one in rows:
        if not len(one.labels_ST):
            raise ValueError(f"{one.name} has no training row, expected at least one")

    @lru_cache(maxsize=4 * len(rows))
    def order(name: str, n: int, turn: int) -> np.ndarray:
        return np.random.default_rng([seed, zlib.crc32(name.encode()), turn]).permutation(n)

    def batches(step: int, micro: int) -> dict[str, Any]:
        tensors: dict[str, Any] = {"n_targets": 1}
        for one in rows:
            if train_mode == "min_size":
                turn, at = divmod(step, steps)
            else:
                epoch, within = divmod(step, steps)
                per_epoch = -(-steps // one.n_batches)
                turn, at = divmod(within, one.n_batches)
                turn += epoch * per_epoch
            chosen = order(one.name, len(one.labels_ST), turn)
            chosen = chosen[at * one.batch_size : (at + 1) * one.batch_size]
            tensors[f"{one.name}/codes"] = stack_inputs(one.inputs, chosen)
            tensors[f"{one.name}/labels"] = torch.from_numpy(one.labels_ST[chosen])
        return tensors

    return batches, steps


def stack_inputs(inputs: list[np.ndarray] | np.ndarray, rows: np.ndarray) -> torch.Tensor:
    """Rows below each other: embeddings as they are, base codes uint8 [B, L] filled up on the right
    (one byte per base; the network makes one-hot codes on its device)."""
    if isinstance(inputs, np.ndarray):
        return torch.from_numpy(inputs[rows])
    chosen = [inputs[row] for row in rows]
    length = max(map(len, chosen))
    if all(len(one) == length for one in chosen):
        return torch.from_numpy(np.stack(chosen))
    codes_BL = np.full((len(chosen), length), PAD, dtype=np.uint8)
    for filled, one in zip(codes_BL, chosen, strict=True):
        filled[: len(one)] = one
    return torch.from_numpy(codes_BL)


def length_batches(length_S: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Row numbers of batches for evaluation: rows of about equal length together."""
    order = np.argsort(length_S, kind="stable")
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
