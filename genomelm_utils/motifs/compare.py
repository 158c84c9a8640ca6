"""Found motifs against known ones: which known motif is it, and how sure is that? (Tomtom)

The comparison is memelite's Tomtom (Gupta et al. 2007, Genome Biol. 8:R24; "complete scores",
Tanaka et al. 2011, Bioinformatics 27:1603), the known motifs any that `motifs.formats` reads.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from genomelm_utils.motifs.motif import Motif

MATCH_COLUMNS = [
    *("motif", "consensus", "known", "known_name", "known_consensus", "p_value", "e_value"),
    *("q_value", "offset", "overlap", "strand"),
]


def match_motifs(
    found: Sequence[Motif], known: Sequence[Motif], n_best: int | None = None
) -> pd.DataFrame:
    """Every found motif against every known one, best first within each found motif.

    Columns: motif, consensus; known, known_name, known_consensus (turned to the matching strand);
    p_value of the best alignment of the two; e_value: times the number of known motifs; q_value:
    Benjamini and Hochberg over all pairs of this call; offset: position of the found motif at which
    the known one begins (negative: before it); overlap: positions in common; strand of the known
    one.

    Tomtom's p-values take the columns of all known motifs as background: with fewer than some 50
    they depend on the choice (memelite warns below 25). n_best: rows kept per found motif; q-values
    are taken before.

    Raises: ValueError for no motif on one of the sides.
    """
    from memelite import tomtom
    from scipy.stats import false_discovery_control

    if not found or not known:
        raise ValueError(
            f"{len(found)} found and {len(known)} known motifs, expected at least one of each"
        )
    queries, targets = ([one.probabilities.T for one in side] for side in (found, known))
    p, _, offsets, overlaps, strands = tomtom(queries, targets)
    p = np.clip(p, 0.0, 1.0)
    q = false_discovery_control(p, axis=None).reshape(p.shape)
    rows = []
    for i, one in enumerate(found):
        order = np.argsort(p[i], kind="stable")
        for j in order[: len(known) if n_best is None else n_best]:
            turned = bool(strands[i, j])
            other = known[j].reverse_complement() if turned else known[j]
            names = (one.name, one.consensus, other.name, other.alt_name, other.consensus)
            chances = (float(p[i, j]), float(p[i, j] * len(known)), float(q[i, j]))
            place = (-int(offsets[i, j]), int(overlaps[i, j]), "-" if turned else "+")
            rows.append((*names, *chances, *place))
    return pd.DataFrame(rows, columns=MATCH_COLUMNS)


def describe_matches(matches: pd.DataFrame, q_value: float = 0.05) -> str:
    """Sentences: what the best match of every found motif is, and which have none."""
    best = matches.groupby("motif", sort=False).head(1)
    matched = best[best["q_value"] <= q_value]
    told = [
        f"{row.motif} ({row.consensus}) is most like {row.known_name or row.known} "
        f"({row.known_consensus}), q = {row.q_value:.2g}"
        for row in matched.itertuples()
    ]
    others = best.loc[best["q_value"] > q_value, "motif"].tolist()
    if others:
        told.append(f"no known motif is like {', '.join(others)} (q above {q_value:g})")
    return "; ".join(told) + "."


def align_pair(found: Motif, known: Motif, match: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Both matrices on common positions: float64[U, 4] each, NaN where one does not reach.

    match: the row of `match_motifs` about them; the known motif is turned where its strand is -.
    """
    if (found.name, known.name) != (match["motif"], match["known"]):
        raise ValueError(
            f"the row is about {match['motif']!r} and {match['known']!r}, given are "
            f"{found.name!r} and {known.name!r}"
        )
    turned = known.reverse_complement() if match["strand"] == "-" else known
    first = min(0, match["offset"])
    end = max(found.width, match["offset"] + turned.width)
    pair = np.full((2, end - first, 4), math.nan)
    pair[0, -first : found.width - first] = found.probabilities
    begin = match["offset"] - first
    pair[1, begin : begin + turned.width] = turned.probabilities
    return pair[0], pair[1]
