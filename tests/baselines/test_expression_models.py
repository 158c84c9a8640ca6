"""Every expression baseline on simulated promoters with planted words, and what it refuses."""

from functools import lru_cache

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.baselines.expression_models import (
    KMER_FEATURES,
    boosting_predictions,
    predict_baseline,
)
from genomelm_utils.baselines.expression_names import EXPRESSION_BASELINES, RANDOM_BASELINES
from genomelm_utils.datasets.expression_set import ExpressionSet, make_genes
from genomelm_utils.sequences.alphabet import decode, encode
from genomelm_utils.tasks.label_transform import LabelTransform

TISSUES = ("leaf", "root", "ear")
MOTIF = "GGTATAAATA"  # a TATA box, 31 to 40 bases upstream


def make_set(seed: int, n: int = 400, missing: float = 0.1) -> ExpressionSet:
    """Promoters of 80 to 120 bases, half with a TATA box that doubles expression three times."""
    rng = np.random.default_rng(seed)
    has = rng.random(n) < 0.5
    texts = []
    for one in has:
        codes = rng.integers(0, 4, rng.integers(80, 121)).astype(np.uint8)
        if one:
            codes[-40:-30] = encode(MOTIF)
        texts.append(decode(codes))
    tpm = np.exp(2.0 * has[:, None] + [1.0, 2.0, 0.5] + 0.3 * rng.normal(size=(n, 3)))
    tpm[rng.random(tpm.shape) < missing] = np.nan
    names = [f"g{i}" for i in range(n)]
    genes = make_genes(names, "B73", texts, cluster=np.arange(n) // 2)
    return ExpressionSet(genes, TISSUES, tpm.astype(np.float32), "simulated")


TRAIN, TEST = make_set(1), make_set(2, n=200)
TRANSFORM = LabelTransform(TISSUES)
LABELS = TRANSFORM.apply(TEST.tpm_ST)


@lru_cache
def predict(name, seed=0):
    """Predictions for the test set, each made once."""
    return predict_baseline(name, TRAIN, TEST, TRANSFORM, seed)


def squared_r(predicted, t):
    known = np.isfinite(LABELS[:, t])
    return np.corrcoef(LABELS[known, t], predicted[known, t])[0, 1] ** 2


@pytest.mark.parametrize("name", EXPRESSION_BASELINES)
def test_every_baseline_predicts_every_row_and_tissue(name):
    predicted = predict(name)
    assert predicted.dtype == np.float32
    assert predicted.shape == (200, 3)
    assert np.isfinite(predicted).all()
    spread = np.ptp(predicted, axis=0)
    if name == "tissue_mean":
        assert (spread == 0).all()
        assert predicted[0] == pytest.approx(np.nanmean(TRANSFORM.apply(TRAIN.tpm_ST), 0), rel=1e-5)
    elif name not in ("bow5", "bow2"):
        assert min(squared_r(predicted, t) for t in range(3)) > 0.1


@pytest.mark.parametrize("name", ["binned_kmer_ridge", "boosting", "cnn"])
def test_those_that_know_positions_find_the_planted_box(name):
    predicted = predict(name)
    assert min(squared_r(predicted, t) for t in range(3)) > 0.5


@pytest.mark.parametrize("name", ["motif_ridge", "boosting", "cnn"])
def test_labels_of_the_test_set_have_no_part(name):
    blind = ExpressionSet(TEST.genes, TISSUES, np.full_like(TEST.tpm_ST, np.nan), "simulated")
    assert (predict(name) == predict_baseline(name, TRAIN, blind, TRANSFORM, 0)).all()


def test_only_named_baselines_change_with_the_seed():
    for name in ("cnn", "boosting", "bow3"):
        first, second = predict(name), predict(name, 1)
        assert (first != second).any() == (name in RANDOM_BASELINES)


def test_predictions_are_on_the_scale_of_the_transform():
    plain = predict("motif_ridge")
    scaled = LabelTransform.fit(TRAIN.tpm_ST, TISSUES, standardise=True)
    found = predict_baseline("motif_ridge", TRAIN, TEST, scaled, 0)
    assert found * scaled.scale_T + scaled.center_T == pytest.approx(plain, abs=0.02)


def test_rows_without_a_label_in_one_tissue_still_teach_the_others():
    tpm = TRAIN.tpm_ST.copy()
    tpm[::2, 0] = np.nan
    half = ExpressionSet(TRAIN.genes, TISSUES, tpm, "simulated")
    for name in ("bow3", "boosting"):
        full, found = predict(name), predict_baseline(name, half, TEST, TRANSFORM, 0)
        assert (full[:, 1:] == found[:, 1:]).all()
        assert (full[:, 0] != found[:, 0]).any()


def test_boosting_equals_scikit_learn_on_the_known_rows(rng):
    from sklearn.ensemble import HistGradientBoostingRegressor

    from genomelm_utils.baselines.expression_models import BOOSTING

    rows, test = rng.normal(size=(2, 150, 4))
    labels = np.stack([rows[:, 0], rows[:, 1]], axis=1)
    labels[:50, 1] = np.nan
    found = boosting_predictions(rows, labels, test, 0)
    model = HistGradientBoostingRegressor(**BOOSTING, early_stopping=False, random_state=0)
    expected = model.fit(rows[50:], labels[50:, 1]).predict(test)
    assert found[:, 1] == pytest.approx(expected, abs=1e-6)


def test_published_bags_count_as_published():
    assert [KMER_FEATURES[f"bow{k}"].counts for k in range(2, 6)] == ["reference"] * 4
    assert len(KMER_FEATURES["binned_kmer_ridge"].names()) == 3 * sum(4**k for k in range(1, 7))


def test_bad_sets_are_told():
    with pytest.raises(ValueError, match="baseline 'forest' is unknown, expected one of tissue_me"):
        predict_baseline("forest", TRAIN, TEST, TRANSFORM, 0)
    other = TEST.select_tissues(("root", "leaf", "ear"))
    with pytest.raises(ValueError, match="the training set has the tissues leaf, root, ear, the t"):
        predict_baseline("cnn", TRAIN, other, TRANSFORM, 0)
    loose = TRAIN.with_columns({"cluster": np.where(np.arange(len(TRAIN)) < 3, -1, 4)})
    with pytest.raises(ValueError, match="3 of 400 training promoters have no cluster"):
        predict_baseline("kmer_ridge", loose, TEST, TRANSFORM, 0)
    one = TRAIN.with_columns({"cluster": 4})
    with pytest.raises(ValueError, match="400 training rows are in one cluster"):
        predict_baseline("cnn", one, TEST, TRANSFORM, 0)
    nothing = TRAIN.tpm_ST.copy()
    nothing[:, 1] = np.nan
    empty = ExpressionSet(TRAIN.genes, TISSUES, nothing, "simulated")
    for name, message in {
        "tissue_mean": "tissue 'root' has no label in 400 training rows",
        "kmer_ridge": r"output 1 \(0-based\) has 0 labels",
        "boosting": r"output 1 \(0-based\) has 0 labels",
        "cnn": r"output 1 \(0-based\) has no label",
    }.items():
        with pytest.raises(ValueError, match=message):
            predict_baseline(name, empty, TEST, TRANSFORM, 0)


def test_unknown_gaps_count_as_none():
    known = TEST.with_columns({"gap_bp": pd.array([0] * len(TEST), "Int64")})
    found = predict_baseline("boosting", TRAIN, known, TRANSFORM, 0)
    assert (found == predict("boosting")).all()
