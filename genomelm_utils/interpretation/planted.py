"""Do attributions point at what is known to matter? Planted positions against all others.

Shapes: S sequences, L bases.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from genomelm_utils.evaluation.metrics import average_precision, roc_auc
from genomelm_utils.evaluation.statistics import mean_interval

RANDOM = "chance"


def recovery_table(
    scores: Mapping[str, Sequence[np.ndarray]], truth: Sequence[np.ndarray]
) -> pd.DataFrame:
    """One row per method: method, auprc, low, high, auroc, chance, times, n.

    scores: method -> scores of every base, float [L] per sequence, high = important. truth: bool
    [L] per sequence, where something is planted; a sequence without any is left out (n counts the
    others). auprc: area under precision and recall of the bases of a sequence, mean over sequences
    with its 95 % interval. chance: the share of planted bases, what random scores get in long
    sequences (in short ones a little more: give `random_scores` as a method); times: auprc over
    chance.
    Raises: ValueError where nothing is planted, or lengths differ.
    """
    used = [s for s, one in enumerate(truth) if 0 < np.sum(one) < len(one)]
    if not used:
        raise ValueError(
            f"none of {len(truth)} sequences has both planted and other bases; there is nothing to "
            "recover"
        )
    chance = float(np.mean([np.mean(truth[s]) for s in used]))
    rows = []
    for method, found in scores.items():
        if len(found) != len(truth) or any(len(found[s]) != len(truth[s]) for s in used):
            raise ValueError(f"scores of {method} do not have one number per base of the truth")
        auprc_S = [average_precision(found[s], truth[s]) for s in used]
        auroc = float(np.mean([roc_auc(np.asarray(found[s]), truth[s]) for s in used]))
        interval = mean_interval(auprc_S, unit="sequence")
        rows.append(
            {
                "method": method,
                "auprc": interval.mean,
                "low": interval.low,
                "high": interval.high,
                "auroc": auroc,
                "chance": chance,
                "times": interval.mean / chance,
                "n": len(used),
            }
        )
    return pd.DataFrame(rows)


def random_scores(truth: Sequence[np.ndarray], seed: int) -> list[np.ndarray]:
    """Uniform random scores of the same lengths: the baseline beside every method."""
    rng = np.random.default_rng(seed)
    return [rng.random(len(one)) for one in truth]


def describe_recovery(table: pd.DataFrame) -> str:
    """A sentence: the best and the worst method, with intervals, against chance."""
    is_random = table["method"] == RANDOM
    random, table = table[is_random], table[~is_random]
    best, worst = table.loc[table["auprc"].idxmax()], table.loc[table["auprc"].idxmin()]
    n_above = int((table["low"] > table["chance"]).sum())
    told = (
        f"Planted bases against all others, mean of {int(best['n'])} sequences: {best['method']} "
        f"has the largest AUPRC, {best['auprc']:.3f} [{best['low']:.3f}, {best['high']:.3f}]"
    )
    if len(table) > 1:
        told += (
            f", {worst['method']} the smallest, {worst['auprc']:.3f} [{worst['low']:.3f}, "
            f"{worst['high']:.3f}]"
        )
    drawn = f" (random scores {random['auprc'].iloc[0]:.3f})" if len(random) else ""
    return (
        f"{told}; chance is {best['chance']:.3f}{drawn}, and {n_above} of {len(table)} methods lie "
        "above it with their whole interval."
    )
