"""TF-MoDISco: recurring patterns of base scores as motifs, through modisco-lite where installed.

Source: Shrikumar et al. 2018 (arXiv:1811.00416); https://github.com/jmschrei/tfmodisco-lite.

Shapes: S sequences, L bases, W positions of a pattern.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from genomelm_utils.interpretation.explained import Explained, pick_scale
from genomelm_utils.interpretation.mutagenesis import saturate, score_saturated
from genomelm_utils.motifs.motif import SITE_COLUMNS, Motif
from genomelm_utils.sequences.alphabet import N_BASES, decode, reverse_complement
from genomelm_utils.tasks.windows import Codes

INSTALL = 'pip install -e ".[modisco]"'
#: Of the largest contribution of a position: flanks below it are cut off. Source: modisco-lite's
#: report, `trim_threshold`.
TRIM_SHARE = 0.3
PATTERN_COLUMNS = ("pattern", "sign", "consensus", "n_sites", "n_sequences", "contribution")


@dataclass(frozen=True)
class Pattern:
    """motif: bases of its sites (no score, no p). sign: 1 speaks for the explained output, -1
    against. scores_W4: mean contribution."""

    motif: Motif
    sign: int
    scores_W4: np.ndarray


def is_installed() -> bool:
    """Whether modisco-lite can be imported."""
    from importlib.util import find_spec

    return find_spec("modiscolite") is not None


def hypothetical_scores(
    model: Explained, codes: Codes, target: int, scale: str | None = None
) -> np.ndarray:
    """float64 [S, L, 4]: the effect of each base at each place, less the mean of the four there.

    From saturation mutagenesis, so for any model; 0 at ambiguous bases. Times the one-hot codes
    they are contributions. Raises: ValueError for sequences of different lengths.
    """
    lengths = {len(one) for one in codes}
    if len(lengths) != 1:
        raise ValueError(f"TF-MoDISco reads sequences of one length, found {sorted(lengths)[:5]}")
    targets_S = np.full(len(codes), target)
    scored = np.stack(score_saturated(saturate(model, codes), targets_S, pick_scale(model, scale)))
    return np.nan_to_num(scored - scored.mean(axis=2, keepdims=True))


def find_patterns(
    codes: Codes, hypothetical_SL4: np.ndarray, *, max_seqlets: int = 2000, **options: object
) -> list[Pattern]:
    """Patterns, positive ones first, each kind by its number of sites; weak flanks are cut off.

    hypothetical_SL4: see `hypothetical_scores`, or gradients of one-hot codes. options: of
    modisco-lite's `TFMoDISco`. An empty list where too few stretches stand out (it wants 100), as
    in sequences of 60 bp, where every stretch holds something.
    Raises: ImportError with the command where modisco-lite is missing; ValueError for shapes.
    """
    hot_SL4 = (np.asarray(list(codes))[..., None] == np.arange(N_BASES)).astype(np.float64)
    if hot_SL4.shape != hypothetical_SL4.shape:
        raise ValueError(
            f"scores have shape {hypothetical_SL4.shape}, expected {hot_SL4.shape}: sequences of "
            "one length, four scores per base"
        )
    if not is_installed():
        raise ImportError(f"TF-MoDISco needs modisco-lite, which is not installed: {INSTALL}")
    from modiscolite.tfmodisco import TFMoDISco

    found = TFMoDISco(
        one_hot=hot_SL4, hypothetical_contribs=hypothetical_SL4,
        max_seqlets_per_metacluster=max_seqlets, **options,
    )  # fmt: skip
    patterns = []
    for sign, word, kind in zip((1, -1), ("for", "against"), found, strict=True):
        by_size = sorted(kind or (), key=lambda one: -len(one.seqlets))
        patterns += [
            _as_pattern(one, f"{word}_{number}", sign, codes)
            for number, one in enumerate(by_size, start=1)
        ]
    return patterns


def pattern_table(patterns: Sequence[Pattern]) -> pd.DataFrame:
    """A row per pattern; contribution: mean over its sites, summed over its positions."""
    rows = [
        (
            *(one.motif.name, one.sign, one.motif.consensus, len(one.motif.sites)),
            *(one.motif.sites["index"].nunique(), float(one.scores_W4.sum())),
        )
        for one in patterns
    ]
    return pd.DataFrame(rows, columns=list(PATTERN_COLUMNS))


def describe_patterns(table: pd.DataFrame, n_sequences: int) -> str:
    """A sentence: how many patterns there are, and the largest."""
    told = f"TF-MoDISco on {n_sequences:,} sequences: {len(table)} patterns"
    if table.empty:
        return f"{told}: too few stretches of 21 bp stand out from a majority that does not."
    first = table.iloc[table["n_sites"].argmax()]
    side = "for" if first["sign"] > 0 else "against"
    return (
        f"{told}; the largest, {first['consensus']}, speaks {side} the class at {first['n_sites']} "
        f"sites in {first['n_sequences']} sequences."
    )


def _as_pattern(found, name: str, sign: int, codes: Codes) -> Pattern:
    """What modisco-lite calls a SeqletSet, without its weak flanks."""
    scores_W4 = np.asarray(found.contrib_scores, dtype=np.float64)
    strength_W = np.abs(scores_W4).sum(axis=1)
    strong = np.flatnonzero(strength_W >= TRIM_SHARE * strength_W.max())
    first, last = int(strong[0]), int(strong[-1])
    rows, width = [], len(scores_W4)
    for one in found.seqlets:
        cut = (width - 1 - last, width - first) if one.is_revcomp else (first, last + 1)
        start, end = one.start + cut[0], one.start + cut[1]
        word = codes[one.example_idx][start:end]
        word = reverse_complement(word) if one.is_revcomp else word
        strand, index = "-" if one.is_revcomp else "+", int(one.example_idx)
        rows.append((str(index), index, start, end, strand, np.nan, np.nan, decode(word)))
    counts_W4 = np.asarray(found.sequence, dtype=np.float64)[first : last + 1] * len(rows)
    sites = pd.DataFrame(rows, columns=SITE_COLUMNS)
    return Pattern(Motif(name, counts_W4, sites=sites), sign, scores_W4[first : last + 1])
