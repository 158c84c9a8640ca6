"""Spans of k-mer tokens that grow from drawn centres: the masking schemes.

Neighbouring k-mer tokens share k-1 bases, so a span of k masked tokens hides one base and a span of
2k-1 hides k. The schemes differ in which spans are wide (2k-1 tokens; the others have k):

| scheme | wide spans |
|---|---|
| `contiguous` | none (DNABERT) |
| `genemask` | the half of the centres with the best rank (highest PMI) among their k candidates |
| `genemask_reference` | as released: ranks the *position number*, not the sequence; n <= 8: all |
| `genemask_worst` | anti-control: `genemask` with the ranking turned round |
| `span11` | control: `genemask` with a random number per position in place of the rank |
| `curriculum` | easy to hard: from `genemask_worst` (progress 0) to `genemask` (progress 1) |

Positions count `[CLS]` as 0, so the n tokens of a row are 1..n. Everything works on whole batches,
on CPU or CUDA.

Letters: B rows, L positions, N centres of the whole batch, K candidates of a centre, S positions of
a span, V vocabulary.

Sources: DNABERT (Ji et al. 2021) for `contiguous`; GeneMask (Roy et al., ECAI 2023, arXiv
2307.15933) and its released code for `genemask` and `genemask_reference`; CM-GEMS (Roy et al., ECAI
2024) for the idea of a curriculum, whose masking code is not public. The controls are ours.
"""

import difflib
from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch

from genomelm_utils.tokenizers.kmer import N_SPECIAL, vocab_size

# Source: released GeneMask code; a smaller half is widened to all centres of the row
REFERENCE_MIN_HIGH = 5

Score = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (row, position) -> lower is better


@dataclass(frozen=True)
class Rows:
    """What a scheme may look at: the batch, the ranking, chance, and the training's progress."""

    ids_BL: torch.Tensor
    lengths_B: torch.Tensor
    k: int
    ranks_V: torch.Tensor | None = None
    generator: torch.Generator | None = None
    progress: float = 0.0


Scheme = Callable[[torch.Tensor, Rows], torch.Tensor]


def spans_from_centres(
    ids_BL: torch.Tensor,
    lengths_B: torch.Tensor,
    centres_BL: torch.Tensor,
    *,
    scheme: str,
    ranks_V: torch.Tensor | None = None,
    k: int = 6,
    generator: torch.Generator | None = None,
    progress: float = 0.0,
) -> torch.Tensor:
    """bool[B, L]: the masked tokens that a scheme grows from given centres.

    centres_BL: bool, true at tokens only. The generator is used by `span11` alone.
    """
    check_choice("scheme", scheme, SCHEMES)
    if not 0 <= progress <= 1:
        raise ValueError(f"progress is {progress}, expected the share of the training in [0, 1]")
    if scheme in RANKED_SCHEMES and ranks_V is None:
        raise ValueError(
            f"{scheme} ranks {k}-mers and needs ranks_V (see `masking.ranks_by_token`)"
        )
    if ranks_V is not None and len(ranks_V) != vocab_size(k):
        raise ValueError(
            f"ranks_V has {len(ranks_V)} entries, expected one per token id: {vocab_size(k)} "
            f"for k = {k} (see `masking.ranks_by_token`)"
        )
    ranks_V = None if ranks_V is None else ranks_V.to(ids_BL.device)
    rows = Rows(ids_BL, lengths_B, k, ranks_V, generator, progress)
    return SCHEMES[scheme](centres_BL, rows)


def maskable(lengths_B: torch.Tensor, n_positions: int) -> torch.Tensor:
    """bool[B, L]: tokens, neither `[CLS]` nor `[SEP]` nor padding."""
    position_L = torch.arange(n_positions, device=lengths_B.device)
    return (position_L >= 1) & (position_L < lengths_B[:, None] - 1)


def check_choice(name: str, value: str, choices: Collection[str]) -> None:
    """Raise ValueError, with the choices and the nearest one, unless the value is among them."""
    if value not in choices:
        close = difflib.get_close_matches(str(value), choices, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(choices)}{hint}")


def _contiguous(centres_BL: torch.Tensor, rows: Rows) -> torch.Tensor:
    """Every centre becomes k masked tokens, which hide one base.

    Source: DNABERT: offsets -2..3 for k = 6, -2..2 for 5, -1..2 for 4, -1..1 for 3, cut to the row.
    """
    n_positions = centres_BL.shape[1]
    masked_BL = torch.zeros_like(centres_BL)
    for offset in _block_offsets(rows.k):
        left, right = max(offset, 0), min(n_positions, n_positions + offset)
        masked_BL[:, left:right] |= centres_BL[:, left - offset : right - offset]
    return masked_BL & maskable(rows.lengths_B, n_positions)


def _genemask(centres_BL: torch.Tensor, rows: Rows) -> torch.Tensor:
    """As the paper describes: n centres, the ceil(n/2) with the best-ranked candidate are wide."""
    return _widen_half(centres_BL, rows, _rank_tokens(rows, _content_ranks(rows)))


def _genemask_worst(centres_BL: torch.Tensor, rows: Rows) -> torch.Tensor:
    """`genemask` with the order turned round: low PMI is sought, in candidates and in centres."""
    return _widen_half(centres_BL, rows, _rank_tokens(rows, -_content_ranks(rows)))


def _genemask_reference(centres_BL: torch.Tensor, rows: Rows) -> torch.Tensor:
    """As released: the position number is decoded as a token id and that k-mer's rank is used.

    So the choice is the same for every sequence. Positions that decode to special tokens have rank
    0, better than every k-mer. Up to 8 centres all are wide, from 9 on the better half.
    """
    assert rows.ranks_V is not None
    n_positions = centres_BL.shape[1]
    if n_positions > len(rows.ranks_V):
        raise ValueError(
            f"genemask_reference reads positions as token ids: rows of {n_positions} ids need a "
            f"vocabulary at least as large, found {len(rows.ranks_V)}; use k = 6 or `genemask`"
        )
    ranks_L = rows.ranks_V[:n_positions].to(torch.float32, copy=True)
    ranks_L[:N_SPECIAL] = 0
    return _widen_half(
        centres_BL, rows, lambda _, position: ranks_L[position], min_high=REFERENCE_MIN_HIGH
    )


def _span11(centres_BL: torch.Tensor, rows: Rows) -> torch.Tensor:
    """The control for `genemask`: span lengths and their overlaps alike, without PMI.

    Every position gets a random number in place of its k-mer's rank and everything else is as in
    `genemask`. So, as there, wide spans lie around a candidate rather than around the centre, and
    neighbouring centres that share their best candidate merge: widening a random half of the
    centres by independent draws would not match these overlaps.
    """
    scores_BL = torch.rand(centres_BL.shape, generator=rows.generator, device=rows.lengths_B.device)
    return _widen_half(centres_BL, rows, lambda row, position: scores_BL[row, position])


def _curriculum(centres_BL: torch.Tensor, rows: Rows) -> torch.Tensor:
    """Easy to hard by PMI: the sought rank moves from the lowest PMI to the highest with progress.

    Wide are the ceil(n/2) centres with a candidate nearest to the sought rank. So the number of
    wide spans, and with it the masked and hidden shares, stays the same over the training; only the
    k-mers change, from those that are weakly bound to those whose letters predict one another.
    This is a choice of this project after the idea of CM-GEMS.
    """
    ranks_V = _content_ranks(rows)
    best, worst = ranks_V[N_SPECIAL:].aminmax()
    sought = best + (1 - rows.progress) * (worst - best)
    return _widen_half(centres_BL, rows, _rank_tokens(rows, (ranks_V - sought).abs()))


SCHEMES: dict[str, Scheme] = {
    "contiguous": _contiguous,
    "span11": _span11,
    "genemask": _genemask,
    "genemask_reference": _genemask_reference,
    "genemask_worst": _genemask_worst,
    "curriculum": _curriculum,
}
RANKED_SCHEMES = tuple(name for name in SCHEMES if name not in ("contiguous", "span11"))


def _widen_half(
    centres_BL: torch.Tensor,
    rows: Rows,
    score: Score,
    min_high: int = 0,
) -> torch.Tensor:
    """Contiguous spans, and for the half of each row's centres with the lowest scores 2k-1 tokens.

    A wide span lies around the centre's best candidate; on a tie the centre wins, then the offsets
    in the order -2, -1, 1, 2, 3 (for k = 6).
    min_high: a half smaller than this takes all centres of the row.
    """
    row_N, centre_N = centres_BL.nonzero(as_tuple=True)
    end_N1 = rows.lengths_B[row_N, None] - 2
    offsets = sorted(_block_offsets(rows.k), key=lambda offset: (offset != 0, offset))
    # a candidate beyond the row's ends is moved to the end, which is another candidate anyway
    candidates_NK = _clip(centre_N[:, None] + centre_N.new_tensor(offsets), end_N1)
    scores_NK = score(row_N[:, None], candidates_NK)
    best_N1 = scores_NK.argmin(dim=1, keepdim=True)  # the first of equals
    high_N = _pick_half(scores_NK.gather(1, best_N1)[:, 0], row_N, centres_BL.sum(1), min_high)

    middle_N1 = candidates_NK.gather(1, best_N1)[high_N]
    span_NS = _clip(middle_N1 + torch.arange(1 - rows.k, rows.k).to(middle_N1), end_N1[high_N])
    masked_BL = _contiguous(centres_BL, rows)
    masked_BL[row_N[high_N, None], span_NS] = True
    return masked_BL


def _pick_half(
    score_N: torch.Tensor, row_N: torch.Tensor, n_centres_B: torch.Tensor, min_high: int
) -> torch.Tensor:
    """bool[N]: whether a centre is among the ceil(n/2) lowest scores of its row; stable on ties."""
    order_N = score_N.argsort(stable=True)
    order_N = order_N[row_N[order_N].argsort(stable=True)]
    # row_N is sorted, so in this order centre i of the batch lies in row row_N[i]
    first_B = n_centres_B.cumsum(0) - n_centres_B
    place_N = torch.arange(len(row_N), device=row_N.device) - first_B[row_N]
    n_high_B = (n_centres_B + 1) // 2
    n_high_B = torch.where(n_high_B < min_high, n_centres_B, n_high_B)
    return torch.zeros_like(row_N, dtype=torch.bool).scatter_(0, order_N, place_N < n_high_B[row_N])


def _rank_tokens(rows: Rows, scores_V: torch.Tensor) -> Score:
    """A score by the token that stands at a position; special tokens come after all k-mers."""
    scores_V = scores_V.clone()
    scores_V[:N_SPECIAL] = torch.inf
    return lambda row, position: scores_V[rows.ids_BL[row, position]]


def _content_ranks(rows: Rows) -> torch.Tensor:
    assert rows.ranks_V is not None
    return rows.ranks_V.float()  # exact below 2**24, more than any vocabulary here


def _block_offsets(k: int) -> range:
    """The k offsets of a plain span: -2..3 for k = 6, -1..1 for k = 3."""
    return range(-((k - 1) // 2), k // 2 + 1)


def _clip(position_NS: torch.Tensor, end_N1: torch.Tensor) -> torch.Tensor:
    """Positions moved into 1..end of their rows."""
    return torch.minimum(position_NS.clamp(min=1), end_N1)
