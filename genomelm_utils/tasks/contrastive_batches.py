"""Batches for contrastive training: windows to token ids, and which rows are mixed with which.

A step's batch of pairs is cut into one piece per process; whatever is random is drawn for the whole
batch from (seed, step), so that the pieces fit together.
Letters: B pairs of the whole batch, R pairs of one process, V strands read of a window, L tokens.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from genomelm_utils.sequences.alphabet import reverse_complement
from genomelm_utils.tasks.views import PairsLike, check_method, make_views
from genomelm_utils.tokenizers.bpe import pad_batch, tokenize_codes
from genomelm_utils.training.prefetch import Batch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PARTNER_INDEX = ("global", "replica")
#: What is read of a window: its mean over both strands, one strand drawn by chance, the one given.
STRANDS = ("both", "random", "forward")
MANIFOLD = -1  # mix_layer: another layer in every step

_MIXING = 7  # a stream of random numbers of its own


class PairSource(Protocol):
    """Pairs of windows as a pure function, such as `datasets.species_pairs.PairSampler`."""

    def pairs(self, step: int, start: int, stop: int) -> PairsLike:
        """The pairs of rows `start` to `stop` of a step."""
        ...


@dataclass(frozen=True)
class MixingDraw:
    """Who is mixed with whom in a batch.

    partner_B: int64, row of the batch mixed in. label_B: int64, row of the batch that the loss
    takes for it; another only where the released defect is repeated. weight_B: float32, share of
    the row itself. layer_B: int64, layers already applied, one number per group.
    """

    partner_B: torch.Tensor
    label_B: torch.Tensor
    weight_B: torch.Tensor
    layer_B: torch.Tensor


def draw_mixing(
    n_pairs: int,
    group: int,
    n_layers: int,
    *,
    seed: int,
    step: int,
    layer: int = MANIFOLD,
    alpha: float = 1.0,
    partner_index: str = "global",
) -> MixingDraw:
    """Partners, weights and layer of a step: a pure function of its arguments.

    Rows are mixed inside groups of consecutive rows, which are encoded together; a row can be its
    own partner. Weights are Beta(alpha, alpha), turned so that the row itself has at least half.
    Only the partners depend on the groups (and with "replica" the layers).

    Args:
        n_pairs: rows of the whole batch. group: rows of a group; the last may be smaller.
        layer: 0 (the embeddings: i-Mix) to n_layers - 1; `MANIFOLD` draws one of them.
        partner_index: "global" counts labels in the whole batch. "replica" repeats the released
            training on several GPUs, where each counts from 0 within its group, so that most labels
            name a row of the first group, and where groups draw different layers.
    Raises: ValueError for a layer or a partner_index that does not exist.
    Source: Zhou et al. 2024 (arXiv:2402.08777), section 3.3; released `mixup`.
    """
    check_mixing(layer, n_layers, partner_index)
    rng = np.random.default_rng([seed, step, _MIXING])
    # drawn before the permutations, so that they do not depend on the groups
    common_layer = rng.integers(n_layers)
    weight_B = rng.beta(alpha, alpha, size=n_pairs)
    starts = range(0, n_pairs, group)
    own = [rng.permutation(min(group, n_pairs - start)) for start in starts]
    partner_B = np.concatenate([start + rows for start, rows in zip(starts, own, strict=True)])
    layers = np.full(len(own), common_layer if layer == MANIFOLD else layer)
    if layer == MANIFOLD and partner_index == "replica":
        layers = rng.integers(n_layers, size=len(own))
    label_B = partner_B if partner_index == "global" else np.concatenate(own)
    return MixingDraw(
        torch.from_numpy(partner_B),
        torch.from_numpy(label_B),
        torch.from_numpy(np.maximum(weight_B, 1 - weight_B)).float(),
        torch.from_numpy(np.repeat(layers, [len(rows) for rows in own])),
    )


def check_mixing(layer: int, n_layers: int, partner_index: str) -> None:
    """Nothing for settings that `draw_mixing` can follow; ValueError says what is expected."""
    if not MANIFOLD <= layer < n_layers:
        raise ValueError(
            f"mix_layer is {layer}, expected 0 to {n_layers - 1} (layers already applied), or "
            f"{MANIFOLD} for another one in every step"
        )
    if partner_index not in PARTNER_INDEX:
        raise ValueError(
            f"partner_index is {partner_index!r}, expected one of: {', '.join(PARTNER_INDEX)}"
        )


class PairBatches:
    """(step, micro) -> one process's share of a batch of pairs, for `training.loop.fit`.

    Args:
        pairs: where the windows come from.
        tokenizer: of `tokenizers.bpe`.
        batch_pairs: pairs of the whole batch. n_processes: pieces that it is cut into.
        chunk_pairs: pairs that are encoded, and mixed, together; 0: a process's share, which is
            refused for mixtures in several processes (`check_mixing_groups`).
        max_tokens: longer rows are cut, [CLS] and [SEP] included.
        n_layers: of the model; given, batches come with what mixing needs.
        mix_layer, mix_alpha, partner_index: as in `draw_mixing`.
        first_step: number of the first step, for a phase that follows another.
        method, reference_views: as in `tasks.views.make_views`.
        strands: one of `STRANDS`. With both, as contigs are embedded later, the network need not
            learn that strands mean the same, at twice the work; "forward" is the published way.
        ambiguous: as in `tokenizers.bpe.tokenize_codes`.
    Raises: ValueError when the batch cannot be cut into equal shares, or these into whole chunks,
        or partners would depend on the number of processes.
    """

    def __init__(
        self,
        pairs: PairSource,
        tokenizer: "PreTrainedTokenizerFast",
        *,
        batch_pairs: int,
        seed: int,
        n_processes: int = 1,
        chunk_pairs: int = 0,
        max_tokens: int = 2000,
        n_layers: int | None = None,
        mix_layer: int = MANIFOLD,
        mix_alpha: float = 1.0,
        partner_index: str = "global",
        first_step: int = 0,
        method: str = "same_species",
        strands: str = "both",
        reference_views: bool = False,
        ambiguous: str = "unk",
    ) -> None:
        check_method(method)
        check_strands(strands)
        self.share = check_shares(batch_pairs, n_processes, chunk_pairs)
        self.pairs, self.tokenizer, self.seed = pairs, tokenizer, seed
        self.batch_pairs, self.chunk = batch_pairs, chunk_pairs or self.share
        self.max_tokens, self.first_step, self.ambiguous = max_tokens, first_step, ambiguous
        self.strands = strands
        self.views = {
            "method": method,
            "turn_windows": strands == "random",
            "reference": reference_views,
        }
        self.mixing: Callable[[int], MixingDraw] | None = None
        if n_layers is not None:
            check_mixing(mix_layer, n_layers, partner_index)
            check_mixing_groups(self.share, n_processes, chunk_pairs)
            self.mixing = lambda step: draw_mixing(
                batch_pairs,
                self.chunk,
                n_layers,
                seed=seed,
                step=step,
                layer=mix_layer,
                alpha=mix_alpha,
                partner_index=partner_index,
            )

    def __call__(self, step: int, micro: int) -> Batch:
        """The tensors for `ContrastiveTask`, with `n_targets` (pairs) and `n_tokens`."""
        step += self.first_step
        start = micro * self.share
        found = self.pairs.pairs(step, start, start + self.share)
        first, second = make_views(found, seed=self.seed, step=step, start=start, **self.views)
        first_ids, first_mask = self._tokenize(first)
        second_ids, second_mask = self._tokenize(second)
        batch = {
            "first_ids": first_ids,
            "first_mask": first_mask,
            "second_ids": second_ids,
            "second_mask": second_mask,
            "species": torch.as_tensor(np.asarray(found.species), dtype=torch.int64),
            "n_targets": self.share,
            "n_tokens": int(first_mask.sum() + second_mask.sum()),
        }
        return batch if self.mixing is None else {**batch, **self._cut_mixing(step, start)}

    def _tokenize(self, windows: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
        read = read_strands(windows, self.strands)
        ids = tokenize_codes(
            self.tokenizer, read, ambiguous=self.ambiguous, max_tokens=self.max_tokens
        )
        rows_and_strands = (len(windows), -1)
        return tuple(
            tensor.unflatten(0, rows_and_strands)
            for tensor in pad_batch(ids, self.tokenizer.pad_token_id)
        )

    def _cut_mixing(self, step: int, start: int) -> Batch:
        """This share of the mixing; partners counted within their chunk, as encoding wants them."""
        draw, rows = self.mixing(step), slice(start, start + self.share)
        return {
            "mix_partner": draw.partner_B[rows] % self.chunk,
            "mix_label": draw.label_B[rows],
            "mix_weight": draw.weight_B[rows],
            "mix_layer": draw.layer_B[rows],
        }


def read_strands(windows: Sequence[np.ndarray], strands: str) -> list[np.ndarray]:
    """What is tokenised of the windows: for "both", each followed by its reverse complement."""
    if strands != "both":
        return list(windows)
    return [read for codes in windows for read in (codes, reverse_complement(codes))]


def check_strands(strands: str) -> None:
    """Nothing for one of `STRANDS`; ValueError names the choices."""
    if strands not in STRANDS:
        raise ValueError(f"strands is {strands!r}, expected one of: {', '.join(STRANDS)}")


def check_shares(batch_pairs: int, n_processes: int, chunk_pairs: int) -> int:
    """The pairs of each process; ValueError where a batch cannot be shared out evenly."""
    if batch_pairs < 2 or batch_pairs % n_processes:
        raise ValueError(
            f"batch_pairs is {batch_pairs}, expected at least 2 and a multiple of the "
            f"{n_processes} processes"
        )
    share = batch_pairs // n_processes
    if chunk_pairs < 0 or (n_processes > 1 and chunk_pairs and share % chunk_pairs):
        raise ValueError(
            f"chunk_pairs is {chunk_pairs}, expected 0 or a divisor of the {share} pairs of each "
            f"of the {n_processes} processes: rows are mixed inside chunks"
        )
    return share


def check_mixing_groups(share: int, n_processes: int, chunk_pairs: int) -> None:
    """Nothing where partners do not depend on the number of processes; else ValueError.

    share: pairs of each process.
    """
    if n_processes > 1 and not chunk_pairs:
        raise ValueError(
            f"chunk_pairs is 0 for mixtures in {n_processes} processes, whose rows would be mixed "
            f"in other groups than in one process: take {share}, the pairs of each process, or a "
            "divisor of it, and the same with any number of processes"
        )
