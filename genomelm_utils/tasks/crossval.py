"""Cross-validation of any classifier: folds that keep relatives together, means and intervals.

Switches, each `corrected` or `reference` (the released code):

    folds   reference deals rows in their order, by class only, so that copies, chunks and other
            strands of a sequence lie in training and test; corrected deals groups, seeded
    start   reference starts every fold from the model that was already trained on all rows, the
            tested ones too (its scores are marked as leaked); corrected starts anew
    watch   reference chooses the epoch on the fold that is then reported; corrected on a part of
            the training rows

Shapes: S rows, C classes, K folds.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from genomelm_utils.evaluation.class_scores import SCORES, score_classes, score_intervals
from genomelm_utils.evaluation.statistics import mean_interval
from genomelm_utils.tasks.sequence_models import Tokens
from genomelm_utils.tasks.sequence_training import train_classifier
from genomelm_utils.tasks.sequence_validation import TrainingSettings

if TYPE_CHECKING:
    from transformers import PretrainedConfig

N_FOLDS = 8  # Source: genomeNLP's --kfolds
MODES = ("corrected", "reference")
VALID_SHARE = 0.1  # of a fold's training rows

Fold = tuple[np.ndarray, np.ndarray]  # (rows to train on, rows to test on)
#: fit_fold(train rows, test rows, fold) -> class probabilities of the test rows [.., C].
FitFold = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


class CrossValidated(NamedTuple):
    """folds: a row per fold and metric: fold, n_train, n_test, metric, value, leaked. summary: a
    row per metric: mean, sd, low, high over folds, and pooled, pooled_low, pooled_high over groups.
    probs_SC: of every row, from the fold it was tested in."""

    folds: pd.DataFrame
    summary: pd.DataFrame
    probs_SC: np.ndarray


def make_folds(
    labels_S: np.ndarray,
    groups_S: np.ndarray | None,
    k: int = N_FOLDS,
    *,
    seed: int = 1,
    mode: str = "corrected",
) -> list[Fold]:
    """k folds of row numbers; every row is tested once. mode: the switch `folds`.

    groups_S: rows of one group stay together (None: every row for itself). Classes are as frequent
    in every fold as the groups allow.

    Raises: ValueError for k below 2, or a class with fewer groups (reference: rows) than folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    if mode not in MODES:
        raise ValueError(f"folds is {mode!r}, expected one of {', '.join(MODES)}")
    if k < 2:
        raise ValueError(f"the number of folds is {k}, expected 2 or more")
    labels_S = np.asarray(labels_S)
    units_S = np.arange(len(labels_S)) if mode == "reference" or groups_S is None else groups_S
    for label in np.unique(labels_S):
        n_units = len(np.unique(units_S[labels_S == label]))
        if n_units < k:
            what = "rows" if mode == "reference" or groups_S is None else "groups of related rows"
            raise ValueError(
                f"class {label} has {n_units} {what}, fewer than {k} folds; take fewer folds"
            )
    if mode == "reference":
        parts = StratifiedKFold(k).split(labels_S, labels_S)
    else:
        maker = StratifiedGroupKFold(k, shuffle=True, random_state=seed)
        parts = maker.split(labels_S, labels_S, units_S)
    return [(np.asarray(train), np.asarray(test)) for train, test in parts]


def split_valid(train: np.ndarray, labels_S: np.ndarray, groups_S: np.ndarray, seed: int) -> Fold:
    """(rows to train on, rows to watch) of a fold's training rows, groups whole, about a tenth."""
    n = round(1 / VALID_SHARE)
    n_groups = [len(np.unique(groups_S[train][labels_S[train] == c])) for c in np.unique(labels_S)]
    inner = make_folds(labels_S[train], groups_S[train], max(2, min(n, *n_groups)), seed=seed)
    fit, watch = inner[0]
    return train[fit], train[watch]


def cross_validate(
    labels_S: np.ndarray,
    n_classes: int,
    folds: Sequence[Fold],
    fit_fold: FitFold,
    *,
    groups_S: np.ndarray | None = None,
    seed: int = 1,
    leaked: bool = False,
) -> CrossValidated:
    """Scores of a classifier in every fold, their means with intervals, and pooled predictions.

    The t interval over folds is somewhat narrow, because training sets of folds overlap; the pooled
    one resamples groups. A metric that a fold does not define (one class only) counts as missing.
    Source: Nadeau and Bengio 2003, Machine Learning 52:239, on what folds can say.
    """
    labels_S = np.asarray(labels_S)
    probs_SC = np.full((len(labels_S), n_classes), np.nan)
    rows = []
    for i, (train, test) in enumerate(folds):
        probs_SC[test] = fit_fold(train, test, i)
        scores = score_classes(probs_SC[test], labels_S[test])
        rows += [
            (i, len(train), len(test), name, scores[name], leaked) for name in (*SCORES, "loss")
        ]
    columns = ["fold", "n_train", "n_test", "metric", "value", "leaked"]
    table = pd.DataFrame(rows, columns=columns)
    tested = ~np.isnan(probs_SC[:, 0])
    pooled = score_intervals(
        probs_SC[tested],
        labels_S[tested],
        np.random.default_rng([seed, 7]),
        groups=None if groups_S is None else groups_S[tested],
    ).set_index("metric")
    summary = []
    for name, part in table.groupby("metric", sort=False):
        values = part["value"].dropna()
        if not len(values):
            continue
        mean = mean_interval(values)
        sd = values.std(ddof=1) if len(values) > 1 else np.nan
        row = {"metric": name, "mean": mean.mean, "sd": sd, "low": mean.low, "high": mean.high}
        if name in pooled.index:
            row |= dict(
                zip(
                    ("pooled", "pooled_low", "pooled_high"),
                    pooled.loc[name, ["value", "low", "high"]],
                    strict=True,
                )
            )
        summary.append({**row, "n_folds": len(values), "leaked": leaked})
    return CrossValidated(table, pd.DataFrame(summary), probs_SC)


def cross_validate_network(
    rows: Sequence[np.ndarray],
    labels_S: np.ndarray,
    network: "PretrainedConfig | Path | str",
    tokens: Tokens,
    class_names: Sequence[str],
    settings: TrainingSettings,
    folds: Sequence[Fold],
    *,
    groups_S: np.ndarray,
    seed: int = 1,
    start: str = "corrected",
    watch: str = "corrected",
    folder: Path | None = None,
    save_models: bool = False,
) -> CrossValidated:
    """Cross-validation of a network: one training per fold, all with the same settings.

    network: a configuration, or a folder to start from. start: 'reference' says that the folder
    holds a model trained on these very rows; 'corrected' refuses a classifier of these classes.
    folder: for histories and TensorBoard files (`fold-0`, ...) and, with save_models, the models.
    """
    from genomelm_utils.tasks.sequence_models import FILE

    for name, mode in (("start", start), ("watch", watch)):
        if mode not in MODES:
            raise ValueError(f"{name} is {mode!r}, expected one of {', '.join(MODES)}")
    from_folder = isinstance(network, str | Path)
    if start == "corrected" and from_folder and (Path(network) / FILE).is_file():
        raise ValueError(
            f"{network} is a trained classifier: if it has seen these rows, every fold is a leak. "
            "Give its configuration or the model it started from (or start='reference')"
        )
    labels_S = np.asarray(labels_S)

    def fit_fold(train: np.ndarray, test: np.ndarray, i: int) -> np.ndarray:
        fit, seen = (
            (train, test) if watch == "reference" else split_valid(train, labels_S, groups_S, seed)
        )
        place = folder / f"fold-{i}" if folder else None
        trained = train_classifier(
            ([rows[j] for j in fit], labels_S[fit]), network, tokens, class_names,
            replace(settings), valid=([rows[j] for j in seen], labels_S[seen]), seed=seed + i,
            folder=place,
        )  # fmt: skip
        if place is not None and save_models:
            trained.save(place / "model")
        return trained.predict([rows[j] for j in test])

    leaked = (start == "reference" and from_folder) or watch == "reference"
    return cross_validate(
        labels_S, len(class_names), folds, fit_fold, groups_S=groups_S, seed=seed, leaked=leaked
    )
