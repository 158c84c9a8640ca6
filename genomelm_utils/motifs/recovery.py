"""Found sites against planted ones: which motif was found, how many of its sites, how many false.

A site is a planted one if their middles are at most `WITHIN_BP` apart, whatever the strand.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from genomelm_utils.motifs.motif import Motif

#: Half of the shortest motif is three bases: middles further apart than four are another place.
WITHIN_BP = 4
RECOVERY_COLUMNS = [
    *("planted", "motif", "consensus", "n_planted", "n_true", "n_missed", "n_false"),
    *("recall", "recall_low", "recall_high", "precision", "precision_low", "precision_high"),
]


def score_sites(
    sites: pd.DataFrame, truth: pd.DataFrame, within_bp: float = WITHIN_BP
) -> tuple[int, int]:
    """(planted sites found, false sites).

    sites, truth: columns index (of the sequence), start, end. Two found sites at one planted site
    are one planted site found and no false one.
    """
    pairs = sites.assign(site=range(len(sites))).merge(truth, on="index", suffixes=("", "_true"))
    off = (pairs["start"] + pairs["end"] - pairs["start_true"] - pairs["end_true"]).abs() / 2
    hits = pairs[off <= within_bp]
    found = hits[["index", "start_true", "end_true"]].drop_duplicates()
    return len(found), len(sites) - hits["site"].nunique()


def recovery_table(found: Sequence[Motif], truth: pd.DataFrame) -> pd.DataFrame:
    """One row per planted motif, `RECOVERY_COLUMNS`: the found motif that has most of its sites.

    truth: motif, index, start, end. n_false: sites of the found motif that are none of the planted
    one. recall = n_true / n_planted, precision = sites that are true / sites of the motif, both
    with Wilson's 95 % interval. Where no found motif has a single one of the sites, `motif` is
    empty and precision NaN.
    """
    rows = []
    for name, planted in truth.groupby("motif", sort=False):
        scored = [(*score_sites(one.sites, planted), one) for one in found]
        scored = [one for one in scored if one[0]]
        if not scored:
            none = share_interval(0, len(planted))
            rows.append((name, "", "", len(planted), 0, len(planted), 0, *none, *[np.nan] * 3))
            continue
        n_true, n_false, best = max(scored, key=lambda one: one[0])
        n_sites = len(best.sites)
        counts = (len(planted), n_true, len(planted) - n_true, n_false)
        shares = share_interval(n_true, len(planted)), share_interval(n_sites - n_false, n_sites)
        rows.append((name, best.name, best.consensus, *counts, *shares[0], *shares[1]))
    return pd.DataFrame(rows, columns=RECOVERY_COLUMNS)


def share_interval(n_hits: int, n: int) -> tuple[float, float, float]:
    """(share, low, high): n_hits of n with Wilson's 95 % interval; NaN for n = 0.

    Source: Wilson 1927, J. Am. Stat. Assoc. 22:209.
    """
    if not n:
        return float("nan"), float("nan"), float("nan")
    from scipy.stats import binomtest

    interval = binomtest(int(n_hits), int(n)).proportion_ci(0.95, method="wilson")
    return n_hits / n, float(interval.low), float(interval.high)


def describe_recovery(table: pd.DataFrame) -> str:
    """A sentence on `recovery_table`: of every planted motif the sites found, and false ones."""
    told = []
    for row in table.itertuples():
        if not row.motif:
            told.append(f"{row.planted} was not found")
            continue
        told.append(
            f"{row.planted} as {row.consensus}: {row.n_true} of {row.n_planted} sites "
            f"({row.recall:.0%}), {row.n_false} false"
        )
    return f"Planted motifs: {'; '.join(told)}."
