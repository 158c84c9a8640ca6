"""TF-MoDISco: recurring patterns of base scores, through modisco-lite where it is installed.

Source: Shrikumar et al. 2018 (arXiv:1811.00416); https://github.com/jmschrei/tfmodisco-lite.

Shapes: S sequences, L bases, W positions of a pattern.
"""

from dataclasses import dataclass

import numpy as np

from genomelm_utils.interpretation.explained import Explained, pick_scale
from genomelm_utils.interpretation.mutagenesis import saturate, score_saturated
from genomelm_utils.sequences.alphabet import N_BASES
from genomelm_utils.tasks.windows import Codes

INSTALL = "pip install modisco-lite"


@dataclass(frozen=True)
class Pattern:
    """sign: 1 speaks for the explained output, -1 against. counts: float64 [W, 4] bases of its
    sites. scores: [W, 4] mean contribution. n_sites."""

    sign: int
    counts: np.ndarray
    scores: np.ndarray
    n_sites: int


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
    """Patterns, positive ones first, each kind by its number of sites.

    hypothetical_SL4: see `hypothetical_scores`, or gradients of one-hot codes. options: of
    modisco-lite's `TFMoDISco`. An empty list where too few stretches stand out (it wants 100).
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
    for sign, kind in zip((1, -1), found, strict=True):
        for one in kind or ():
            n_sites = len(one.seqlets)
            counts = np.asarray(one.sequence, dtype=np.float64) * n_sites
            patterns.append(Pattern(sign, counts, np.asarray(one.contrib_scores), n_sites))
    return sorted(patterns, key=lambda one: (-one.sign, -one.n_sites))
