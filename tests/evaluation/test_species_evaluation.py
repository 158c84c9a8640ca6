"""The evaluation end to end on real contigs of 25 bacteria, with tetranucleotide frequencies."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.baselines.tetranucleotide import tnf_k
from genomelm_utils.datasets.species_contigs import read_contigs
from genomelm_utils.evaluation.binning import bin_contigs
from genomelm_utils.evaluation.binning_scores import honest_scores, reference_scores
from genomelm_utils.evaluation.binning_threshold import (
    labelled_threshold,
    split_halves,
    split_threshold,
)
from genomelm_utils.evaluation.clustering import cluster_scores, compare_features
from genomelm_utils.evaluation.feature_rows import label_codes, unit_rows
from genomelm_utils.evaluation.species_classification import few_shot_scores
from genomelm_utils.evaluation.statistics import interval_table

DENSE = Path(__file__).resolve().parents[2] / "benchmarks" / "dense_kmedoid.py"


@pytest.fixture(scope="module")
def contigs(data_dir):
    folder = data_dir / "species" / "contigs"
    return read_contigs(folder / "contigs.fna.gz", folder / "contigs.truth.tsv.gz")


@pytest.fixture(scope="module")
def features(contigs):
    return tnf_k(contigs.codes)


def test_halves_and_labels_agree_on_gamma(contigs, features, rng):
    """What one genome's pieces look like can be learnt without a label."""
    first, second, rows = split_halves(contigs.codes)
    assert len(rows) > 0.9 * len(contigs.codes)
    found = split_threshold(tnf_k(first), tnf_k(second), rng)
    labelled = labelled_threshold(features, contigs.species)
    assert found.value == pytest.approx(labelled.value, abs=0.03)


def test_labels_equal_the_dense_algorithm_on_real_contigs(contigs, features):
    spec = importlib.util.spec_from_file_location("dense_kmedoid", DENSE)
    dense = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(dense)
    gamma = labelled_threshold(features, contigs.species).value
    for threshold in (gamma, 0.5, 0.95):
        expected = dense.bin_dense(unit_rows(features), threshold)
        found = bin_contigs(features, threshold, mode="reference")
        np.testing.assert_array_equal(found.labels, expected)
    bins = bin_contigs(features, gamma).labels
    reference = reference_scores(contigs.species, bins)
    honest = honest_scores(contigs.species, bins, [len(codes) for codes in contigs.codes])
    assert honest.summary["f1"] < reference["f1"].mean()  # unbinned contigs are missing
    assert 0.3 < honest.summary["f1"] < 0.9
    assert 0 < honest.summary["bins_50_10"] <= honest.summary["n_bins"]


def test_clusters_and_few_shots_of_real_species(contigs, features, rng):
    noisy = features + features.std() * rng.normal(size=features.shape)
    found = compare_features(features, noisy, contigs.species, rng, seeds=[0, 1], n_resamples=500)
    assert found.low > 0 and found.n == len(set(contigs.species))
    assert 0.2 < cluster_scores(features, contigs.species, seeds=[0])["ari"].item() < 0.9
    scores, skipped = few_shot_scores(features, contigs.species, shots=[1, 10], seeds=[0, 1])
    means = interval_table(scores, ["shots"], value="macro_f1", draw="seed")
    assert means["mean"].is_monotonic_increasing and means["unit"].tolist() == ["draw", "draw"]
    assert len(skipped) == 0


def test_labels_may_be_missing_but_not_silently():
    with pytest.raises(ValueError, match=r"1 of 3 sequences have no label \(the first: row 1"):
        label_codes(["a", None, "b"])
    codes, names = label_codes(pd.Series(["b", "a", "b"]))
    assert codes.tolist() == [1, 0, 1] and names.tolist() == ["a", "b"]
