"""Which species is it, from 1 to 20 labelled sequences of each? Macro-F1 of a linear classifier.

    scores, skipped = few_shot_scores(features, species)
    interval_table(scores, by=["shots"], value="macro_f1", draw="seed")

Every seed is another draw of the labelled sequences from the same pool, so an interval over seeds
is about the draw, not about other species. Two sets of features get the same draws: compare them
with `statistics.compare_paired(a["macro_f1"], b["macro_f1"], draws=a["seed"])`, one number of shots
at a time.

Shapes: S sequences, D width, C species.
"""

import logging
import warnings
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from genomelm_utils.evaluation.feature_rows import check_features, label_codes
from genomelm_utils.evaluation.metrics import confusion_matrix, macro_scores
from genomelm_utils.tasks.linear import standardise

logger = logging.getLogger(__name__)

SHOTS = (1, 2, 5, 10, 20)
SEEDS = (0, 1, 2, 3, 4)
N_TEST = 80  # per species, of the reference
C = 0.5  # inverse regularisation, of the reference
COLUMNS = ["shots", "seed", "macro_f1", "n_species", "n_train", "n_test", "n_shared"]


class FewShot(NamedTuple):
    """`scores`: one row per number of shots and seed; `skipped`: species left out, and why."""

    scores: pd.DataFrame
    skipped: pd.DataFrame


def few_shot_scores(
    features_SD: np.ndarray,
    labels: Sequence[Hashable] | np.ndarray,
    *,
    shots: Sequence[int] = SHOTS,
    seeds: Sequence[int] = SEEDS,
    n_test: int = N_TEST,
    mode: str = "corrected",
) -> FewShot:
    """Macro-F1 per number of shots and seed.

    n_test: test sequences per species at most. Columns of `scores`: shots, seed, macro_f1,
    n_species, n_train, n_test, n_shared (sequences in training and test; 0 in `corrected`).

    mode `corrected`: every seed has its own permutation; of each species the last rows are the
    test, at most `n_test` and at least one, and never one of the first max(shots), from which the
    labelled ones are taken: the test is the same for all numbers of shots. Features are scaled by
    the training rows alone. Species with fewer than max(shots) + 1 sequences are left out, counted
    and named in `skipped`.
    mode `reference`: features are scaled by all rows, test included; the permutation of a seed is
    applied on top of that of the seed before; the test is the last `n_test` rows even where they
    are also training rows (told in `n_shared` and by a warning).

    Errors: ValueError for an unknown mode, shots below 1, fewer than two species (left), features
    that are not finite.
    Source: released evaluation of DNABERT-S: logistic regression (L2, C 0.5, lbfgs, 3000
    iterations).
    """
    codes_S, names = label_codes(labels)
    features_SD = check_features(features_SD, len(codes_S)).astype(np.float64)
    check_options(shots, seeds, n_test, mode)
    needed = max(shots) + 1 if mode == "corrected" else 1
    keep_S, skipped = leave_out(codes_S, names, needed)
    features_SD = features_SD[keep_S]
    codes_S, names = label_codes(np.asarray(labels)[keep_S])
    if mode == "reference":
        features_SD = standardise(features_SD, features_SD)[0]
    rows, order_S = [], np.arange(len(codes_S))
    for seed in seeds:
        if mode == "reference":
            order_S = order_S[np.random.RandomState(seed).permutation(len(order_S))]
        else:
            order_S = np.random.default_rng(seed).permutation(len(codes_S))
        members = [order_S[codes_S[order_S] == species] for species in range(len(names))]
        for n_shots in shots:
            train = np.concatenate([rows_M[:n_shots] for rows_M in members])
            first_test = max(shots) if mode == "corrected" else 0
            test = np.concatenate([rows_M[first_test:][-n_test:] for rows_M in members])
            f1 = score_split(features_SD, codes_S, train, test, seed, mode)
            n_shared = len(np.intersect1d(train, test))
            rows.append([n_shots, seed, f1, len(names), len(train), len(test), n_shared])
    scores = pd.DataFrame(rows, columns=COLUMNS)
    if scores["n_shared"].any():
        logger.warning("few-shot reference mode: training sequences are among the test sequences")
    return FewShot(scores, skipped)


def check_options(shots: Sequence[int], seeds: Sequence[int], n_test: int, mode: str) -> None:
    """ValueError that says which option is wrong (see `few_shot_scores`)."""
    if mode not in ("corrected", "reference"):
        raise ValueError(f"mode is {mode!r}, expected 'corrected' or 'reference'")
    if len(shots) == 0 or min(shots) < 1:
        raise ValueError(f"shots are {list(shots)}, expected one or more numbers from 1")
    if len(seeds) == 0 or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds are {list(seeds)}, expected one or more different ones")
    if n_test < 1:
        raise ValueError(f"n_test is {n_test}, expected 1 or more")


def leave_out(
    codes_S: np.ndarray, names: np.ndarray, needed: int
) -> tuple[np.ndarray, pd.DataFrame]:
    """Rows of species with enough sequences, bool [S], and the species without."""
    n_C = np.bincount(codes_S, minlength=len(names))
    few_C = n_C < needed
    reason = f"fewer than {needed} sequences: {needed - 1} to train on and one to test"
    skipped = pd.DataFrame({"species": names[few_C], "n_sequences": n_C[few_C], "reason": reason})
    if (~few_C).sum() < 2:
        raise ValueError(
            f"{(~few_C).sum()} of {len(names)} species have at least {needed} sequences (largest: "
            f"{n_C.max()}), expected two or more such species; ask for fewer shots"
        )
    if few_C.any():
        shown = ", ".join(map(str, names[few_C][:5])) + (", ..." if few_C.sum() > 5 else "")
        logger.warning("%d species left out, %s: %s", few_C.sum(), reason, shown)
    return ~few_C[codes_S], skipped


def score_split(
    features_SD: np.ndarray,
    codes_S: np.ndarray,
    train: np.ndarray,
    test: np.ndarray,
    seed: int,
    mode: str,
) -> float:
    """Macro-F1 on the test rows after training on the others."""
    from sklearn.linear_model import LogisticRegression

    train_SD, test_SD = features_SD[train], features_SD[test]
    if mode == "corrected":
        train_SD, test_SD = standardise(train_SD, test_SD)
    model = LogisticRegression(C=C, max_iter=3000, random_state=seed)
    with warnings.catch_warnings():  # one sequence per class is what is asked here
        warnings.filterwarnings("ignore", message="The number of unique classes is greater than")
        predicted_S = model.fit(train_SD, codes_S[train]).predict(test_SD)
    confusion_CC = confusion_matrix(codes_S[test], predicted_S, int(codes_S.max()) + 1)
    return macro_scores(confusion_CC)[2]
