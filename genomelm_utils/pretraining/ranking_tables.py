"""Rankings of k-mers laid side by side: the tables and sentences of notebook 02."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from genomelm_utils.pretraining import pmi
from genomelm_utils.pretraining.ranking_agreement import compare_rankings

if TYPE_CHECKING:
    from genomelm_utils.pretraining.ngrams import NgramCounts

SCORE = "norm_dp_true_pmi"
END_WORDS = 1000  # words looked at on either end of a ranking


def describe_orders(counts: "NgramCounts") -> pd.DataFrame:
    """One row per n: possible words, words seen, their share, and the occurrences counted."""
    return pd.DataFrame(
        [
            {
                "n_bases": n,
                "possible_words": 4**n,
                "words_seen": int((table > 0).sum()),
                "share_seen": float((table > 0).mean()),
                "occurrences": int(table.sum()),
                "mean_count": float(table.mean()),
            }
            for n, table in sorted(counts.counts.items())
        ]
    )


def join_scores(a: pd.DataFrame, b: pd.DataFrame, name_a: str, name_b: str) -> pd.DataFrame:
    """Words of both rankings: `ngram`, `score_x`, `score_y`, and their names `name_x`, `name_y`."""
    both = a[["ngram", SCORE]].merge(b[["ngram", SCORE]], on="ngram", suffixes=("_x", "_y"))
    both = both.rename(columns={f"{SCORE}_x": "score_x", f"{SCORE}_y": "score_y"})
    return both.assign(name_x=name_a, name_y=name_b)


def describe_scores(scores: pd.DataFrame) -> str:
    """A sentence about two scores of the same words, as `join_scores` gives them."""
    rho = scores["score_x"].corr(scores["score_y"], method="spearman")
    top = scores.loc[scores["score_y"].idxmax(), "ngram"]
    cpg = scores["ngram"].str.contains("CG")
    below = (scores.loc[cpg, "score_y"] < scores.loc[~cpg, "score_y"].median()).mean()
    return (
        f"{scores['name_y'].iloc[0]} against {scores['name_x'].iloc[0]}, {len(scores):,} words, "
        f"Spearman {rho:.3f}; the best word is {top}; {100 * below:.0f} % of the CpG words lie "
        "below the median of the others."
    )


def compare_all_rankings(
    rankings: dict[str, pd.DataFrame], tops: Sequence[int] = (100,), *, seed: int = 0
) -> pd.DataFrame:
    """`compare_rankings` for every pair of named rankings, with columns `a` and `b` in front.

    A top longer than half of the words that two rankings share (3-mers: 32) is cut to that half.
    """
    words = {name: set(ranking["ngram"]) for name, ranking in rankings.items()}
    parts = []
    for a, b in combinations(rankings, 2):
        half = max(len(words[a] & words[b]) // 2, 1)
        fitting = dict.fromkeys(min(top, half) for top in tops)
        table = compare_rankings(rankings[a], rankings[b], list(fitting), seed=seed)
        parts.append(table.assign(a=a, b=b))
    table = pd.concat(parts, ignore_index=True)
    return table[["a", "b", *[c for c in table.columns if c not in ("a", "b")]]]


def read_published(path: Path, k: int) -> dict[str, pd.DataFrame]:
    """The published ranking as `published`, and the corrected formula on its own counts.

    The counts are those hidden in the file (`pmi.recover_counts`). Raises ValueError unless its
    words have k bases.
    """
    from genomelm_utils.pretraining.ngrams import infer_ngrams

    published = pmi.read_published_ranking(path)
    found = len(published["ngram"].iloc[0])
    if found != k:
        raise ValueError(
            f"{path}: ranks words of {found} bases, expected k = {k}; set k to {found}"
        )
    counts = infer_ngrams(pmi.recover_counts(published))
    return {"published": published, "published, corrected": pmi.ranking(counts, k)}


def recompute_published(published: pd.DataFrame) -> pd.DataFrame:
    """How closely the reference mode gives back a published ranking's score columns.

    The counts are those hidden in the file (`pmi.recover_counts`). Columns: `column`, `n_words`,
    `largest_difference` (nats).
    """
    scores = pmi.reference_scores(pmi.recover_counts(published))
    both = published.merge(scores, on="ngram", suffixes=("_published", "_here"))
    return pd.DataFrame(
        [
            {
                "column": column,
                "n_words": len(both),
                "largest_difference": (both[f"{column}_published"] - both[f"{column}_here"])
                .abs()
                .max(),
            }
            for column in ("naive.pmi", "dp.true.pmi", SCORE)
        ]
    )


def describe_rankings(
    rankings: dict[str, pd.DataFrame],
    counts: pd.DataFrame,
    planted: Sequence[str] | None = None,
) -> pd.DataFrame:
    """What each ranking prefers: one row per ranking and quantity (`ranking`, `quantity`, `value`).

    Quantities: Spearman's correlation of score and count; the share of CpG words among the first
    and the last `END_WORDS`; and, with the words planted in a simulated genome, the area under the
    ROC curve of planted against other words by score (0.5 = planted words are nowhere special).

    counts: `ngram` and `count`, for rankings that do not carry their own.
    """
    rows = []
    for name, ranking in rankings.items():
        table = ranking[["ngram", SCORE]].merge(counts[["ngram", "count"]], on="ngram")
        table = table.sort_values(SCORE, ascending=False, kind="stable")
        cpg = table["ngram"].str.contains("CG")
        end = min(END_WORDS, len(table) // 2)
        values = {
            "Spearman of score and count": table[SCORE].corr(table["count"], method="spearman"),
            f"share of CpG words in the first {end}": cpg.head(end).mean(),
            f"share of CpG words in the last {end}": cpg.tail(end).mean(),
        }
        if planted is not None:
            values["AUC of planted motif words"] = _auc(table[SCORE], table["ngram"].isin(planted))
        rows += [{"ranking": name, "quantity": q, "value": float(v)} for q, v in values.items()]
    return pd.DataFrame(rows)


def _auc(score: pd.Series, positive: pd.Series) -> float:
    """Area under the ROC curve by rank sums (Mann & Whitney 1947); NaN without both classes."""
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    if not n_positive or not n_negative:
        return float("nan")
    rank_sum = score.rank()[positive].sum()
    return float((rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * n_negative))


def top_words(rankings: dict[str, pd.DataFrame], n: int = 10) -> pd.DataFrame:
    """The first n words of each ranking in columns, best first; empty where one has fewer."""
    columns = {name: r["ngram"].head(n).reset_index(drop=True) for name, r in rankings.items()}
    return pd.DataFrame(columns).fillna("")
