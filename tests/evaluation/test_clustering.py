"""Clustering scores equal scikit-learn's; resampled ARI has no bias and the right width."""

import numpy as np
import pytest
from sklearn import metrics

from genomelm_utils.evaluation.clustering import (
    cluster_intervals,
    cluster_scores,
    cluster_seeds,
    compare_features,
    draw_weights,
    kmeans,
    resampled_ari,
)


def blobs(rng, n_species=8, per_species=25, width=12, noise=1.0):
    """Features [S, D] and species names [S]."""
    centres = rng.normal(size=(n_species, width))
    labels = np.repeat([f"species {number}" for number in range(n_species)], per_species)
    rows = np.repeat(centres, per_species, axis=0)
    return rows + noise * rng.normal(size=rows.shape), labels


def test_separate_species_score_one_and_shuffled_ones_nothing(rng):
    features, labels = blobs(rng, n_species=4, noise=0.01)
    table = cluster_scores(features * rng.uniform(1, 9, (100, 1)), labels)
    assert table.columns.tolist() == ["seed", "ari", "nmi", "homogeneity", "completeness"]
    assert table["seed"].tolist() == [0, 1, 2, 3, 4]
    assert table["ari"].max() == 1.0
    shuffled = cluster_scores(features, rng.permutation(labels))
    assert shuffled["ari"].abs().max() < 0.1


def test_scores_are_those_of_the_published_settings(rng):
    from sklearn.cluster import KMeans

    features, labels = blobs(rng)
    unit = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    model = KMeans(8, init="random", n_init=3, max_iter=1000, random_state=3)
    clusters = model.fit_predict(unit)
    row = cluster_scores(features, labels, seeds=[3]).iloc[0]
    assert row["ari"] == pytest.approx(metrics.adjusted_rand_score(labels, clusters))
    assert row["nmi"] == pytest.approx(metrics.normalized_mutual_info_score(labels, clusters))
    assert row["homogeneity"] == pytest.approx(metrics.homogeneity_score(labels, clusters))
    assert row["completeness"] == pytest.approx(metrics.completeness_score(labels, clusters))


def test_order_of_rows_and_names_of_labels_do_not_matter_to_the_truth(rng):
    features, labels = blobs(rng)
    codes, clusters = cluster_seeds(features, labels, [0])
    assert codes.tolist() == np.repeat(np.arange(8), 25).tolist()
    assert clusters.shape == (1, 200)


def naive_ari(codes, clusters, pair_weight):
    """Sums over all pairs, one by one."""
    both = species = cluster = total = 0.0
    for one in range(len(codes)):
        for other in range(one):
            weight = pair_weight(one, other)
            same_species = codes[one] == codes[other]
            same_cluster = clusters[one] == clusters[other]
            both += weight * (same_species and same_cluster)
            species += weight * same_species
            cluster += weight * same_cluster
            total += weight
    chance = species * cluster / total
    return (both - chance) / ((species + cluster) / 2 - chance)


def test_pairs_are_weighted_as_told(rng):
    codes, clusters = rng.integers(0, 5, 40), rng.integers(0, 4, (1, 40))
    codes[:5] = np.arange(5)
    by_contig = draw_weights(codes, "contig", 3, rng)
    by_species = draw_weights(codes, "species", 3, rng)
    found_contig = resampled_ari(codes, clusters, by_contig, "contig")[:, 0]
    found_species = resampled_ari(codes, clusters, by_species, "species")[:, 0]
    for resample in range(3):
        drawn, species = by_contig[resample], by_species[resample]
        assert found_contig[resample] == pytest.approx(
            naive_ari(codes, clusters[0], lambda i, j, w=drawn: w[i] * w[j])
        )

        def pair_weight(i, j, w=species):
            same = codes[i] == codes[j]
            return w[codes[i]] if same else w[codes[i]] * w[codes[j]]

        assert found_species[resample] == pytest.approx(naive_ari(codes, clusters[0], pair_weight))


@pytest.mark.parametrize("unit, size", [("species", 6), ("contig", 50)])
def test_everything_drawn_once_is_the_ari(rng, unit, size):
    codes, clusters = np.arange(50) % 6, rng.integers(0, 7, (2, 50))
    found = resampled_ari(codes, clusters, np.ones((1, size)), unit)[0]
    expected = [metrics.adjusted_rand_score(codes, row) for row in clusters]
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("unit", ["species", "contig"])
def test_resamples_do_not_flatter(rng, unit):
    """Sequences counted as pairs with their own copies would give an ARI above 0 here."""
    codes, clusters = np.repeat(np.arange(30), 5), rng.integers(0, 30, (1, 150))
    weights = draw_weights(codes, unit, 2000, rng)
    found = resampled_ari(codes, clusters, weights, unit)
    assert np.nanmean(found) == pytest.approx(
        metrics.adjusted_rand_score(codes, clusters[0]), abs=0.005
    )


def test_species_interval_is_as_wide_as_new_species_vary():
    """Many data sets from one source: the spread of their ARI is the width claimed for each."""
    found, widths = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        features, labels = blobs(rng, n_species=25, per_species=12, noise=0.9)
        table = cluster_intervals(features, labels, rng, seeds=[0], n_resamples=300)
        row = table.set_index("unit").loc["species"]
        found.append(row["mean"])
        widths.append(row["high"] - row["low"])
    spread = 2 * 1.96 * np.std(found)
    assert 0.6 < np.mean(widths) / spread < 1.8


def test_intervals_of_three_kinds(rng):
    features, labels = blobs(rng)
    table = cluster_intervals(features, labels, np.random.default_rng(1), n_resamples=200)
    assert table["unit"].tolist() == ["seed", "contig", "species"]
    assert table["n"].tolist() == [5, 200, 8]
    assert (table["low"] <= table["mean"]).all() and (table["mean"] <= table["high"]).all()
    assert table["mean"].to_numpy() == pytest.approx(cluster_scores(features, labels)["ari"].mean())
    again = cluster_intervals(features, labels, np.random.default_rng(1), n_resamples=200)
    assert table.equals(again)


def test_comparison_is_paired(rng):
    features, labels = blobs(rng, n_species=25, noise=0.8)
    worse = features + 0.8 * rng.normal(size=features.shape)
    found = compare_features(features, worse, labels, rng, n_resamples=400)
    expected = cluster_scores(features, labels)["ari"] - cluster_scores(worse, labels)["ari"]
    assert found.difference == pytest.approx(expected.mean())
    assert 0 < found.low < found.difference < found.high
    assert found.p < 0.05 and found.n == 25 and found.unit == "species" and not found.exact
    back = compare_features(worse, features, labels, rng, unit="contig", n_resamples=400)
    assert back.difference == pytest.approx(-found.difference) and back.high < 0
    same = compare_features(features, features, labels, rng, n_resamples=50)
    assert (same.difference, same.low, same.high, same.p) == (0, 0, 0, 1)


def test_bad_input_is_told(rng):
    features, labels = blobs(rng, n_species=3, per_species=4)
    with pytest.raises(ValueError, match="12 sequences of 12 species, one of each"):
        cluster_scores(features, np.arange(12))
    with pytest.raises(ValueError, match="at least two species"):
        cluster_scores(features, ["a"] * 12)
    with pytest.raises(ValueError, match="12 sequences cannot be put into 13 clusters"):
        kmeans(features, 13, 0)
    with pytest.raises(ValueError, match="expected one row per label"):
        cluster_scores(features, labels[:-1])
    with pytest.raises(ValueError, match="different ones"):
        cluster_scores(features, labels, seeds=[1, 1])
    with pytest.raises(ValueError, match="unit is 'reads'"):
        compare_features(features, features, labels, rng, unit="reads")
    features[5] = 0
    with pytest.raises(ValueError, match=r"all zero and have no direction \(rows 5,"):
        cluster_scores(features, labels)
    features[5, 0] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity"):
        cluster_scores(features, labels)
