"""Networks of one-hot codes as `Explained`: promoter networks, and any other with a call of one's
own.

Shapes: S sequences, B rows of a batch, L bases, 4 bases A, C, G, T, C outputs.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from genomelm_utils.interpretation.explained import KINDS, Explained, Inputs, Rows, ready
from genomelm_utils.sequences.alphabet import ALPHABET, N_BASES
from genomelm_utils.tasks.windows import Codes, batch_by_length
from genomelm_utils.training.device import choose_device

BASES_PER_BATCH = 16_384
PAD_CODE = len(ALPHABET)  # fills rows of a batch behind the end of a sequence
ONE_HOT = "one_hot"  # the function that promoter networks make their input with

#: (one-hot [B, 4, L], base codes [B, L] filled up with `PAD_CODE`) -> outputs [B, C].
Call = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class OneHotNetwork(Explained):
    """A network that reads bases: one position of width four for each.

    call: see `Call`; it must read the first argument for what it differentiates. kind: 'classes'
    (logits) or 'values'. Baseline 'pad' is zeros, 'mean' each sequence's own composition. A network
    that normalises its input jumps at zeros, so that no number of steps sums up there: take 'mean'.
    Ambiguous bases are zeros. batched: False runs sequences of different lengths apart.
    """

    def __init__(
        self,
        module: nn.Module,
        call: Call,
        outputs: Sequence[str],
        kind: str = "values",
        *,
        batched: bool = True,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind is {kind!r}, expected {' or '.join(KINDS)}")
        self.module, self.call, self.kind = module, call, kind
        self.outputs, self.batched = tuple(outputs), batched

    def predict(self, codes: Codes) -> np.ndarray:
        rows = self.rows(codes)
        out_SC = np.empty((len(rows), len(self.outputs)))
        place, _ = choose_device()
        with ready(self.module, place), torch.no_grad():
            for chosen_B in batch_by_length(rows.length_R, BASES_PER_BATCH):
                for part_B in self._alike(rows, chosen_B):
                    batch = self.inputs(rows, part_B, "pad")
                    found_BC = self.forward(batch.x_BLD.to(place), batch.extras[0].to(place))
                    out_SC[part_B] = found_BC.double().cpu().numpy()
        return out_SC

    def _alike(self, rows: Rows, chosen_B: np.ndarray) -> list[np.ndarray]:
        """The rows of a batch, together or, where they may not be padded, length by length."""
        if self.batched:
            return [chosen_B]
        length_B = rows.length_R[chosen_B]
        return [chosen_B[length_B == length] for length in np.unique(length_B)]

    def rows(self, codes: Codes) -> Rows:
        sequences = [np.asarray(one) for one in codes]
        lengths_S = np.array([len(one) for one in sequences], dtype=np.int64)
        if not len(sequences) or not lengths_S.min():
            raise ValueError(f"{len(sequences)} sequences, an empty one among them or none at all")
        starts = [np.arange(length) for length in lengths_S]
        spans = [np.stack([start, start + 1], axis=1) for start in starts]
        texts = [[ALPHABET[code] for code in one.tolist()] for one in sequences]
        return Rows(np.arange(len(sequences)), lengths_S, spans, texts, lengths_S, sequences)

    def inputs(self, rows: Rows, chosen_B: np.ndarray, baseline: str) -> Inputs:
        if baseline == "mask":
            raise ValueError("baseline 'mask': bases have no mask token; take 'mean' or 'pad'")
        width = int(rows.length_R[chosen_B].max())
        codes_BL = np.full((len(chosen_B), width), PAD_CODE, dtype=np.uint8)
        for filled, row in zip(codes_BL, chosen_B, strict=True):
            filled[: rows.length_R[row]] = rows.data[row]
        codes = torch.from_numpy(codes_BL)
        x_BL4 = functional.one_hot(codes.long(), PAD_CODE + 1)[..., :N_BASES].float()
        read_BL = codes != PAD_CODE
        baseline_BL4 = torch.zeros_like(x_BL4)
        if baseline == "mean":
            n_B11 = x_BL4.sum((1, 2)).clamp(min=1)[:, None, None]
            baseline_BL4 = (x_BL4.sum(1, keepdim=True) / n_B11) * read_BL[..., None]
        zeros_B = np.zeros(len(chosen_B), dtype=np.int64)
        return Inputs(x_BL4, baseline_BL4, read_BL, zeros_B, (codes,))

    def forward(self, x_BLD: torch.Tensor, *extras: torch.Tensor) -> torch.Tensor:
        return self.call(x_BLD.transpose(1, 2), extras[0])


def explain_promoter_net(
    network: Any, task: str | None = None, kind: str = "values"
) -> OneHotNetwork:
    """A `PromoterNet` (stage 08) of one-hot codes, and the head of one task.

    Networks that make their one-hot codes by a function `one_hot` of their module read ours while
    they are explained. Those that read k-mers or motif hits let no gradient through: occlusion and
    mutagenesis explain them (`attribute` says so).
    """
    task = network.pick_task(task)

    def call(x_B4L: torch.Tensor, codes_BL: torch.Tensor) -> torch.Tensor:
        with replaced_one_hot(network, x_B4L, codes_BL):
            return network(codes_BL, task=task).logits

    return OneHotNetwork(network, call, network.outputs(task), kind)


@contextmanager
def replaced_one_hot(
    network: nn.Module, x_B4L: torch.Tensor, codes_BL: torch.Tensor
) -> Iterator[None]:
    """Inside, `one_hot` of the modules that the network's layers come from gives x_B4L.

    Where a layer puts flanks around the sequence, only the sequence is replaced.
    """
    names = {type(one).__module__ for one in network.modules()}
    modules = [sys.modules[name] for name in names if hasattr(sys.modules[name], ONE_HOT)]
    before = [(module, getattr(module, ONE_HOT)) for module in modules]

    def make(original: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def one_hot(placed_BL: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
            hot_B4P = original(placed_BL, *args, **options)
            first = find_first(placed_BL, codes_BL)
            after = hot_B4P.shape[-1] - first - x_B4L.shape[-1]
            parts = [
                hot_B4P[..., :first],
                x_B4L.to(hot_B4P),
                hot_B4P[..., first + x_B4L.shape[-1] :],
            ]
            return torch.cat(parts, dim=-1) if first or after else x_B4L.to(hot_B4P)

        return one_hot

    try:
        for module, original in before:
            setattr(module, ONE_HOT, make(original))
        yield
    finally:
        for module, original in before:
            setattr(module, ONE_HOT, original)


def find_first(placed_BL: torch.Tensor, codes_BL: torch.Tensor) -> int:
    """The column at which the sequences stand in rows that may have flanks around them."""
    width = codes_BL.shape[1]
    for first in range(placed_BL.shape[1] - width + 1):
        if torch.equal(placed_BL[:, first : first + width].to(codes_BL.dtype), codes_BL):
            return first
    raise ValueError(
        f"the network reads {placed_BL.shape[1]} bases that do not hold the {width} of the "
        "sequences; it cannot be explained by gradients: take occlusion or mutagenesis"
    )
