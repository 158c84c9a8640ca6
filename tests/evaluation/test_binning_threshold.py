"""gamma: golden percentiles with labels, and from halves of contigs without."""

import numpy as np
import pytest

from genomelm_utils.evaluation.binning_threshold import (
    labelled_threshold,
    split_halves,
    split_threshold,
    threshold_percentiles,
)

DEGREES = [0, 1, 2, 3, 4, 40, 41, 42, 43, 90, 91, 180]
GOLDEN = [0.404944, 0.670462, 0.671608, 0.848916, 0.949583, 0.952064, 0.999467, 0.999467, 0.999772]


def circle(degrees) -> np.ndarray:
    """Unit vectors [S, 2] at these angles."""
    angles = np.deg2rad(np.asarray(degrees, dtype=float))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_golden_percentiles():
    labels = np.repeat(["x", "y", "z"], 4)
    found = threshold_percentiles(circle(DEGREES) * 7, labels)
    assert list(found) == [10, 20, 30, 40, 50, 60, 70, 80, 90]
    np.testing.assert_allclose(list(found.values()), GOLDEN, atol=1e-6)
    value, why = labelled_threshold(circle(DEGREES), labels)
    assert value == pytest.approx(0.999467, abs=1e-6)
    assert "70th percentile" in why and "12 sequences of 3 labelled species" in why


def halves(rng, n_contigs=300, n_species=10, width=32, noise=0.5):
    """Two noisy views of contigs that are noisy views of species."""
    species = rng.normal(size=(n_species, width))
    contigs = species[rng.integers(0, n_species, n_contigs)]
    views = [contigs + noise * rng.normal(size=contigs.shape) for _ in range(2)]
    return views[0], views[1]


def test_halves_give_the_percentile_and_say_so(rng):
    first, second = halves(rng)
    value, why = split_threshold(first * 3, second, rng)
    cosine = (first * second).sum(1)
    cosine /= np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    assert value == pytest.approx(np.percentile(cosine, 70), abs=1e-5)
    assert "300 contigs" in why and "random pairs" in why
    lower = split_threshold(first, second, rng, percentile=20).value
    assert lower < value


def test_same_generator_same_words(rng):
    first, second = halves(rng)
    one = split_threshold(first, second, np.random.default_rng(3))
    assert one == split_threshold(first, second, np.random.default_rng(3))


def test_features_that_know_nothing_are_refused(rng):
    first, second = rng.normal(size=(2, 40, 8))
    with pytest.raises(ValueError, match="do not tell contigs apart"):
        split_threshold(first, -first, rng)
    with pytest.raises(ValueError, match=r"shape \(5, 8\).*at least 20 rows"):
        split_threshold(first[:5], second[:5], rng)
    with pytest.raises(ValueError, match="percentile is 100"):
        split_threshold(first, second, rng, percentile=100)
    with pytest.raises(ValueError, match="need centring"):
        split_threshold(first, first, rng)
    second[4, 2] = np.inf
    with pytest.raises(ValueError, match="NaN or infinity"):
        split_threshold(first, second, rng)
    with pytest.raises(ValueError, match="expected numbers in"):
        threshold_percentiles(first, np.arange(40), (100,))
    with pytest.raises(ValueError, match="40 feature rows for 39 labels"):
        labelled_threshold(first, np.arange(39))


def test_halves_of_contigs():
    contigs = [
        np.arange(9, dtype=np.uint8) % 4,
        np.zeros(3, np.uint8),
        np.arange(8, dtype=np.uint8),
    ]
    first, second, rows = split_halves(contigs, min_half_bp=3)
    assert rows.tolist() == [0, 2]
    assert [len(half) for half in first + second] == [4, 4, 5, 4]
    for row, one, other in zip(rows, first, second, strict=True):
        np.testing.assert_array_equal(np.concatenate([one, other]), contigs[row])
