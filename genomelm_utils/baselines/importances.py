"""Which features does a forest use? Impurity decrease, and loss of score under shuffling.

Shapes: S sequences, F features, C classes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from genomelm_utils.baselines.forests import Matrix, score_probs

N_REPEATS = 10  # Source: genomeNLP's permutation importance
SHOWN = 50  # Source: genomeNLP's --show_features


def impurity_importance(fitted: Any, names: Sequence[str]) -> pd.DataFrame:
    """Columns feature, importance, sd (over trees; missing for XGBoost); the largest first.

    Random forest: mean decrease of impurity, all features summing to 1; XGBoost: gain. Both are
    taken on training rows and favour features with many values: see `permutation_importance`.
    """
    importance_F = np.asarray(fitted.feature_importances_, dtype=np.float64)
    if len(names) != len(importance_F):
        raise ValueError(f"{len(names)} names for {len(importance_F)} features, expected one each")
    trees = getattr(fitted, "estimators_", None)
    sd_F = np.full(len(names), np.nan)
    if trees is not None:
        sd_F = np.std([tree.feature_importances_ for tree in trees], axis=0)
    table = pd.DataFrame({"feature": list(names), "importance": importance_F, "sd": sd_F})
    return table.sort_values("importance", ascending=False, kind="stable", ignore_index=True)


def permutation_importance(
    fitted: Any,
    features_SF: Matrix,
    labels_S: np.ndarray,
    names: Sequence[str],
    rng: np.random.Generator,
    *,
    metric: str = "roc_auc",
    n_repeats: int = N_REPEATS,
    only: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Columns feature, importance (score lost when it is shuffled), sd (over repeats).

    features_SF, labels_S: rows that were not trained on. only: features to look at; others are left
    out (every feature costs `n_repeats` predictions of all rows): give those of
    `impurity_importance`. Correlated features cover for each other: both may then look unimportant.

    Source: Breiman 2001, Machine Learning 45:5, section 10.
    """
    columns = {name: i for i, name in enumerate(names)}
    asked = list(names) if only is None else list(only)
    unknown = [name for name in asked if name not in columns]
    if unknown:
        raise ValueError(f"feature {unknown[0]!r} is not among the {len(names)} of the model")
    base = score_probs(fitted.predict_proba(features_SF), labels_S, metric)
    n = features_SF.shape[0]
    stacked = _repeat(features_SF, n_repeats)
    rows = []
    for name in asked:
        place = columns[name]
        column = _dense_column(features_SF, place)
        if np.ptp(column) == 0:  # nothing to shuffle
            rows.append((name, 0.0, 0.0))
            continue
        shuffled = np.concatenate([column[rng.permutation(n)] for _ in range(n_repeats)])
        probs = fitted.predict_proba(_with_column(stacked, place, shuffled))
        lost = [
            base - score_probs(probs[i * n : (i + 1) * n], labels_S, metric)
            for i in range(n_repeats)
        ]
        rows.append((name, float(np.mean(lost)), float(np.std(lost))))
    table = pd.DataFrame(rows, columns=["feature", "importance", "sd"])
    return table.sort_values("importance", ascending=False, kind="stable", ignore_index=True)


def mark_shared(table: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """`table` and a column `in_other`: the feature holds, or lies in, one of the other table.

    For comparing two feature sets, tokens with k-mers. Source: genomeNLP's plot_importances.
    """
    others = [str(name) for name in other["feature"]]
    found = [any(str(f) in o or o in str(f) for o in others) for f in table["feature"]]
    return table.assign(in_other=found)


def _repeat(features: Matrix, n: int) -> Matrix:
    if sparse.issparse(features):
        return sparse.vstack([features] * n).tocsc()
    return np.tile(features, (n, 1))


def _dense_column(features: Matrix, place: int) -> np.ndarray:
    column = features[:, [place]]
    return column.toarray()[:, 0] if sparse.issparse(column) else np.array(column)[:, 0]


def _with_column(features: Matrix, place: int, column: np.ndarray) -> Matrix:
    """A copy with one column replaced."""
    if not sparse.issparse(features):
        changed = features.copy()
        changed[:, place] = column
        return changed
    parts = [
        features[:, :place],
        sparse.csc_matrix(column[:, None].astype(features.dtype)),
        features[:, place + 1 :],
    ]
    return sparse.hstack(parts, format="csr")
