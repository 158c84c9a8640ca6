"""Maps of embeddings: lengths are ignored, neighbours stay, few points and collapsed ones work."""

import numpy as np
import pytest

from genomelm_utils.evaluation.projection import PROJECTIONS, project_features, project_methods


def blobs(rng, n_species=3, per_species=20, width=8):
    centres = rng.normal(size=(n_species, width))
    rows = np.repeat(centres, per_species, axis=0) + 0.02 * rng.normal(
        size=(n_species * per_species, width)
    )
    return rows, np.repeat([f"s{i}" for i in range(n_species)], per_species)


@pytest.mark.parametrize("method", PROJECTIONS)
def test_species_stay_together_and_lengths_do_not_count(rng, method):
    features, labels = blobs(rng)
    places = project_features(features, method, seed=1)
    assert (places.shape, places.dtype) == ((60, 2), np.float64)
    centres = np.array([places[labels == s].mean(0) for s in np.unique(labels)])
    nearest = np.linalg.norm(places[:, None] - centres, axis=2).argmin(1)
    assert (np.unique(labels)[nearest] == labels).all()
    if method == "pca":
        longer = project_features(features * rng.uniform(1, 9, (60, 1)), method, seed=1)
        assert longer == pytest.approx(places, abs=1e-5)


@pytest.mark.parametrize("method", PROJECTIONS)
def test_same_features_and_seed_give_the_same_map(rng, method):
    features, _ = blobs(rng)
    before = features.copy()
    first = project_features(features, method, seed=5)
    assert np.array_equal(first, project_features(features, method, seed=5))
    assert np.array_equal(features, before)


def test_pca_is_the_singular_vectors_of_the_centred_rows(rng):
    features = rng.normal(size=(12, 5))
    rows = features / np.linalg.norm(features, axis=1, keepdims=True)
    rows -= rows.mean(0)
    left, sizes, _ = np.linalg.svd(rows, full_matrices=False)
    found = project_features(features)
    assert np.abs(found) == pytest.approx(np.abs(left[:, :2] * sizes[:2]), abs=1e-6)


@pytest.mark.parametrize("method", PROJECTIONS)
@pytest.mark.parametrize("n", [3, 4, 10])
def test_few_sequences_have_a_map(rng, method, n):
    places = project_features(rng.normal(size=(n, 6)), method)
    assert np.isfinite(places).all()
    assert len(np.unique(places, axis=0)) == n


@pytest.mark.parametrize("method", PROJECTIONS)
def test_a_collapsed_network_is_one_point(method):
    assert not project_features(np.full((40, 7), 0.3), method).any()


@pytest.mark.parametrize("method", PROJECTIONS)
def test_rows_that_hardly_differ_are_told_apart(rng, method):
    features, labels = blobs(rng)
    places = project_features(1 + 1e-3 * features, method)
    first, second = (places[labels == s].mean(0) for s in ("s0", "s1"))
    spread = places[labels == "s0"].std(0).max()
    assert np.linalg.norm(first - second) > 3 * spread


def test_what_cannot_be_drawn_is_refused(rng):
    features = rng.normal(size=(10, 4))
    with pytest.raises(ValueError, match="method is 'umap', expected one of: pca, tsne"):
        project_features(features, "umap")
    with pytest.raises(ValueError, match=r"shape \(2, 4\), expected at least 3 sequences"):
        project_features(features[:2])
    with pytest.raises(ValueError, match=r"shape \(10, 1\)"):
        project_features(features[:, :1])
    features[4] = 0
    with pytest.raises(ValueError, match="all zero"):
        project_features(features)


def test_maps_of_all_methods_are_one_table(rng):
    features, labels = blobs(rng)
    table = project_methods({"b": features, "a": features[:, :4]}, labels, seed=2)
    assert table.columns.tolist() == ["projection", "method", "species", "x", "y"]
    sizes = table.groupby(["projection", "method"], sort=False).size()
    assert sizes.to_dict() == {(p, m): 60 for p in ("pca", "tsne") for m in ("b", "a")}
    part = table[(table["projection"] == "tsne") & (table["method"] == "a")]
    assert part["species"].tolist() == labels.tolist()
    assert np.array_equal(part[["x", "y"]], project_features(features[:, :4], "tsne", seed=2))


def test_every_sequence_needs_its_species(rng):
    features, labels = blobs(rng)
    with pytest.raises(ValueError, match="tnf: 60 feature rows for 59 species labels"):
        project_methods({"tnf": features}, labels[1:], ["pca"])
    with pytest.raises(ValueError, match="no features or no projections"):
        project_methods({}, labels)
