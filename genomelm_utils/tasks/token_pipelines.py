"""Classical models of token data sets, from rows to scores: features, search, test, baselines.

Switch `protocol`, `corrected` or `reference` (the released code). Reference deals rows at random,
learns features from all rows before they are split, chooses settings on the test rows (the first
n of a grid, ROC-AUC from predicted classes) and deals folds by class only. Corrected keeps
relatives together, learns from training rows alone, and touches test rows once, at the end.

Shapes: R rows, F features, C classes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from genomelm_utils.baselines.forests import (
    Matrix,
    SearchResult,
    fit_forest,
    score_probs,
    search_forest,
    search_space,
)
from genomelm_utils.baselines.importances import impurity_importance, permutation_importance
from genomelm_utils.baselines.letter_models import letter_probs, usable_baselines
from genomelm_utils.baselines.token_counts import fit_token_counts
from genomelm_utils.baselines.word2vec import TokenSentences, TokenVectors, sequence_vectors
from genomelm_utils.datasets.row_groups import group_rows, list_rows
from genomelm_utils.datasets.split_plan import SHARES, check_shares, split_like_genomenlp
from genomelm_utils.datasets.token_reading import TokenSet
from genomelm_utils.evaluation.class_scores import score_intervals
from genomelm_utils.sequences.splits import split_stratified
from genomelm_utils.tasks.crossval import CrossValidated, cross_validate, make_folds

MODES = ("corrected", "reference")
INNER_FOLDS = 3  # of the training rows, on which settings are chosen
SHOWN = 50  # importances; Source: genomeNLP's --show_features

#: transform(rows of token ids) -> features [.., F].
Transform = Callable[[Sequence[np.ndarray]], Matrix]
#: learn(training rows, their labels) -> (transform, names of the features).
Learn = Callable[[Sequence[np.ndarray], np.ndarray], tuple[Transform, list[str]]]


@dataclass(frozen=True)
class PipelineSettings:
    """What is done. model: 'rf' or 'xg'. search, n_candidates, metric, space: of
    `baselines.forests.search_forest`. k: folds of the training rows. shares: of train, test, valid.
    groups, word: what stays together, see `datasets.row_groups`. n_jobs: processes; any number
    gives the same results."""

    model: str = "rf"
    search: str = "random"
    n_candidates: int = 8
    metric: str = "f1"
    space: Mapping[str, list[Any]] | None = None
    k: int = 8
    shares: Mapping[str, float] | None = None
    groups: str = "sequence"
    word: int = 40
    protocol: str = "corrected"
    shown: int = SHOWN
    n_jobs: int = 1
    seed: int = 1


@dataclass(frozen=True)
class PipelineResult:
    """fitted: the model; search: candidates and the best settings; test: scores with intervals
    (columns method, metric, value, low, high, n_groups), of the model and of all baselines; folds:
    cross-validation of the training rows; impurity, permutation: importances; n_rows: of each part;
    left_out: baselines that could not be used, with the reason."""

    fitted: Any
    search: SearchResult
    test: pd.DataFrame
    folds: CrossValidated
    impurity: pd.DataFrame
    permutation: pd.DataFrame
    n_rows: dict[str, int]
    left_out: dict[str, str]
    parts: dict[str, np.ndarray]


def count_features(
    vocabulary: Sequence[str],
    *,
    method: str = "tfidf",
    ngrams: tuple[int, int] = (1, 1),
    words: str = "corrected",
    max_features: int | None = None,
) -> Learn:
    """Counts or TF-IDF of token n-grams, see `baselines.token_counts`."""

    def learn(rows, labels):
        counts = fit_token_counts(
            rows, vocabulary, method=method, ngrams=ngrams, words=words, max_features=max_features
        )
        return counts.transform, list(counts.names)

    return learn


def vector_features(
    vectors: TokenVectors, vocabulary: Sequence[str], *, weighting: str = "mean"
) -> Learn:
    """Means of word2vec vectors over a row's tokens, see `baselines.word2vec`."""
    names = [f"dimension {i}" for i in range(vectors.vectors_VD.shape[1])]

    def learn(rows, labels):
        train = TokenSentences(rows, vocabulary)

        def transform(some):
            sentences = TokenSentences(some, vocabulary)
            return sequence_vectors(vectors, sentences, weighting=weighting, train=train)

        return transform, names

    return learn


def select_features(learn: Learn, n: int) -> Learn:
    """The n features with the largest ANOVA F on the training rows."""
    from sklearn.feature_selection import SelectKBest, f_classif

    def learn_selected(rows, labels):
        transform, names = learn(rows, labels)
        best = SelectKBest(f_classif, k=min(n, len(names))).fit(transform(rows), labels)
        kept = best.get_support(indices=True)
        return lambda some: transform(some)[:, kept], [names[i] for i in kept]

    return learn_selected


def run_pipeline(rows: TokenSet, learn: Learn, settings: PipelineSettings) -> PipelineResult:
    """A forest on features of token rows: searched, tested once, cross-validated, explained.

    Raises: ValueError for parts or folds that miss a class, and what the parts of the pipeline say.
    """
    if settings.protocol not in MODES:
        raise ValueError(f"protocol is {settings.protocol!r}, expected one of {', '.join(MODES)}")
    reference = settings.protocol == "reference"
    token_rows, labels_R = list_rows(rows), rows.labels
    groups_R = (
        np.arange(len(rows)) if reference else group_rows(rows, settings.groups, settings.word)
    )
    parts = deal_rows(labels_R, groups_R, settings)
    train, test = parts["train"], parts["test"]
    _check_parts(labels_R, parts, rows.class_names)
    seen = np.arange(len(rows)) if reference else train
    transform, names = learn([token_rows[i] for i in seen], labels_R[seen])
    train_RF, test_RF = (transform([token_rows[i] for i in part]) for part in (train, test))
    found = _search(train_RF, test_RF, labels_R, groups_R, parts, settings)
    fit = {"model": settings.model, "seed": settings.seed, "n_jobs": settings.n_jobs}
    fitted = fit_forest(train_RF, labels_R[train], found.params, **fit)
    probs_RC = fitted.predict_proba(test_RF)
    scores = [_score(_model_name(settings), probs_RC, rows, groups_R, test, settings)]
    left_out = {}
    for name, reason in usable_baselines(rows.features).items():
        if reason:
            left_out[name] = reason
            continue
        known = [rows.features[i] for i in train], labels_R[train]
        probs = letter_probs(name, known, [rows.features[i] for i in test], len(rows.class_names))
        scores.append(_score(name, probs, rows, groups_R, test, settings))
    impurity = impurity_importance(fitted, names)
    permutation = permutation_importance(
        fitted, test_RF, labels_R[test], names, np.random.default_rng([settings.seed, 3]),
        metric="roc_auc", only=impurity["feature"].head(settings.shown).tolist(),
    )  # fmt: skip
    folds = _cross_validate(token_rows, rows, groups_R, train, learn, found.params, settings, fit)
    n_rows = {name: len(part) for name, part in parts.items()}
    return PipelineResult(
        fitted, found, pd.concat(scores, ignore_index=True), folds, impurity, permutation, n_rows,
        left_out, parts,
    )  # fmt: skip


def run_token_pipeline(
    labels_N: np.ndarray, tokens_N: np.ndarray, vectors_ND: np.ndarray, settings: PipelineSettings
) -> tuple[SearchResult, float]:
    """As released: every single token is a row with the label of its sequence (`word2vec.
    token_table`); (search, ROC-AUC on test rows). Random rows whatever the protocol says.

    The same token has the same vector on both sides of the split, so this scores how unlike the
    classes' token counts are.
    """
    settings = replace(settings, protocol="reference")
    parts = deal_rows(labels_N, np.arange(len(labels_N)), settings)
    train, test = parts["train"], parts["test"]
    found = _search(
        vectors_ND[train], vectors_ND[test], labels_N, np.arange(len(labels_N)), parts, settings
    )
    fitted = fit_forest(
        vectors_ND[train], labels_N[train], found.params, model=settings.model, seed=settings.seed,
        n_jobs=settings.n_jobs,
    )  # fmt: skip
    return found, score_probs(fitted.predict_proba(vectors_ND[test]), labels_N[test], "roc_auc")


def deal_rows(
    labels_R: np.ndarray, groups_R: np.ndarray, settings: PipelineSettings
) -> dict[str, np.ndarray]:
    """Row numbers of train, test and valid: by group and class, or at random (reference)."""
    shares = check_shares(settings.shares or SHARES)
    rng = np.random.default_rng(settings.seed)
    if settings.protocol == "reference":
        return split_like_genomenlp(len(labels_R), shares, rng)
    return split_stratified(groups_R, labels_R, shares, rng)


def _search(train_RF, test_RF, labels_R, groups_R, parts, settings) -> SearchResult:
    reference = settings.protocol == "reference"
    train, test = parts["train"], parts["test"]
    options = {
        "model": settings.model,
        "search": settings.search,
        "n": settings.n_candidates,
        "metric": settings.metric,
        "space": settings.space or search_space(settings.model, settings.protocol),
        "seed": settings.seed,
        "n_jobs": settings.n_jobs,
        "grid": settings.protocol,
        "scores": settings.protocol,
    }
    if not reference:
        folds = make_folds(labels_R[train], groups_R[train], INNER_FOLDS, seed=settings.seed)
        return search_forest(train_RF, labels_R[train], folds, **options)
    both = _stack(train_RF, test_RF)
    fold = np.arange(len(train)), len(train) + np.arange(len(test))
    return search_forest(both, labels_R[np.concatenate([train, test])], [fold], **options)


def _cross_validate(
    token_rows, rows, groups_R, train, learn, params, settings, fit
) -> CrossValidated:
    """Folds of the training rows; corrected learns features anew in every fold."""
    labels = rows.labels[train]
    reference = settings.protocol == "reference"
    folds = make_folds(
        labels, groups_R[train], settings.k, seed=settings.seed, mode=settings.protocol
    )
    whole = learn(token_rows, rows.labels)[0] if reference else None

    def fit_fold(inside: np.ndarray, outside: np.ndarray, _: int) -> np.ndarray:
        ins, outs = ([token_rows[i] for i in train[part]] for part in (inside, outside))
        transform = whole or learn(ins, labels[inside])[0]
        forest = fit_forest(transform(ins), labels[inside], params, **fit)
        return forest.predict_proba(transform(outs))

    return cross_validate(
        labels, len(rows.class_names), folds, fit_fold, groups_S=groups_R[train],
        seed=settings.seed, leaked=reference,
    )  # fmt: skip


def _score(name, probs_RC, rows, groups_R, test, settings) -> pd.DataFrame:
    table = score_intervals(
        probs_RC, rows.labels[test], np.random.default_rng([settings.seed, 5]),
        groups=groups_R[test],
    )  # fmt: skip
    table.insert(0, "method", name)
    return table


def _model_name(settings: PipelineSettings) -> str:
    return {"rf": "random forest", "xg": "XGBoost"}[settings.model]


def _check_parts(labels_R, parts, class_names: Sequence[str]) -> None:
    for name in ("train", "test"):
        missing = sorted(set(range(len(class_names))) - set(labels_R[parts[name]].tolist()))
        if missing:
            raise ValueError(
                f"{name} ({len(parts[name])} rows) has no row of class {class_names[missing[0]]}; "
                "give it a larger share"
            )


def _stack(one: Matrix, other: Matrix) -> Matrix:
    from scipy import sparse

    return sparse.vstack([one, other]).tocsr() if sparse.issparse(one) else np.vstack([one, other])
