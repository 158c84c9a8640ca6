"""The released evaluation's slips, one by one, and how a table gets an "All" column of 0.000.

Shapes: S sequences, T tissues.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from genomelm_utils.evaluation.regression_moments import row_sums, scores_of
from genomelm_utils.tasks.label_transform import LabelTransform

RULES = ("corrected", "reference")
#: Switch -> (the number that changes, what the released code does).
SLIPS = {
    "arguments": ("R2", "prediction and label change places, so the total is the prediction's"),
    "total": ("R2", "the total is taken about the sum of the labels instead of their mean"),
    "inverse": ("mae_tpm", "e^y - 1, whatever the offset, the base and the scale of the labels"),
}


def released_metrics(
    tpm_ST: np.ndarray,
    p_ST: np.ndarray,
    transform: LabelTransform,
    *,
    arguments: str = "corrected",
    total: str = "corrected",
    inverse: str = "corrected",
) -> dict[str, float]:
    """r2, R2, mse, rmse and mae_tpm of all labels pooled; each slip of the released code a switch.

    arguments 'reference': metrics are called as (prediction, label): r2 and mse do not notice, R2
    becomes -1.0 where it is 0.6. total 'reference': R2 near 1 for anything. inverse 'reference':
    right for offset 1, natural logarithm and no scale only.
    Source: released `metrics.py` (`evaluate_model`) and `utils.py`
    (`compute_model_metrics_single_dataset`).
    """
    for name, value in (("arguments", arguments), ("total", total), ("inverse", inverse)):
        if value not in RULES:
            raise ValueError(f"{name} is {value!r}, expected {' or '.join(RULES)}")
    y_ST = transform.apply(tpm_ST).astype(np.float64)
    known_ST = ~np.isnan(y_ST)
    p_ST = np.asarray(p_ST, np.float64)
    x_ST, q_ST = transform.inverse(y_ST), transform.inverse(p_ST)
    if inverse == "reference":
        x_ST, q_ST = np.expm1(y_ST), np.expm1(p_ST)
    scores = scores_of(row_sums(y_ST, p_ST, x_ST, q_ST).sum((0, 1)))
    found = {name: float(scores[name]) for name in ("r2", "R2", "mse", "mae_tpm")}
    true, said = y_ST[known_ST], p_ST[known_ST]
    if arguments == "reference":
        true, said = said, true
    center = true.sum() if total == "reference" else true.mean()
    spread = ((true - center) ** 2).sum()
    found["R2"] = float(1 - ((true - said) ** 2).sum() / spread) if spread > 0 else float("nan")
    return {**found, "rmse": float(np.sqrt(found["mse"]))}


def slip_table(tpm_ST: np.ndarray, p_ST: np.ndarray, transform: LabelTransform) -> pd.DataFrame:
    """What each slip does to these predictions: slip, metric, corrected, reference, meaning."""
    right = released_metrics(tpm_ST, p_ST, transform)
    rows = []
    for slip, (metric, meaning) in SLIPS.items():
        wrong = released_metrics(tpm_ST, p_ST, transform, **{slip: "reference"})
        rows.append((slip, metric, right[metric], wrong[metric], meaning))
    return pd.DataFrame(rows, columns=["slip", "metric", "corrected", "reference", "meaning"])


def explain_pooled_column(y_ST: np.ndarray, p_ST: np.ndarray) -> pd.DataFrame:
    """Ways to a pooled r2 near 0 from predictions that are better than that in every tissue.

    The paper's Table 1 gives its bag-of-words models r2 of .02 to .12 in every tissue and .000 over
    "All". Columns: case, r2, n, spread (standard deviation of predictions over that of labels).
    'pooled': flattened alike, as it should be; 'mean of tissues'; 'misaligned': labels flattened
    gene by gene, predictions tissue by tissue; 'tissue means': a predictor that knows the tissue
    only, which is the share of label variance between tissues; 'one constant': no correlation is
    defined (NaN), and code that writes 0 for NaN reports .000; 'rescaled': pooled after predictions
    got the labels' mean and spread in every tissue. Where that is much better than 'pooled',
    tissues are predicted on scales of their own, as weights without a penalty do: with about as
    many words as promoters least squares follows noise, and some promoters are predicted absurdly.

    y_ST, p_ST: labels and predictions on one scale; NaN labels are left out (by pairs, where
    misaligned).
    """
    y_ST, p_ST = np.asarray(y_ST, np.float64), np.asarray(p_ST, np.float64)
    known_ST = ~np.isnan(y_ST)
    filled_ST = np.where(known_ST, y_ST, 0)
    mean_T = filled_ST.sum(0) / np.maximum(known_ST.sum(0), 1)
    per_tissue = [_r2(y_ST[:, t], p_ST[:, t]) for t in range(y_ST.shape[1])]
    means_ST = np.broadcast_to(mean_T, y_ST.shape)
    rescaled_ST = _rescale(y_ST, p_ST)
    constant_ST = np.full(y_ST.shape, filled_ST.sum() / known_ST.sum())
    cases = {
        "pooled": (_r2(y_ST, p_ST), p_ST),
        "mean of tissues": (_mean_of(per_tissue), p_ST),
        "misaligned": (_r2(y_ST.ravel("C"), p_ST.ravel("F")), p_ST),
        "tissue means": (_r2(y_ST, means_ST), means_ST),
        "one constant": (_r2(y_ST, constant_ST), constant_ST),
        "rescaled": (_r2(y_ST, rescaled_ST), rescaled_ST),
    }
    spread = y_ST[known_ST].std()
    return pd.DataFrame(
        [
            (case, r2, int(known_ST.sum()), p[known_ST].std() / spread if spread else np.nan)
            for case, (r2, p) in cases.items()
        ],
        columns=["case", "r2", "n", "spread"],
    )


def describe_pooled_column(table: pd.DataFrame) -> str:
    """Sentences on the table of `explain_pooled_column`: three ways to .000, and what is here."""
    r2 = {
        case: "not defined" if np.isnan(value) else f"{value:.3f}"
        for case, value in zip(table["case"], table["r2"], strict=True)
    }
    spread = table.set_index("case").loc["pooled", "spread"]
    wide = (
        "further than labels do: such weights follow noise"
        if spread > 1
        else "not further than labels do: here the scale is not to blame"
    )
    return (
        f"Pooled over all tissues these predictions have r2 {r2['pooled']}, in the mean of the "
        f"tissues {r2['mean of tissues']}; tissue means alone give {r2['tissue means']}, the share "
        "of the variance of labels that lies between tissues. A pooled r2 of .000 beside tissues "
        "clearly above it has three explanations. First, numbers were lined up wrongly: flattened "
        "by tissue, with labels flattened by gene, the same predictions score "
        f"{r2['misaligned']}. Second, 0 was written for NaN: r2 of one constant is "
        f"{r2['one constant']}. Third, least squares without a penalty on about as many words as "
        f"promoters: these predictions spread {spread:.2g} times as far as labels, {wide}; with "
        f"the labels' mean and spread in every tissue they score {r2['rescaled']} pooled."
    )


def _rescale(y_ST: np.ndarray, p_ST: np.ndarray) -> np.ndarray:
    """Predictions with the mean and the spread that the labels of each tissue have."""
    out_ST = np.zeros_like(p_ST)
    for t in range(y_ST.shape[1]):
        known_S = ~np.isnan(y_ST[:, t])
        if not known_S.any():
            continue
        y, p = y_ST[known_S, t], p_ST[known_S, t]
        scale = y.std() / p.std() if p.std() > 0 else 0.0
        out_ST[known_S, t] = y.mean() + scale * (p - p.mean())
    return out_ST


def _r2(y: np.ndarray, p: np.ndarray) -> float:
    sums = row_sums(np.reshape(y, (-1, 1)), np.reshape(p, (-1, 1)))
    return float(scores_of(sums.sum((0, 1)))["r2"])


def _mean_of(values: Iterable[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
