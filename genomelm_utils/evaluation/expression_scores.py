"""Scores of every method of stage 07, and paired differences.

Regression modes have r2, R2 and more. Classification has AUC and AUPRC, in which methods that
predict labels compete by their order.

Shapes: S sequences, T tissues.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from genomelm_utils.datasets.expression_set import ExpressionSet
from genomelm_utils.evaluation.expressed import compare_expressed, evaluate_expressed
from genomelm_utils.evaluation.regression import MEAN, compare_models, evaluate
from genomelm_utils.tasks.label_transform import LabelTransform
from genomelm_utils.tasks.regression_modes import Mode

N_RESAMPLES = 500
LINE_RESAMPLES = 100
SHOWN = ("r2", "R2", "rho", "mae_tpm", "skill", "auc", "auprc")  # metrics of the summary


@dataclass(frozen=True)
class Judge:
    """How all methods of a run are scored: the test part of `promoters`, by clusters.

    transform: of the labels. mode: what was learned; classification is scored as such.
    """

    promoters: ExpressionSet
    transform: LabelTransform
    mode: Mode
    seed: int

    @property
    def metrics(self) -> tuple[str, str]:
        """The two metrics of figures and comparisons; the second is the one that decides."""
        return ("auprc", "auc") if self.mode.name == "classification" else ("r2", "R2")

    def with_set(self, promoters: ExpressionSet) -> "Judge":
        """The same for another set of the same tissues."""
        return replace(self, promoters=promoters)


def score_methods(
    judge: Judge,
    predictions: Mapping[str, np.ndarray],
    *,
    n_resamples: int = N_RESAMPLES,
    line: str | None = None,
) -> pd.DataFrame:
    """Scores of the test part: model, tissue ('mean': of all), metric, mean, low, high, n.

    Of `regression.evaluate`, or in classification of `expressed.evaluate_expressed`.
    predictions: method -> [S, T], on the scale of the transform (classification: any that rises
    with expression). line: only its promoters.
    """
    train, test = judge.promoters.select("train"), judge.promoters.select("test")
    if line is not None:
        here_S = (test.genes["line"] == line).to_numpy()
        test = test.take(here_S)
        predictions = {name: p_ST[here_S] for name, p_ST in predictions.items()}
    shared = {
        "clusters_S": test.genes["cluster"].to_numpy(),
        "n_resamples": n_resamples,
        "seed": judge.seed,
    }
    if judge.mode.name == "classification":
        measured = (~np.isnan(test.tpm_ST)).any(0)  # a line may lack a tissue
        return evaluate_expressed(
            test.tpm_ST[:, measured],
            {name: p_ST[:, measured] for name, p_ST in predictions.items()},
            [tissue for tissue, has in zip(test.tissues, measured, strict=True) if has],
            theta_tpm=judge.mode.theta_tpm,
            **shared,
        )
    return evaluate(
        test.tpm_ST, predictions, transform=judge.transform, train_tpm_ST=train.tpm_ST, **shared
    )


def score_seeds(judge: Judge, by_seed: Mapping[tuple[str, int], np.ndarray]) -> pd.DataFrame:
    """Each seed alone, mean of tissues: model, seed, and the judge's metrics (no intervals)."""
    named = {f"{name}#{seed}": values for (name, seed), values in by_seed.items()}
    table = score_methods(judge, named, n_resamples=0)
    table = table[(table["tissue"] == MEAN) & table["metric"].isin(judge.metrics)]
    wide = table.pivot(index="model", columns="metric", values="mean").loc[list(named)]
    keys = pd.DataFrame(list(by_seed), columns=["model", "seed"])
    return pd.concat([keys, wide[list(judge.metrics)].reset_index(drop=True)], axis=1)


def summarise_scores(scores: pd.DataFrame) -> pd.DataFrame:
    """A row per method, its scores with intervals, mean of tissues, as text."""
    rows = scores[(scores["tissue"] == MEAN) & scores["metric"].isin(SHOWN)]
    text = [f"{r.mean:.3g} [{r.low:.3g}, {r.high:.3g}]" for r in rows.itertuples()]
    wide = rows.assign(text=text).pivot(index="model", columns="metric", values="text")
    return wide.loc[rows["model"].unique()].reset_index()


def score_lines(judge: Judge, predictions: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """The judge's metrics per line, mean of tissues: line, model, metric, mean, low, high, n.

    Lines in alphabetical order. Empty where there is one line only.
    """
    lines = sorted(judge.promoters.select("test").genes["line"].unique())
    parts = [pd.DataFrame(columns=["line", "model", "metric", "mean", "low", "high", "n"])]
    for line in lines if len(lines) > 1 else []:
        table = score_methods(judge, predictions, n_resamples=LINE_RESAMPLES, line=line)
        table = table[(table["tissue"] == MEAN) & table["metric"].isin(judge.metrics)]
        parts.append(table.assign(line=line)[list(parts[0])])
    return pd.concat(parts[1:] or parts, ignore_index=True)


def compare_best(judge: Judge, predictions: Mapping[str, np.ndarray], best: str) -> pd.DataFrame:
    """The network `best` minus every other method, paired over clusters, mean of tissues.

    Columns model, other, metric, difference, low, high, n.
    """
    test = judge.promoters.select("test")
    ordered = {best: predictions[best], **predictions}  # the best comes first in every pair
    shared = {
        "clusters_S": test.genes["cluster"].to_numpy(),
        "n_resamples": N_RESAMPLES,
        "seed": judge.seed,
    }
    if judge.mode.name == "classification":
        theta_tpm = judge.mode.theta_tpm
        table = compare_expressed(test.tpm_ST, ordered, test.tissues, theta_tpm=theta_tpm, **shared)
    else:
        table = compare_models(
            test.tpm_ST, ordered, transform=judge.transform, metrics=judge.metrics, **shared
        )
    table = table[(table["a"] == best) & (table["tissue"] == MEAN)]
    table = table.rename(columns={"a": "model", "b": "other"}).drop(columns="tissue")
    return table.reset_index(drop=True)
