"""How well is promoter activity predicted? Per cell, at both ends, between cells, for its noise.

One test set scores one model: intervals there are over sequences (whole clusters of similar ones,
where they are given), the same resamples for all models. Several seeds or splits are several such
tables: `summarise_seeds` and `compare_strategies` put intervals over those.

Shapes: S sequences, C outputs (cells), K clusters, R resamples.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from genomelm_utils.evaluation.regression_moments import (
    cluster_codes,
    draw_clusters,
    quantile_interval,
    resample_ranks,
    resample_scores,
    row_sums,
)
from genomelm_utils.evaluation.statistics import check_columns, compare_all, interval_table

MEAN = "mean"
METRICS = ("r", "rho", "R2")
#: 'top': labels above the 90th percentile of the test set; 'bottom': below the 10th; 'ends': both.
#: Source: Reddy et al. 2023 (bioRxiv 2023.02.24.529941), code, final report.
SUBSETS = ("all", "top", "bottom", "ends")
DECILES = (10, 90)
COLUMNS = ["model", "output", "subset", "metric", "mean", "low", "high", "n"]

Predictions = Mapping[str, np.ndarray]


def activity_scores(
    values_SC: np.ndarray,
    predictions: Predictions,
    outputs: Sequence[str],
    *,
    clusters_S: Sequence[int] | np.ndarray | None = None,
    subsets: Sequence[str] = SUBSETS,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """r, rho and R2 of every model: columns model, output, subset, metric, mean, low, high, n.

    r: Pearson, rho: Spearman, R2: coefficient of determination about the mean of the subset's own
    labels (below 0 where the model is worse than that mean). Output 'mean': mean over outputs where
    a score is defined. A score of a constant is NaN. `mean` is the score of the rows as they are,
    the interval a percentile bootstrap; in a resample the ends stay the same rows. Scores within
    the ends are lower than over all: the range is narrow there.

    Args:
        values_SC: measured, NaN = not measured. predictions: model -> [S, C].
        clusters_S: cluster of every row, -1 = on its own; None: every row on its own.
    Raises: ValueError for shapes that do not fit, an output without a measured row, an unknown
        subset, or predictions that are not finite.
    """
    values_SC = check_values(values_SC, outputs)
    code_S, counts_RK = make_resamples(len(values_SC), clusters_S, n_resamples, seed)
    parts = []
    for model, predicted_SC in predictions.items():
        for subset in subsets:
            y_SC = keep_subset(values_SC, subset)
            scores = _scores(y_SC, predicted_SC, code_S, counts_RK)
            parts.append(tidy_scores(scores, y_SC, outputs, model, subset, level))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)


def specificity_scores(
    values_SC: np.ndarray, predictions: Predictions, outputs: Sequence[str], **options: object
) -> pd.DataFrame:
    """Scores of differences between cells, predicted against measured: the table of above.

    Outputs are named 'K562 - THP1', one for each pair, and 'mean'. A model that knows overall
    strength alone predicts no difference. options: those of `activity_scores` (subset 'all').
    """
    values_SC = check_values(values_SC, outputs)
    if len(outputs) < 2:
        raise ValueError(f"outputs {list(outputs)}: expected two or more, to compare cells")
    pairs = list(combinations(range(len(outputs)), 2))
    first, second = (list(side) for side in zip(*pairs, strict=True))
    differences = {
        model: np.asarray(p_SC)[:, first] - np.asarray(p_SC)[:, second]
        for model, p_SC in predictions.items()
    }
    names = [f"{outputs[a]} - {outputs[b]}" for a, b in pairs]
    gaps_SP = values_SC[:, first] - values_SC[:, second]
    return activity_scores(gaps_SP, differences, names, **({"subsets": ("all",)} | options))


def replicate_ceiling(
    first_SC: np.ndarray,
    second_SC: np.ndarray,
    outputs: Sequence[str],
    *,
    clusters_S: Sequence[int] | np.ndarray | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """How alike two replicates are, and what that allows: output, metric, mean, low, high, n.

    Metrics: r and rho between replicates, what the reference calls the upper bound; 'ceiling': the
    r that even a prediction of the true values would have with the mean of both replicates,
    sqrt(2 r / (1 + r)), which is higher (NaN for r <= 0).

    first_SC, second_SC: the two replicates' values, NaN where one is missing.
    Source: Spearman 1910 and Brown 1910, Br. J. Psychol. 3:271 and 296.
    """
    first_SC, second_SC = check_values(first_SC, outputs), check_values(second_SC, outputs)
    both_SC = np.isfinite(first_SC) & np.isfinite(second_SC)
    y_SC = check_values(np.where(both_SC, first_SC, np.nan), outputs)
    code_S, counts_RK = make_resamples(len(y_SC), clusters_S, n_resamples, seed)
    scores = _scores(y_SC, np.where(both_SC, second_SC, 0), code_S, counts_RK)
    r_RC = scores["r"]
    with np.errstate(invalid="ignore"):
        ceiling_RC = np.where(r_RC > 0, np.sqrt(2 * r_RC / (1 + r_RC)), np.nan)
    found = {"r": r_RC, "rho": scores["rho"], "ceiling": ceiling_RC}
    table = tidy_scores(found, y_SC, outputs, "", "all", level)
    return table.drop(columns=["model", "subset"])


def share_of_ceiling(scores: pd.DataFrame, ceilings: pd.DataFrame) -> pd.DataFrame:
    """The rows of r and rho over all sequences with `replicates` and `share` = mean / replicates.

    scores: of `activity_scores`; ceilings: of `replicate_ceiling`. A share above 1 is possible:
    labels that average two replicates are less noisy than one.
    """
    rows = scores[(scores["subset"] == "all") & scores["metric"].isin(["r", "rho"])]
    limits = ceilings[["output", "metric", "mean"]].rename(columns={"mean": "replicates"})
    joined = rows.merge(limits, on=["output", "metric"], how="left", validate="many_to_one")
    return joined.assign(share=joined["mean"] / joined["replicates"])


def compare_predictions(
    values_SC: np.ndarray,
    predictions: Predictions,
    outputs: Sequence[str],
    *,
    clusters_S: Sequence[int] | np.ndarray | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """All pairs of models on the same resamples: a, b, output, metric, difference, low, high, n.

    difference: a - b over all sequences. For trained networks this says nothing about other seeds.
    """
    values_SC = check_values(values_SC, outputs)
    code_S, counts_RK = make_resamples(len(values_SC), clusters_S, n_resamples, seed)
    found = {
        model: _scores(values_SC, predicted_SC, code_S, counts_RK)
        for model, predicted_SC in predictions.items()
    }
    parts = []
    for a, b in combinations(found, 2):
        gaps = {metric: found[a][metric] - found[b][metric] for metric in METRICS}
        table = tidy_scores(gaps, values_SC, outputs, "", "all", level)
        table = table.drop(columns=["model", "subset"]).rename(columns={"mean": "difference"})
        parts.append(table.assign(a=a, b=b))
    columns = ["a", "b", "output", "metric", "difference", "low", "high", "n"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def summarise_seeds(
    table: pd.DataFrame,
    by: Sequence[str] = ("strategy", "output", "subset", "metric"),
    *,
    value: str = "mean",
    split: str = "split",
    level: float = 0.95,
) -> pd.DataFrame:
    """Mean and interval over splits, or over seeds of one split: `by`, mean, low, high, n, unit.

    table: one row per run and score, with the columns named. `sd` beside them is the population
    standard deviation over all runs, which the reference prints as 'mean +- sd': it is no interval
    and does not shrink with more runs.
    """
    check_columns(table, [*by, value, split])
    found = interval_table(table, by, value=value, draw=split, level=level)
    groups = table.groupby(list(by), sort=False, dropna=False)[value]
    spread = groups.std(ddof=0).rename("sd").reset_index()
    return found.merge(spread, on=list(by), how="left", validate="one_to_one")


def compare_strategies(
    table: pd.DataFrame,
    *,
    by: Sequence[str] = ("output", "subset", "metric"),
    value: str = "mean",
    split: str = "split",
    rng: np.random.Generator | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """All pairs of strategies, paired by split and seed: see `statistics.compare_all`.

    table: columns strategy, seed, `by`, `value`, `split`.
    """
    options = {"value": value, "draw": split, "by": by, "rng": rng, "level": level}
    return compare_all(table, method="strategy", **options)


def keep_subset(values_SC: np.ndarray, subset: str) -> np.ndarray:
    """A copy with NaN where a label is not in the subset; percentiles are of each output's own."""
    if subset not in SUBSETS:
        raise ValueError(f"subset is {subset!r}, expected one of: {', '.join(SUBSETS)}")
    if subset == "all":
        return values_SC
    low_C, high_C = np.nanpercentile(values_SC, DECILES, axis=0)
    top_SC, bottom_SC = values_SC > high_C, values_SC < low_C
    kept_SC = {"top": top_SC, "bottom": bottom_SC, "ends": top_SC | bottom_SC}[subset]
    return np.where(kept_SC, values_SC, np.nan)


def check_values(values_SC: np.ndarray, outputs: Sequence[str]) -> np.ndarray:
    """float64 [S, C]; ValueError for another shape, infinity, or an output without any value."""
    values_SC = np.asarray(values_SC, dtype=np.float64)
    if values_SC.ndim != 2 or not len(values_SC) or values_SC.shape[1] != len(outputs):
        raise ValueError(
            f"values have shape {list(values_SC.shape)}, expected [sequences, {len(outputs)}] "
            f"({', '.join(outputs)}) with at least one sequence"
        )
    if np.isinf(values_SC).any():
        row, column = np.argwhere(np.isinf(values_SC))[0]
        raise ValueError(
            f"value of row {row}, {outputs[column]!r} is {values_SC[row, column]}; expected finite "
            "numbers, or NaN where nothing was measured"
        )
    empty_C = np.isnan(values_SC).all(0)
    if empty_C.any():
        raise ValueError(
            f"output {outputs[int(empty_C.argmax())]!r} has no measured row, expected at least one"
        )
    return values_SC


def make_resamples(
    n: int, clusters_S: Sequence[int] | np.ndarray | None, n_resamples: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """(cluster of each row, [R, K] how often each cluster counts; first once each)."""
    clusters_S = np.full(n, -1) if clusters_S is None else np.asarray(clusters_S)
    if len(clusters_S) != n:
        raise ValueError(f"{len(clusters_S)} clusters for {n} rows, expected one per row")
    code_S, n_clusters = cluster_codes(clusters_S)
    drawn = draw_clusters(n_clusters, n_resamples, seed)
    return code_S, np.concatenate([np.ones((1, n_clusters), np.int32), drawn])


def _scores(
    y_SC: np.ndarray, predicted_SC: np.ndarray, code_S: np.ndarray, counts_RK: np.ndarray
) -> dict[str, np.ndarray]:
    """Metric -> [R, C + 1]: outputs, then their mean."""
    predicted_SC = np.asarray(predicted_SC, np.float64)
    found = resample_scores(row_sums(y_SC, predicted_SC), code_S, counts_RK)
    found["rho"] = resample_ranks(y_SC, predicted_SC, code_S, counts_RK)
    # without the column of all outputs pooled: cells have scales of their own
    return {metric: np.delete(found[metric], -2, axis=1) for metric in METRICS}


def tidy_scores(
    scores: Mapping[str, np.ndarray],
    y_SC: np.ndarray,
    outputs: Sequence[str],
    model: str,
    subset: str,
    level: float,
) -> pd.DataFrame:
    """Rows of `COLUMNS` from scores [R, C + 1] whose first resample is the rows as they are."""
    n_C = (~np.isnan(y_SC)).sum(0)
    parts = []
    for metric, values_RC in scores.items():
        low_C, high_C = quantile_interval(values_RC[1:], level)
        columns = {"mean": values_RC[0], "low": low_C, "high": high_C, "n": [*n_C, n_C.sum()]}
        names = {"model": model, "output": [*outputs, MEAN], "subset": subset, "metric": metric}
        parts.append(pd.DataFrame(names | columns))
    return pd.concat(parts, ignore_index=True)[COLUMNS]
