"""Scores of bins: golden assignment, what is left out counts, levels of quality."""

import numpy as np
import pytest

from genomelm_utils.evaluation.binning_scores import (
    honest_scores,
    match_bins,
    recovered_curve,
    reference_scores,
)

GOLDEN_TRUE = [0] * 10 + [1] * 10 + [2] * 5
GOLDEN_BINS = [7] * 9 + [8] * 11 + [9] * 5


def test_golden_hungarian():
    table = reference_scores(GOLDEN_TRUE, GOLDEN_BINS)
    np.testing.assert_allclose(table["f1"], [0.947368, 0.952381, 1.0], atol=1e-6)
    assert table["recall"].tolist() == [0.9, 1.0, 1.0]
    assert table["species"].tolist() == [0, 1, 2]


def test_reference_equals_scikit_learn(rng):
    """Square confusion matrix over all ids, mapped predictions, binned contigs only."""
    from scipy.optimize import linear_sum_assignment
    from sklearn.metrics import confusion_matrix, f1_score, recall_score

    for n_species, n_bins in ((6, 9), (9, 6), (7, 7)):
        truth = rng.integers(0, n_species, 200)
        bins = np.where(rng.random(200) < 0.6, truth % n_bins, rng.integers(0, n_bins, 200))
        bins[rng.random(200) < 0.2] = -1
        binned = bins >= 0
        side = max(truth.max(), bins.max()) + 1
        square = confusion_matrix(truth[binned], bins[binned], labels=np.arange(side))
        rows, columns = linear_sum_assignment(square, maximize=True)
        mapped = np.argsort(columns)[bins[binned]]
        assert (rows == np.arange(side)).all()
        wanted = {"labels": np.arange(n_species), "average": None, "zero_division": 0}
        found = reference_scores(truth, bins)
        expected_f1 = f1_score(truth[binned], mapped, **wanted)
        assert found["f1"].sum() == pytest.approx(expected_f1.sum())
        np.testing.assert_allclose(found["f1"], expected_f1)
        np.testing.assert_allclose(found["recall"], recall_score(truth[binned], mapped, **wanted))


def test_unbinned_contigs_are_missing_from_the_honest_score():
    labels, bins = ["a"] * 100, [1] * 10 + [-1] * 90
    assert reference_scores(labels, bins)["f1"].tolist() == [1.0]
    honest = honest_scores(labels, bins, [1000] * 100)
    assert honest.species["f1"].item() == pytest.approx(20 / 110)
    assert honest.species["f1_contigs"].item() == pytest.approx(20 / 110)
    assert honest.summary["purity_bp"] == 1.0
    assert honest.summary["completeness_bp"] == pytest.approx(0.1)
    assert honest.summary["binned_contigs"] == pytest.approx(0.1)
    assert honest.summary["bins_50_10"] == 0


def test_base_pairs_weigh():
    """a: 9 kb + 1 kb; the long contig in bin 3, the short one in bin 5 with 3 kb of b."""
    honest = honest_scores(["a", "a", "b", "b"], [3, 5, 5, -1], [9000, 1000, 3000, 3000])
    a, b = honest.species.set_index("species").loc[["a", "b"]].to_dict("records")
    assert (a["bin"], a["completeness"], a["purity"]) == (3, 0.9, 1.0)
    assert (b["bin"], b["completeness"], b["purity"]) == (5, 0.5, 0.75)
    assert a["f1"] == pytest.approx(18 / 19) and b["f1"] == pytest.approx(0.6)
    assert a["f1_contigs"] == pytest.approx(2 / 3) and b["f1_contigs"] == pytest.approx(0.5)
    assert honest.bins["bin"].tolist() == [3, 5]
    assert honest.bins["species"].tolist() == ["a", "b"]
    assert honest.bins["contamination"].tolist() == [0.0, 0.25]
    summary = honest.summary
    assert summary["purity_bp"] == pytest.approx(12 / 13)
    assert summary["completeness_bp"] == pytest.approx(12 / 16)
    assert summary["binned_bp"] == pytest.approx(13 / 16)
    assert (summary["bins_90_5"], summary["bins_90_10"], summary["bins_50_10"]) == (1, 1, 1)


def test_levels_include_their_limits():
    """90 % complete with 10 % of another species: in the 10 % level, not in the 5 % one."""
    labels = ["a"] * 10 + ["b"] * 20
    bins = [1] * 9 + [-1] + [1] + [2] * 19
    summary = honest_scores(labels, bins, np.full(30, 100)).summary
    assert (summary["bins_90_10"], summary["bins_90_5"]) == (2, 1)
    summary = honest_scores(["a"] * 20 + ["b"] * 2, [1] * 19 + [-1, 1, -1], [10] * 22).summary
    assert (summary["bins_90_5"], summary["bins_50_5"]) == (1, 1)


def test_nothing_binned_scores_nothing(rng):
    labels, bins = ["a", "b", "b"], [-1, -1, -1]
    assert reference_scores(labels, bins)["f1"].tolist() == [0.0, 0.0]
    honest = honest_scores(labels, bins, [1, 2, 3])
    assert len(honest.bins) == 0
    assert honest.summary["f1"] == honest.summary["purity_bp"] == honest.summary["bins_50_10"] == 0
    assert (recovered_curve(honest.species["f1"], rng)["n_species"] == 0).all()


def test_perfect_bins_are_perfect():
    labels = np.repeat(["a", "b", "c"], [5, 7, 9])
    bins = np.repeat([4, 1, 9], [5, 7, 9])
    summary = honest_scores(labels, bins, np.arange(1, 22)).summary
    for name in ("binned_bp", "purity_bp", "completeness_bp", "f1", "f1_contigs", "ari_binned"):
        assert summary[name] == pytest.approx(1.0)
    assert summary["bins_90_5"] == summary["n_species"] == summary["n_bins"] == 3


def test_curve_counts_species_above(rng):
    curve = recovered_curve([0.05, 0.5, 0.55, 0.95], rng)
    assert curve["threshold"].tolist() == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert curve["n_species"].tolist() == [3, 3, 3, 3, 2, 1, 1, 1, 1]
    assert (curve["low"] <= curve["share"]).all() and (curve["share"] <= curve["high"]).all()


def test_matches_share_something():
    assert match_bins(np.array([[5, 0], [0, 0]])).tolist() == [0, -1]
    assert match_bins(np.zeros((2, 0))).tolist() == [-1, -1]


def test_bad_input_is_told():
    with pytest.raises(ValueError, match="whole numbers"):
        reference_scores(["a", "b"], [1.0, 2.0])
    with pytest.raises(ValueError, match="one per contig"):
        reference_scores(["a", "b"], [1])
    with pytest.raises(ValueError, match="above 0"):
        honest_scores(["a", "b"], [1, 1], [100, 0])
    with pytest.raises(ValueError, match="at least one"):
        reference_scores([], [])
