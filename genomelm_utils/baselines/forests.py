"""Random forests and XGBoost on ready-made features, with a search over their settings.

Switches, each `corrected` or `reference` (the released code):

    grid    reference tries the first n combinations only, which differ in one setting; corrected
            the whole grid, or a random part of it
    space   reference gives XGBoost the settings of a random forest, of which two mean anything
    scores  reference computes ROC-AUC from predicted classes; corrected from probabilities

On which rows candidates are judged is the caller's choice: `folds` of the training part, or, as
released, the test part.

Shapes: S sequences, F features, C classes.
"""

import itertools
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from genomelm_utils.sequences.fasta import suggest
from genomelm_utils.tasks.linear import check_labels

logger = logging.getLogger(__name__)

MODELS = ("rf", "xg")  # Source: names of genomeNLP's --model
SEARCHES = ("grid", "random", "bayes")
METRICS = ("accuracy", "f1", "precision", "recall", "roc_auc")
MODES = ("corrected", "reference")
#: 7,500 combinations. Source: genomeNLP's released search space
FOREST_SPACE: dict[str, list[Any]] = {
    "n_estimators": list(range(10, 101, 10)),
    "max_features": ["sqrt", "log2", None],
    "max_depth": [2, 3, 5, 7, 11],
    "min_samples_split": [2, 3, 5, 7, 11],
    "min_samples_leaf": [2, 3, 5, 7, 11],
    "bootstrap": [True, False],
}
BOOSTING_SPACE: dict[str, list[Any]] = {
    "n_estimators": [50, 100, 200, 400],
    "max_depth": [2, 3, 5, 7],
    "learning_rate": [0.03, 0.1, 0.3],
    "subsample": [0.7, 1.0],
    "colsample_bytree": [0.3, 1.0],
    "min_child_weight": [1, 5],
}
#: Settings that may stand in a search space, besides those above.
_MORE = {
    "rf": ("criterion", "max_leaf_nodes", "max_samples", "class_weight", "ccp_alpha"),
    "xg": ("gamma", "reg_alpha", "reg_lambda", "colsample_bynode", "colsample_bylevel"),
}

Folds = Sequence[tuple[np.ndarray, np.ndarray]]  # (rows to fit on, rows to judge on)
Matrix = np.ndarray | sparse.csr_matrix


class SearchResult(NamedTuple):
    """The best settings, their score, and a table of all candidates in the order tried (columns
    candidate, score, score_sd over folds, then the settings)."""

    params: dict[str, Any]
    score: float
    candidates: pd.DataFrame


def search_space(model: str, mode: str = "corrected") -> dict[str, list[Any]]:
    """The settings that are tried when none are given."""
    _check(model, MODELS, "model")
    _check(mode, MODES, "space")
    own = FOREST_SPACE if model == "rf" or mode == "reference" else BOOSTING_SPACE
    return {name: list(values) for name, values in own.items()}


def read_space(source: Path | str | Mapping[str, Any], model: str) -> dict[str, list[Any]]:
    """A search space from a JSON file {name: [values]}, checked; `null` in it is None.

    Raises: FileNotFoundError; ValueError for invalid JSON (line and column), an unknown setting
    (with the nearest right name) or values that are no list.
    """
    where = "the search space"
    if isinstance(source, Mapping):
        space = dict(source)
    else:
        where = str(source)
        if not Path(source).is_file():
            raise FileNotFoundError(f"{source}: no such file, expected a search space (JSON)")
        try:
            space = json.loads(Path(source).read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{source}, line {error.lineno}, column {error.colno}: no valid JSON ({error.msg})"
            ) from error
    if not isinstance(space, dict) or not space:
        raise ValueError(f'{where} is no JSON object, expected {{"n_estimators": [10, 20]}}')
    known = {*FOREST_SPACE, *BOOSTING_SPACE, *_MORE[model]}
    for name, values in space.items():
        if name not in known:
            raise ValueError(f"{where}: no setting {name!r}{suggest(name, known)}")
        if not isinstance(values, list) or not values:
            raise ValueError(f"{where}: {name} is {values!r}, expected a list of values to try")
    return space


def list_candidates(
    space: Mapping[str, list[Any]], search: str, n: int, seed: int, grid: str = "corrected"
) -> list[dict[str, Any]]:
    """Settings to try, for 'grid' and 'random'; no combination twice.

    n: at most so many; 0 means the whole grid (not for 'random'). A grid that is larger than n is
    thinned at random, or, with grid='reference', cut off after the first n.
    """
    from sklearn.model_selection import ParameterSampler

    total = int(np.prod([len(values) for values in space.values()]))
    if search == "grid" and (not n or n >= total or grid == "reference"):
        return list(itertools.islice(_grid(space), n or total))
    if n < 1:
        raise ValueError(f"the number of candidates is {n}, expected at least 1")
    return list(ParameterSampler(space, min(n, total), random_state=seed))


def search_forest(
    features_SF: Matrix,
    labels: np.ndarray,
    folds: Folds,
    *,
    model: str = "rf",
    search: str = "random",
    n: int = 8,
    metric: str = "f1",
    space: Mapping[str, list[Any]] | None = None,
    seed: int = 1,
    n_jobs: int = 1,
    grid: str = "corrected",
    scores: str = "corrected",
) -> SearchResult:
    """The settings with the best mean score over the folds; ties go to the first.

    folds: pairs of row numbers, fit and judge. model: 'rf' (random forest) or 'xg' (XGBoost).
    search: 'grid', 'random', or 'bayes' (tree-structured Parzen estimator; a combination that comes
    up again is not fitted again). metric: 'accuracy', 'f1', 'precision', 'recall' (means over
    classes) or 'roc_auc'. The same seed finds the same, whatever n_jobs.

    Raises: ValueError for unknown names, one class only, or a fold without rows.
    Source: Bergstra et al. 2011 (NeurIPS), as in Optuna, for 'bayes'.
    """
    _check(search, SEARCHES, "search")
    _check(metric, METRICS, "metric")
    _check(grid, MODES, "grid")
    _check(scores, MODES, "scores")
    labels_S, _ = check_labels(labels, n_rows=features_SF.shape[0])
    space = search_space(model) if space is None else read_space(space, model)
    rows: list[dict[str, Any]] = []
    known: dict[str, float] = {}

    def judge(params: dict[str, Any]) -> float:
        key = json.dumps(params, sort_keys=True, default=str)
        if key not in known:
            found = [
                score_probs(
                    fit_forest(
                        features_SF[fit], labels_S[fit], params, model=model, seed=seed,
                        n_jobs=n_jobs,
                    ).predict_proba(features_SF[test]),
                    labels_S[test], metric, scores,
                )
                for fit, test in folds
            ]  # fmt: skip
            known[key] = float(np.mean(found))
            spread = float(np.std(found, ddof=1)) if len(found) > 1 else float("nan")
            row = {"candidate": len(rows), "score": known[key], "score_sd": spread}
            rows.append(row | params)
        return known[key]

    if search == "bayes":
        _search_bayes(judge, space, n, seed)
    else:
        for params in list_candidates(space, search, n, seed, grid):
            judge(params)
    best = max(rows, key=lambda row: row["score"])
    return SearchResult({name: best[name] for name in space}, best["score"], pd.DataFrame(rows))


def fit_forest(
    features_SF: Matrix,
    labels: np.ndarray,
    params: Mapping[str, Any],
    *,
    model: str = "rf",
    seed: int = 1,
    n_jobs: int = 1,
) -> Any:
    """A fitted RandomForestClassifier or XGBClassifier; settings of the other are passed over.

    What is passed over is named in the log.
    """
    _check(model, MODELS, "model")
    labels_S, _ = check_labels(labels, n_rows=features_SF.shape[0])
    if len(np.unique(labels_S)) < 2:
        raise ValueError(f"all {len(labels_S)} labels are {labels_S[0]}, expected two classes")
    own = {*(FOREST_SPACE if model == "rf" else BOOSTING_SPACE), *_MORE[model]}
    idle = sorted(set(params) - own)
    if idle:
        logger.info("settings without a meaning for %s: %s", model, ", ".join(idle))
    used = {name: value for name, value in params.items() if name in own}
    if model == "rf":
        from sklearn.ensemble import RandomForestClassifier

        made = RandomForestClassifier(**used, random_state=seed, n_jobs=n_jobs)
    else:
        from xgboost import XGBClassifier

        made = XGBClassifier(**used, random_state=seed, n_jobs=n_jobs, tree_method="hist")
    return made.fit(features_SF, labels_S)


def save_forest(fitted: Any, folder: Path) -> Path:
    """Writes `model.joblib` (random forest) or `model.json` (XGBoost); the file."""
    if hasattr(fitted, "save_model"):
        fitted.save_model(folder / "model.json")
        return folder / "model.json"
    import joblib

    joblib.dump(fitted, folder / "model.joblib")
    return folder / "model.joblib"


def score_probs(
    probs_SC: np.ndarray, labels_S: np.ndarray, metric: str, scores: str = "corrected"
) -> float:
    """Accuracy; F1, precision or recall as means over classes; ROC-AUC (several: one against one).

    scores: 'reference' takes ROC-AUC from the predicted class instead of its probability, which is
    the mean of sensitivity and specificity.
    """
    from sklearn import metrics

    predicted_S = probs_SC.argmax(1)
    if metric == "accuracy":
        return float((predicted_S == labels_S).mean())
    if metric == "roc_auc":
        if scores == "reference":
            probs_SC = np.eye(probs_SC.shape[1])[predicted_S]
        if probs_SC.shape[1] == 2:
            return float(metrics.roc_auc_score(labels_S, probs_SC[:, 1]))
        return float(metrics.roc_auc_score(labels_S, probs_SC, multi_class="ovo"))
    score = getattr(metrics, f"{metric}_score")
    return float(score(labels_S, predicted_S, average="macro", zero_division=0))


def _grid(space: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """All combinations as scikit-learn lists them: names sorted, the last one changes fastest."""
    names = sorted(space)
    for values in itertools.product(*(space[name] for name in names)):
        yield dict(zip(names, values, strict=True))


def _search_bayes(judge, space: Mapping[str, list[Any]], n: int, seed: int) -> None:
    import optuna

    if n < 1:
        raise ValueError(f"the number of candidates is {n}, expected at least 1")
    was = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study(
            direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed)
        )
        study.optimize(
            lambda trial: judge(
                # by place: values may be None, lists or mixed
                {
                    name: values[trial.suggest_categorical(name, range(len(values)))]
                    for name, values in space.items()
                }
            ),
            n_trials=n,
        )
    finally:
        optuna.logging.set_verbosity(was)


def _check(value: str, choices: Sequence[str], what: str) -> None:
    if value not in choices:
        raise ValueError(f"{what} is {value!r}, expected one of {', '.join(choices)}")
