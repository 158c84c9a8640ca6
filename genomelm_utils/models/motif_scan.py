"""Hits of many motifs in many sequences at once, where the sequences are: counts per sequence.

A window is a hit when its log-odds score has a p-value of at most a threshold in random bases, as
in FIMO (Grant et al. 2011, Bioinformatics 27:1017). Scores are whole numbers of 1/64 bit, so sums
are exact on any device and p-values are those of the very scores that are compared.

Shapes: B sequences, L bases, M motifs, W positions of the widest motif, N windows.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from genomelm_utils.models.promoter_blocks import PAD_CODE, one_hot
from genomelm_utils.sequences.alphabet import N_BASES

logger = logging.getLogger(__name__)

#: Parts of a bit. |score| of a position stays below 2^11, which even TF32 holds exactly.
UNITS_PER_BIT = 64
#: Added to every probability. Source: memelite, `fimo(eps=0.0001)`.
PSEUDOCOUNT = 1e-4
#: Source: FIMO's default, which Reddy et al. keep.
P_VALUE = 1e-4
_NO_HIT = -float(2**20)  # score of a position that holds no definite base
_VALUES_PER_BLOCK = 1 << 25  # scores held at a time


class NamedMotif(Protocol):
    """What is needed of a motif: `motifs.motif.Motif` is one."""

    @property
    def name(self) -> str: ...

    @property
    def probabilities(self) -> np.ndarray: ...


def motif_matrices(
    motifs: Mapping[str, np.ndarray] | Sequence[NamedMotif],
) -> dict[str, np.ndarray]:
    """Name -> float64 [w, 4] probabilities of A, C, G, T, rows made to sum to 1.

    motifs: matrices by name, or objects with `name` and `probabilities` (`motifs.formats`
    reads them from files). Raises: ValueError for no motif, two of one name, another shape, a
        negative number or a row without any probability.
    """
    pairs = (
        list(motifs.items())
        if isinstance(motifs, Mapping)
        else [(motif.name, motif.probabilities) for motif in motifs]
    )
    if not pairs:
        raise ValueError("no motif, expected at least one")
    found: dict[str, np.ndarray] = {}
    for name, matrix in pairs:
        rows_W4 = np.asarray(matrix, dtype=np.float64)
        if name in found:
            raise ValueError(f"two motifs are named {name!r}, expected names to differ")
        if rows_W4.ndim != 2 or rows_W4.shape[1] != N_BASES or not len(rows_W4):
            raise ValueError(
                f"motif {name!r} has shape {list(rows_W4.shape)}, expected [positions, 4] with at "
                "least one position"
            )
        sums_W = rows_W4.sum(1)
        wrong_W = ~(np.isfinite(rows_W4) & (rows_W4 >= 0)).all(1) | ~(sums_W > 0)
        if wrong_W.any():
            row = int(wrong_W.argmax())
            raise ValueError(
                f"motif {name!r}, position {row + 1}: {rows_W4[row].tolist()}, expected four "
                "numbers from 0 up, not all 0"
            )
        found[name] = rows_W4 / sums_W[:, None]
    return found


def integer_scores(matrix_W4: np.ndarray) -> np.ndarray:
    """int64 [w, 4]: log2 of (probability + pseudocount) over 1/4, in 1/64 bit."""
    odds_W4 = (matrix_W4 + PSEUDOCOUNT) * N_BASES
    return np.rint(UNITS_PER_BIT * np.log2(odds_W4)).astype(np.int64)


def score_tail(scores_W4: np.ndarray) -> tuple[int, np.ndarray]:
    """(lowest score, P(S >= lowest + i) for i = 0, 1, ...) of random bases, a quarter each.

    Source: Staden 1989, CABIOS 5:89; exact for whole-number scores.
    """
    lows_W = scores_W4.min(1)
    share = np.ones(1)
    for row_4, low in zip(scores_W4, lows_W, strict=True):
        wider = np.zeros(len(share) + int(row_4.max() - low))
        for score in row_4:
            wider[score - low : score - low + len(share)] += share / N_BASES
        share = wider
    return int(lows_W.sum()), share[::-1].cumsum()[::-1]


def score_threshold(scores_W4: np.ndarray, p_value: float = P_VALUE) -> float:
    """The lowest score that random bases reach with a chance of at most `p_value`.

    inf if even the best score is more common, as for motifs of fewer than seven positions at 1e-4.
    """
    low, tail = score_tail(scores_W4)
    passing = np.flatnonzero(tail <= p_value * (1 + 1e-9))  # sums of quarters, rounded
    return float(low + passing[0]) if len(passing) else float("inf")


class MotifScanner(nn.Module):
    """Counts of hits on both strands, float32 [B, M]; a palindrome's site counts twice, as in FIMO.

    A window with a base that is not definite, or beyond the end, is no hit. Matrices and
    thresholds are buffers: they are saved with a network and follow it to its device.
    """

    def __init__(self, n_motifs: int, max_width: int) -> None:
        super().__init__()
        self.register_buffer("filters", torch.zeros(2 * n_motifs, N_BASES + 1, max_width))
        self.register_buffer("thresholds", torch.full((n_motifs,), torch.inf))
        self.register_buffer("widths", torch.zeros(n_motifs, dtype=torch.int64))

    def init_parameters(self) -> None:
        """Motifs are given, not drawn (see `from_motifs`); empty ones never hit."""
        from transformers import initialization

        initialization.zeros_(self.filters)
        initialization.constant_(self.thresholds, torch.inf)
        initialization.zeros_(self.widths)

    @classmethod
    def from_motifs(
        cls,
        motifs: Mapping[str, np.ndarray] | Sequence[NamedMotif],
        p_value: float = P_VALUE,
    ) -> "MotifScanner":
        """A scanner of these motifs (see `motif_matrices`)."""
        matrices = motif_matrices(motifs)
        scanner = cls(len(matrices), max(map(len, matrices.values())))
        scanner.set_motifs(matrices, p_value)
        return scanner

    def set_motifs(self, matrices: Mapping[str, np.ndarray], p_value: float = P_VALUE) -> None:
        """Fill filters, widths and thresholds, in place; motifs too short to hit go to the log."""
        if not 0 < p_value < 1:
            raise ValueError(f"p_value is {p_value}, expected a chance in (0, 1), such as 1e-4")
        n_motifs = len(self.widths)
        for m, matrix_W4 in enumerate(matrices.values()):
            scores_W4 = integer_scores(matrix_W4)
            both = (scores_W4, scores_W4[::-1, ::-1])
            for row, strand_W4 in zip((m, m + n_motifs), both, strict=True):
                filled = torch.from_numpy(np.ascontiguousarray(strand_W4.T)).float()
                self.filters[row, :N_BASES, : len(scores_W4)] = filled
                self.filters[row, N_BASES, : len(scores_W4)] = _NO_HIT
            self.widths[m] = len(scores_W4)
            self.thresholds[m] = score_threshold(scores_W4, p_value)
        short = [name for m, name in enumerate(matrices) if self.thresholds[m] == torch.inf]
        if short:
            logger.warning(
                "%d of %d motifs can have no hit with p <= %g, so their counts are 0: %s",
                *(len(short), len(matrices), p_value, ", ".join(short)),
            )

    def scores(self, codes_BL: torch.Tensor) -> torch.Tensor:
        """float32 [B, 2M, L]: score of the window that begins at each base; + strands, then -."""
        width = self.filters.shape[-1]
        padded_BL = functional.pad(codes_BL, (0, width - 1), value=PAD_CODE)
        hot_BNL = one_hot(padded_BL)
        hot_BNL = torch.cat([hot_BNL, 1 - hot_BNL.sum(1, keepdim=True)], dim=1)
        with torch.autocast(codes_BL.device.type, enabled=False):
            return functional.conv1d(hot_BNL, self.filters)

    @torch.no_grad()
    def forward(self, codes_BL: torch.Tensor) -> torch.Tensor:
        n_motifs = len(self.widths)
        limits = self.thresholds.repeat(2)[:, None]
        per_row = len(self.filters) * codes_BL.shape[1]
        block = max(1, _VALUES_PER_BLOCK // per_row)
        parts = [(self.scores(rows) >= limits).sum(-1) for rows in codes_BL.split(block)]
        hits_BM = torch.cat(parts)
        return (hits_BM[:, :n_motifs] + hits_BM[:, n_motifs:]).float()

    @torch.no_grad()
    def keep_significant(self, codes_SL: torch.Tensor, max_q: float = 0.1) -> None:
        """Raise each motif's threshold, in place, to hits with q <= `max_q` among these sequences.

        q: Benjamini and Hochberg over all windows and strands of a motif. The set then only says
        where the threshold lies: what a sequence's count is depends on no other sequence, while
        FIMO's q-values depend on all that are scanned together. A motif without such a hit gets
        the threshold inf.
        Source: Benjamini & Hochberg 1995, J. R. Statist. Soc. B 57:289; Reddy et al.: q <= 0.1.
        """
        n_motifs, device = len(self.widths), self.filters.device
        definite = codes_SL < N_BASES
        found: list[list[np.ndarray]] = [[] for _ in range(n_motifs)]
        block = max(1, _VALUES_PER_BLOCK // (len(self.filters) * codes_SL.shape[1]))
        for rows in codes_SL.split(block):
            scores = self.scores(rows.to(device)).unflatten(1, (2, n_motifs))
            for m, limit in enumerate(self.thresholds.tolist()):
                own = scores[:, :, m]
                found[m].append(own[own >= limit].cpu().numpy())
        n_windows = {
            width: 2 * int((definite.unfold(1, width, 1).all(-1)).sum())
            for width in set(self.widths.tolist())
            if width <= codes_SL.shape[1]
        }
        for m, parts in enumerate(found):
            width = int(self.widths[m])
            scores_W4 = self.filters[m, :N_BASES, :width].T.cpu().numpy().astype(np.int64)
            low, tail = score_tail(scores_W4)
            own = np.sort(np.concatenate(parts).astype(np.int64))[::-1]
            expected = tail[own - low] * n_windows.get(width, 0)
            passing = np.flatnonzero(expected <= max_q * np.arange(1, len(own) + 1))
            self.thresholds[m] = float(own[passing[-1]]) if len(passing) else torch.inf


def count_motifs(
    codes_SL: torch.Tensor,
    motifs: Mapping[str, np.ndarray] | Sequence[NamedMotif],
    *,
    p_value: float = P_VALUE,
    max_q: float | None = None,
    device: str | torch.device = "cpu",
) -> np.ndarray:
    """int64 [S, M]: hits of each motif on both strands of each sequence.

    codes_SL: see `promoter_blocks.stack_codes`. max_q: keep hits that are significant among these
    sequences (`MotifScanner.keep_significant`); None: all with the p-value.
    """
    scanner = MotifScanner.from_motifs(motifs, p_value).to(device)
    if max_q is not None:
        scanner.keep_significant(codes_SL, max_q)
    parts = [scanner(rows.to(device)).long().cpu() for rows in codes_SL.split(1024)]
    return torch.cat(parts).numpy()
