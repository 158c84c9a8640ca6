"""Every baseline for expression behind one function: promoters in, one number per tissue out.

A language model that predicts expression has learned something only where it beats these. All are
trained on the training set alone and score on the same rows.

Shapes: S promoters, F features, T tissues.
"""

from typing import TYPE_CHECKING

import numpy as np

from genomelm_utils.baselines.expression_names import EXPRESSION_BASELINES
from genomelm_utils.baselines.kmer_ridge import (
    BIN_ENDS_BP,
    KmerFeatures,
    encode_promoters,
    fit_kmer_linear,
    fit_kmer_ridge,
)
from genomelm_utils.baselines.masked_ridge import fit_ridge
from genomelm_utils.baselines.promoter_cnn import predict_cnn
from genomelm_utils.baselines.promoter_motifs import motif_features
from genomelm_utils.datasets.expression_set import NO_CLUSTER

if TYPE_CHECKING:
    from genomelm_utils.datasets.expression_set import ExpressionSet
    from genomelm_utils.tasks.label_transform import LabelTransform

#: k-mer features of each baseline that counts words.
KMER_FEATURES = {
    **{f"bow{k}": KmerFeatures((k,), "reference") for k in range(2, 6)},
    "kmer_ridge": KmerFeatures((1, 2, 3, 4, 5, 6)),
    "binned_kmer_ridge": KmerFeatures((1, 2, 3, 4, 5, 6), bin_ends_bp=BIN_ENDS_BP),
    "boosting": KmerFeatures((1, 2, 3), bin_ends_bp=BIN_ENDS_BP),
}
# Ours, for a thousand or so rows: slower and with larger leaves than scikit-learn's defaults (rate
# 0.1, leaves of 20 rows). Not tuned.
BOOSTING = {"learning_rate": 0.05, "max_iter": 150, "max_leaf_nodes": 8, "min_samples_leaf": 30}
MIN_BOOSTING_ROWS = 2


def predict_baseline(
    name: str,
    train: "ExpressionSet",
    test: "ExpressionSet",
    transform: "LabelTransform",
    seed: int,
) -> np.ndarray:
    """Predictions float32 [S, T] of one baseline for `test`, on the scale of the transform.

    Labels that are NaN are left out per tissue, never their rows. What is to be chosen (the ridge
    penalty, the epoch to stop at) is chosen on held-out clusters of `train`; the labels of `test`
    are not looked at.

    Args:
        name: one of `EXPRESSION_BASELINES`. transform: with `.apply(tpm_ST) -> labels_ST`.
        seed: how clusters are dealt to folds, and the random draws of `RANDOM_BASELINES`.
    Raises: ValueError for an unknown name, sets with different tissues, rows that were not
        clustered (number the rows to treat them as unrelated), or a tissue without labels.
    """
    if name not in EXPRESSION_BASELINES:
        known = ", ".join(EXPRESSION_BASELINES)
        raise ValueError(f"baseline {name!r} is unknown, expected one of {known}")
    _check_sets(train, test)
    labels_ST = transform.apply(train.tpm_ST)
    if name == "tissue_mean":
        return np.tile(tissue_means(labels_ST, train.tissues), (len(test), 1))
    codes, test_codes = (encode_promoters(one.genes["sequence"]) for one in (train, test))
    gaps, test_gaps = train.genes["gap_bp"], test.genes["gap_bp"]
    if name.startswith("bow"):
        return fit_kmer_linear(codes, labels_ST, KMER_FEATURES[name]).predict(test_codes)
    clusters_S = _clusters_of(train)
    if name in ("kmer_ridge", "binned_kmer_ridge"):
        features = KMER_FEATURES[name]
        model = fit_kmer_ridge(codes, labels_ST, clusters_S, features, seed, gap_bp=gaps)
        return model.predict(test_codes, test_gaps)
    if name == "cnn":
        return predict_cnn((codes, gaps, labels_ST), (test_codes, test_gaps), clusters_S, seed)
    rows_SF, test_SF = motif_features(codes, gaps), motif_features(test_codes, test_gaps)
    if name == "motif_ridge":
        return fit_ridge(rows_SF, labels_ST, clusters_S, seed).predict(test_SF)
    kmers = KMER_FEATURES[name]
    rows_SF = np.hstack([rows_SF, kmers.rows(codes, gaps)])
    test_SF = np.hstack([test_SF, kmers.rows(test_codes, test_gaps)])
    return boosting_predictions(rows_SF, labels_ST, test_SF, seed)


def tissue_means(labels_ST: np.ndarray, tissues: tuple[str, ...]) -> np.ndarray:
    """Mean label of each tissue over the rows where it was measured: float32 [T].

    ValueError names a tissue without any label.
    """
    counts_T = np.isfinite(labels_ST).sum(0)
    if not counts_T.all():
        raise ValueError(
            f"tissue {tissues[int(counts_T.argmin())]!r} has no label in {len(labels_ST)} training "
            "rows; leave the tissue out"
        )
    return np.nanmean(labels_ST, axis=0, dtype=np.float64).astype(np.float32)


def boosting_predictions(
    rows_SF: np.ndarray, labels_ST: np.ndarray, test_SF: np.ndarray, seed: int
) -> np.ndarray:
    """Gradient boosting of regression trees, one model per tissue: float32 [S, T].

    A tissue with fewer than `MIN_BOOSTING_ROWS` labels is an error. Histograms make the trees
    independent of any scaling of the features. Source: scikit-learn's
    `HistGradientBoostingRegressor`, with the settings of `BOOSTING`.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    predicted_ST = np.empty((len(test_SF), labels_ST.shape[1]), dtype=np.float32)
    for t in range(labels_ST.shape[1]):
        known = np.isfinite(labels_ST[:, t])
        if known.sum() < MIN_BOOSTING_ROWS:
            raise ValueError(
                f"output {t} (0-based) has {known.sum()} labels in {len(labels_ST)} training rows, "
                f"expected at least {MIN_BOOSTING_ROWS}; leave the tissue out"
            )
        model = HistGradientBoostingRegressor(**BOOSTING, early_stopping=False, random_state=seed)
        predicted_ST[:, t] = model.fit(rows_SF[known], labels_ST[known, t]).predict(test_SF)
    return predicted_ST


def _check_sets(train: "ExpressionSet", test: "ExpressionSet") -> None:
    if train.tissues != test.tissues:
        raise ValueError(
            f"the training set has the tissues {', '.join(train.tissues)}, the test set "
            f"{', '.join(test.tissues)}; expected the same in the same order: select_tissues"
        )
    if not len(train) or not len(test):
        raise ValueError(f"{len(train)} training and {len(test)} test promoters, expected some")


def _clusters_of(train: "ExpressionSet") -> np.ndarray:
    clusters_S = train.genes["cluster"].to_numpy()
    n_without = int((clusters_S == NO_CLUSTER).sum())
    if n_without:
        raise ValueError(
            f"{n_without} of {len(train)} training promoters have no cluster; cluster them first, "
            "or number them to treat them as unrelated: relatives in two folds would choose badly"
        )
    return clusters_S
