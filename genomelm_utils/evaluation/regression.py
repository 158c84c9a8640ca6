"""How well is expression predicted? Per tissue, per line, pooled, with intervals over clusters.

"r2" is the squared Pearson correlation, which the FloraBERT paper reports; "R2" is the coefficient
of determination, which also counts a wrong scale and a wrong mean. Labels that were not measured
(NaN) are left out of every score.

Shapes: S sequences, T tissues, R resamples, K clusters.
"""

import logging
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
from genomelm_utils.tasks.label_transform import LabelTransform

logger = logging.getLogger(__name__)

POOLED, MEAN = "all", "mean"
METRICS = ("r2", "R2", "rho", "mse", "mae_tpm", "skill")
#: Scores of labels and predictions less their means over the tissues of a gene.
SPECIFIC = ("specific_r2", "specific_R2", "specific_rho")
COLUMNS = ["model", "tissue", "metric", "mean", "low", "high", "n"]
RULES = {"corrected": (*METRICS, *SPECIFIC), "reference": ("r2", "mse", "mae_tpm")}


def evaluate(
    tpm_ST: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    *,
    transform: LabelTransform,
    clusters_S: Sequence[int] | np.ndarray,
    train_tpm_ST: np.ndarray | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    rule: str = "corrected",
) -> pd.DataFrame:
    """Scores of every method: columns model, tissue, metric, mean, low, high, n.

    Tissue 'all': all labels pooled; 'mean': mean over the tissues where a score is defined. r2 of
    a constant prediction is NaN. mae_tpm: mean absolute error in TPM, through the inverse of the
    transform. skill: 1 - mse / mse of the training rows' tissue means (NaN without them).
    specific_*: of label minus gene mean against prediction minus gene mean, over genes measured in
    two or more tissues: what is left when a gene's overall level, which all tissues share, is
    taken out. Intervals: percentile bootstrap over whole clusters, the same resamples for every
    method; `mean` is the score of the rows as they are. n: labels counted. r2 cannot be below 0, so
    neither can its interval, and resamples lie above the score where that is small: whether there
    is any signal is told by R2, rho or skill.

    Args:
        tpm_ST: measured expression, NaN = not measured.
        predictions: method -> float [S, T] on the scale of `transform`.
        clusters_S: cluster of every row, -1 = on its own.
        train_tpm_ST: expression of the training rows.
        rule: 'reference' keeps what the released evaluation reports: r2, mse and mae alone.
    Raises: ValueError for shapes that do not fit, or predictions that are not finite.
    """
    check_rows(tpm_ST, clusters_S, transform)
    check_rule(rule)
    y_ST = transform.apply(tpm_ST).astype(np.float64)
    code_S, n_clusters = cluster_codes(np.asarray(clusters_S))
    counts_RK = np.ones((1, n_clusters), np.int32)
    if n_resamples:
        counts_RK = np.concatenate([counts_RK, draw_clusters(n_clusters, n_resamples, seed)])
    baseline_T = None
    if train_tpm_ST is not None:
        baseline_T = mean_labels(train_tpm_ST, transform)
    parts = []
    for model, p_ST in predictions.items():
        scores = resampled(y_ST, p_ST, code_S, counts_RK, transform, baseline_T, rule)
        parts.append(_as_table(model, scores, y_ST, transform.tissues, level))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)


def resampled(
    y_ST: np.ndarray,
    p_ST: np.ndarray,
    code_S: np.ndarray,
    counts_RK: np.ndarray,
    transform: LabelTransform,
    baseline_T: np.ndarray | None = None,
    rule: str = "corrected",
) -> dict[str, np.ndarray]:
    """Metric -> [R, T + 2]: tissues, pooled, mean over tissues, for every row of counts_RK."""
    x_ST, q_ST = transform.inverse(y_ST), transform.inverse(p_ST)
    sums_ST = row_sums(y_ST, p_ST, x_ST, q_ST, baseline_T)
    found = resample_scores(sums_ST, code_S, counts_RK)
    if "rho" in RULES[rule]:
        found["rho"] = resample_ranks(y_ST, np.asarray(p_ST, np.float64), code_S, counts_RK)
    if "specific_r2" in RULES[rule]:
        own_ST, said_ST = specific_part(y_ST, p_ST)
        special = resample_scores(row_sums(own_ST, said_ST), code_S, counts_RK)
        found |= {f"specific_{name}": special[name] for name in ("r2", "R2")}
        found["specific_rho"] = resample_ranks(own_ST, said_ST, code_S, counts_RK)
    return {name: found[name] for name in RULES[rule]}


def specific_part(y_ST: np.ndarray, p_ST: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions less their gene means, over the measured tissues of each gene.

    Genes measured in fewer than two tissues have no such part: NaN.
    """
    known_ST = ~np.isnan(y_ST)
    count_S1 = known_ST.sum(1, keepdims=True)
    usable_ST = known_ST & (count_S1 > 1)
    parts = []
    for table in (y_ST, p_ST):
        filled = np.where(known_ST, np.asarray(table, np.float64), 0)
        centred = filled - filled.sum(1, keepdims=True) / np.maximum(count_S1, 1)
        parts.append(np.where(usable_ST, centred, np.nan))
    return parts[0], parts[1]


def mean_labels(train_tpm_ST: np.ndarray, transform: LabelTransform) -> np.ndarray:
    """float64 [T]: the mean training label of each tissue, the constant predictor to beat."""
    y_ST = transform.apply(train_tpm_ST).astype(np.float64)
    known_ST = ~np.isnan(y_ST)
    empty = np.flatnonzero(known_ST.sum(0) == 0)
    if len(empty):
        raise ValueError(
            f"tissue {transform.tissues[empty[0]]!r} has no measured training row, expected at "
            "least one; leave the tissue out"
        )
    return np.where(known_ST, y_ST, 0).sum(0) / known_ST.sum(0)


def _as_table(
    model: str,
    scores: dict[str, np.ndarray],
    y_ST: np.ndarray,
    tissues: tuple[str, ...],
    level: float,
) -> pd.DataFrame:
    n_T = (~np.isnan(y_ST)).sum(0)
    several_S1 = (~np.isnan(y_ST)).sum(1, keepdims=True) > 1
    n_specific_T = (~np.isnan(y_ST) & several_S1).sum(0)
    names = [*tissues, POOLED, MEAN]
    parts = []
    for metric, values_RC in scores.items():
        low_C, high_C = quantile_interval(values_RC[1:], level)
        counts = n_specific_T if metric in SPECIFIC else n_T
        parts.append(
            pd.DataFrame(
                {
                    "model": model,
                    "tissue": names,
                    "metric": metric,
                    "mean": values_RC[0],
                    "low": low_C,
                    "high": high_C,
                    "n": [*counts, counts.sum(), counts.sum()],
                }
            )
        )
    return pd.concat(parts, ignore_index=True)[COLUMNS]


def evaluate_lines(
    tpm_ST: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    lines_S: Sequence[str | None],
    *,
    transform: LabelTransform,
    clusters_S: Sequence[int] | np.ndarray,
    **options: object,
) -> pd.DataFrame:
    """The table of `evaluate` for every line on its own, with a column `line` in front.

    lines_S: None = of no known line (see `lines_by_prefix`); such rows are counted in a warning.
    Lines stand in alphabetical order. options: those of `evaluate`.
    """
    lines = pd.Series(list(lines_S), dtype=object)
    if len(lines) != len(tpm_ST):
        raise ValueError(f"{len(lines)} lines for {len(tpm_ST)} rows, expected one per row")
    n_unknown = int(lines.isna().sum())
    if n_unknown:
        logger.warning("%d of %d rows belong to no known line: left out", n_unknown, len(lines))
    clusters_S = np.asarray(clusters_S)
    parts = []
    for line in sorted(lines.dropna().unique()):
        here = (lines == line).to_numpy()
        table = evaluate(
            tpm_ST[here],
            {name: np.asarray(p_ST)[here] for name, p_ST in predictions.items()},
            transform=transform,
            clusters_S=clusters_S[here],
            **options,
        )
        table.insert(0, "line", line)
        parts.append(table)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["line"])


def lines_by_prefix(
    gene_ids: Sequence[str], prefixes: Mapping[str, str], rule: str = "corrected"
) -> list[str | None]:
    """The line of each gene by the first nine characters of its name, None where unknown.

    prefixes: such as {'Zm00018ab': 'B97'}. rule: 'reference' takes the table as it is, in which
    B73 (Zm00001eb) is missing; 'corrected' adds it.
    Source: released `evaluate.py`, `nam_metadata.csv`.
    """
    check_rule(rule)
    known = dict(prefixes) if rule == "reference" else {"Zm00001eb": "B73", **prefixes}
    return [known.get(name[:9]) for name in gene_ids]


def compare_models(
    tpm_ST: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    *,
    transform: LabelTransform,
    clusters_S: Sequence[int] | np.ndarray,
    metrics: Sequence[str] = ("r2", "R2"),
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """All pairs of methods on the same resamples of clusters: is a better than b?

    Columns: a, b, tissue, metric, difference (a - b), low, high, n. An interval of differences is
    narrower than two intervals side by side suggest, because both methods saw the same promoters.
    """
    check_rows(tpm_ST, clusters_S, transform)
    y_ST = transform.apply(tpm_ST).astype(np.float64)
    code_S, n_clusters = cluster_codes(np.asarray(clusters_S))
    draws = draw_clusters(n_clusters, n_resamples, seed)
    counts_RK = np.concatenate([np.ones((1, n_clusters), np.int32), draws])
    found = {
        name: resampled(y_ST, p_ST, code_S, counts_RK, transform)
        for name, p_ST in predictions.items()
    }
    n_T = (~np.isnan(y_ST)).sum(0)
    names, n_C = [*transform.tissues, POOLED, MEAN], [*n_T, n_T.sum(), n_T.sum()]
    rows = []
    for a, b in combinations(found, 2):
        for metric in metrics:
            gap_RC = found[a][metric] - found[b][metric]
            low_C, high_C = quantile_interval(gap_RC[1:], level)
            columns = (names, gap_RC[0], low_C, high_C, n_C)
            rows += [(a, b, t, metric, *rest) for t, *rest in zip(*columns, strict=True)]
    return pd.DataFrame(
        rows, columns=["a", "b", "tissue", "metric", "difference", "low", "high", "n"]
    )


def true_predicted_table(
    tpm_ST: np.ndarray, p_ST: np.ndarray, transform: LabelTransform
) -> pd.DataFrame:
    """A row per measured label: tissue, row, true, predicted, on the scale of the labels."""
    y_ST = transform.apply(tpm_ST)
    column_N, row_N = np.nonzero(~np.isnan(y_ST.T))
    return pd.DataFrame(
        {
            "tissue": np.array(transform.tissues)[column_N],
            "row": row_N,
            "true": y_ST[row_N, column_N],
            "predicted": np.asarray(p_ST, np.float32)[row_N, column_N],
        }
    )


def check_rule(rule: str) -> None:
    """ValueError unless 'corrected' or 'reference'."""
    if rule not in RULES:
        raise ValueError(f"rule is {rule!r}, expected {' or '.join(RULES)}")


def check_rows(tpm_ST: np.ndarray, clusters_S: Sequence[int], transform: LabelTransform) -> None:
    """ValueError for no rows, another number of clusters, or tissues that do not fit."""
    if len(tpm_ST) == 0 or len(clusters_S) != len(tpm_ST):
        raise ValueError(
            f"{len(clusters_S)} clusters for {len(tpm_ST)} rows, expected one per row and at "
            "least one row"
        )
    if np.asarray(tpm_ST).shape[1:] != (len(transform.tissues),):
        raise ValueError(
            f"a table of shape {list(np.asarray(tpm_ST).shape)}, expected "
            f"{len(transform.tissues)} columns: {', '.join(transform.tissues)}"
        )
