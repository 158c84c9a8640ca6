"""One view of every trained model for attributions: base codes in, outputs out, gradients between.

`Explained` is what `attribution`, `mutagenesis` and `variants` know of a model. `explained_tokens`
makes one from a k-mer BERT classifier, an expression regressor, any Hugging Face classifier or an
encoder, `explained_bases` from a network of one-hot codes, `BlackBox` here from a function.

Shapes: S sequences, R rows (windows) of tokens, B rows of a batch, L positions of a padded row, D
width of a position, C outputs.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from genomelm_utils.tasks.windows import Codes

KINDS = ("classes", "values")
#: What is explained of each kind, the first by default: the log odds of a class against all others,
#: its probability, or the value.
SCALES = {"classes": ("log_odds", "probability"), "values": ("value",)}
#: What stands in place of a token where it is taken away; see `Explained.inputs`.
BASELINES = ("mean", "pad", "mask", "shuffle")


@dataclass(frozen=True)
class Rows:
    """Tokens of sequences, row by row; a sequence has one row, or several overlapping windows.

    sequence_R: int64, the sequence of each row. length_R: positions, special tokens included.
    spans: int64 [positions, 2] of each row, the bases of its sequence that a position reads, half
    open; empty (start = end) for special tokens. texts: of every position. lengths_S: bases. data:
    the model's own form of the rows.
    """

    sequence_R: np.ndarray
    length_R: np.ndarray
    spans: list[np.ndarray]
    texts: list[list[str]]
    lengths_S: np.ndarray
    data: Any

    def __len__(self) -> int:
        return len(self.sequence_R)

    @property
    def weight_R(self) -> np.ndarray:
        """float64 [R]: 1 / rows of the sequence; a sequence's output is the mean of its rows."""
        return 1 / np.bincount(self.sequence_R, minlength=len(self.lengths_S))[self.sequence_R]


@dataclass(frozen=True)
class Inputs:
    """A batch for `Explained.forward`: x_BLD and baseline_BLD (float), and what goes with them.

    read_BL: bool, positions that read bases: only there the two differ. first_B: column of each
    row's first position (above 0 where rows are padded on the left). extras: tensors [B, ...].
    """

    x_BLD: torch.Tensor
    baseline_BLD: torch.Tensor
    read_BL: torch.Tensor
    first_B: np.ndarray
    extras: tuple[torch.Tensor, ...]


class Explained(ABC):
    """A trained model as attributions see it.

    outputs: names of the columns. kind: 'classes' (outputs are logits) or 'values'. module: the
    network; None for a function. occlusion_window: positions that must go together for a base to be
    unseen (k for overlapping k-mers).
    """

    outputs: tuple[str, ...]
    kind: str
    module: nn.Module | None = None
    occlusion_window: int = 1

    @abstractmethod
    def predict(self, codes: Codes) -> np.ndarray:
        """Outputs float64 [S, C]: logits or values, as in use (both modes and devices as found)."""

    def rows(self, codes: Codes) -> Rows:
        """The tokens of these sequences; only of networks."""
        raise ValueError(f"{self._name()} has no tokens; take occlusion or mutagenesis")

    def inputs(self, rows: Rows, chosen_B: np.ndarray, baseline: str) -> Inputs:
        """Rows of a batch as numbers, and their baseline.

        baseline: 'mean' (each position that reads bases holds the mean of those of its row), 'pad'
        (the padding token; for one-hot codes zeros), 'mask' (the mask token), or 'shuffle' (the
        rows themselves: the caller brings rows of shuffled sequences).
        """
        raise ValueError(f"{self._name()} has no gradients; take occlusion or mutagenesis")

    def forward(self, x_BLD: torch.Tensor, *extras: torch.Tensor) -> torch.Tensor:
        """Outputs [B, C] of numbers in place of tokens; differentiable."""
        raise ValueError(f"{self._name()} has no gradients; take occlusion or mutagenesis")

    def _name(self) -> str:
        return type(self).__name__ if self.module is None else type(self.module).__name__


class BlackBox(Explained):
    """A function of base codes, such as a baseline: occlusion and mutagenesis only.

    call: list of base codes -> outputs [S, C]. For classes it must give logits (or log
    probabilities).
    """

    def __init__(
        self,
        call: Callable[[list[np.ndarray]], np.ndarray],
        outputs: Sequence[str],
        kind: str = "values",
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind is {kind!r}, expected {' or '.join(KINDS)}")
        self.call, self.outputs, self.kind = call, tuple(outputs), kind

    def predict(self, codes: Codes) -> np.ndarray:
        return np.asarray(self.call([np.asarray(one) for one in codes]), dtype=np.float64)


def pick_targets(model: Explained, outputs_SC: np.ndarray, target: Any) -> np.ndarray:
    """The output to explain of every sequence, int64 [S].

    target: None (the predicted class; the output, where there is one), a name, a number, or one
    number per sequence. Raises: ValueError naming the outputs for anything else.
    """
    n, n_outputs = outputs_SC.shape
    known = f"expected one of {', '.join(model.outputs)} (0 to {n_outputs - 1})"
    if target is None:
        if model.kind == "values" and n_outputs > 1:
            raise ValueError(f"target is missing, {known}")
        return outputs_SC.argmax(1)
    if isinstance(target, str):
        if target not in model.outputs:
            raise ValueError(f"target is {target!r}, {known}")
        target = model.outputs.index(target)
    target_S = np.asarray(target)
    if target_S.ndim == 0:
        target_S = np.full(n, target_S)
    if target_S.shape != (n,) or not np.issubdtype(target_S.dtype, np.integer):
        raise ValueError(f"targets of shape {target_S.shape} for {n} sequences, {known}")
    if ((target_S < 0) | (target_S >= n_outputs)).any():
        raise ValueError(f"target is {target_S.max()}, {known}")
    return target_S.astype(np.int64)


def pick_scale(model: Explained, scale: str | None) -> str:
    """The scale asked for, by default the first of the model's kind; ValueError for another."""
    known = SCALES[model.kind]
    if scale is None:
        return known[0]
    if scale not in known:
        raise ValueError(f"scale is {scale!r}, expected {' or '.join(known)} for {model.kind}")
    return scale


def score_outputs(outputs_BC: torch.Tensor, target_B: torch.Tensor, scale: str) -> torch.Tensor:
    """What is explained, [B]: see `SCALES`; differentiable."""
    if scale == "value":
        return outputs_BC.gather(1, target_B[:, None])[:, 0]
    if outputs_BC.shape[1] < 2:
        raise ValueError("a class among one output; say kind 'values', or give two logits")
    if scale == "probability":
        return outputs_BC.softmax(1).gather(1, target_B[:, None])[:, 0]
    own_B = outputs_BC.gather(1, target_B[:, None])[:, 0]
    others_BC = outputs_BC.scatter(1, target_B[:, None], float("-inf"))
    return own_B - others_BC.logsumexp(1)


def score_table(outputs_SC: np.ndarray, target_S: np.ndarray, scale: str) -> np.ndarray:
    """`score_outputs` of numpy arrays: float64 [S]."""
    outputs = torch.from_numpy(np.asarray(outputs_SC, dtype=np.float64))
    return score_outputs(outputs, torch.from_numpy(np.array(target_S)), scale).numpy()


def spread_to_bases(score_N: np.ndarray, span_N2: np.ndarray, length: int) -> np.ndarray:
    """float64 [L]: the score of each token in equal shares on the bases it reads; sums are kept.

    Overlapping tokens add up. Tokens without bases (special ones) give nothing.
    """
    width_N = span_N2[:, 1] - span_N2[:, 0]
    read_N = width_N > 0
    share_N = np.asarray(score_N, dtype=np.float64)[read_N] / width_N[read_N]
    steps = np.bincount(span_N2[read_N, 0], weights=share_N, minlength=length + 1)
    steps = steps - np.bincount(span_N2[read_N, 1], weights=share_N, minlength=length + 1)
    return np.cumsum(steps)[:length]


@contextmanager
def ready(module: nn.Module, place: torch.device) -> Iterator[None]:
    """Inside: the network on a device in evaluation mode, its weights without gradients.

    Mode, device and gradients of the weights are put back.
    """
    home = next(module.parameters()).device
    modes = [(one, one.training) for one in module.modules()]
    wanted = [(one, one.requires_grad) for one in module.parameters()]
    try:
        module.to(place).eval()
        for parameter, _ in wanted:
            parameter.requires_grad_(False)
        yield
    finally:
        module.to(home)
        for one, training in modes:
            one.training = training
        for parameter, value in wanted:
            parameter.requires_grad_(value)
