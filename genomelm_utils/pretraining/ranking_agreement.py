"""How well two k-mer rankings agree, with intervals."""

from collections.abc import Sequence

import numpy as np
import pandas as pd


def compare_rankings(
    a: pd.DataFrame,
    b: pd.DataFrame,
    tops: Sequence[int] = (100,),
    *,
    n_resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """How well two rankings agree: Spearman's correlation, and the overlap of their first n words.

    Columns: measure ("spearman", "overlap_top_100" ...), value, ci_low, ci_high (95 % percentile
    bootstrap over words), expected_by_chance, n_words. Only words of both rankings are compared.
    The interval is too narrow for a claim about the genome: words overlap and come in
    reverse-complement pairs, so they are not independent draws.

    Args:
        a, b: rankings as `pmi.ranking` or the published file has them.
        tops: how many first words to compare; the overlap is a share of that number.
        n_resamples, seed: of the bootstrap.
    """
    shared = a[["ngram", "norm_pmi_rank_rel"]].merge(
        b[["ngram", "norm_pmi_rank_rel"]], on="ngram", suffixes=("_a", "_b")
    )
    n_words = len(shared)
    if n_words < max(2, *tops):
        raise ValueError(
            f"compare_rankings: {n_words} words are in both rankings, expected at least "
            f"{max(2, *tops)}; do both rank words of the same length?"
        )
    order_a = np.argsort(shared["norm_pmi_rank_rel_a"].to_numpy(), kind="stable")
    order_b = np.argsort(shared["norm_pmi_rank_rel_b"].to_numpy(), kind="stable")
    rng = np.random.default_rng(seed)
    weights = [
        np.bincount(rng.integers(n_words, size=n_words), minlength=n_words)
        for _ in range(n_resamples)
    ]
    value = _agreement(order_a, order_b, np.ones(n_words, dtype=np.int64), tops)
    draws = np.array([_agreement(order_a, order_b, weight, tops) for weight in weights])
    low, high = np.quantile(draws, (0.025, 0.975), axis=0)
    return pd.DataFrame(
        {
            "measure": ["spearman", *(f"overlap_top_{top}" for top in tops)],
            "value": value,
            "ci_low": low,
            "ci_high": high,
            "expected_by_chance": [0.0, *(top / n_words for top in tops)],
            "n_words": n_words,
        }
    )


def _agreement(
    order_a: np.ndarray, order_b: np.ndarray, weight: np.ndarray, tops: Sequence[int]
) -> list[float]:
    """Spearman and top overlaps when word i was drawn `weight[i]` times.

    Copies of a word share their mean rank, so that no resampled table has to be sorted.
    """
    last_a, last_b = np.empty_like(weight), np.empty_like(weight)
    last_a[order_a] = np.cumsum(weight[order_a])
    last_b[order_b] = np.cumsum(weight[order_b])
    rank_a, rank_b = last_a - (weight - 1) / 2, last_b - (weight - 1) / 2
    covariance = np.cov(rank_a, rank_b, fweights=weight)
    agreement = [covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])]
    for top in tops:
        # how many copies of each word lie within the first `top` draws
        in_a = np.clip(top - last_a + weight, 0, weight)
        in_b = np.clip(top - last_b + weight, 0, weight)
        agreement.append(np.minimum(in_a, in_b).sum() / top)
    return agreement
