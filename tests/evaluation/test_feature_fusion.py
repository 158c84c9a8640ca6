"""Blocks side by side: cosines are weighted means; coverage as a direction."""

import numpy as np
import pytest

from genomelm_utils.evaluation import feature_fusion
from genomelm_utils.evaluation.binning import bin_contigs
from genomelm_utils.evaluation.feature_fusion import coverage_rows, fuse_features
from genomelm_utils.evaluation.feature_rows import unit_rows


def cosines(rows) -> np.ndarray:
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return rows @ rows.T


def test_the_cosine_is_the_mean_of_the_blocks_with_weights_squared(rng, monkeypatch):
    monkeypatch.setattr(feature_fusion, "BLOCK_ROWS", 4)  # the last part is shorter
    blocks = [rng.normal(size=(11, 3)), 100 * rng.normal(size=(11, 40)), rng.normal(size=(11, 2))]
    fused = fuse_features(blocks, [1, 0.5, 2])
    assert fused.shape == (11, 45) and fused.dtype == np.float32
    expected = sum(w * cosines(b) for w, b in zip((1, 0.25, 4), blocks, strict=True)) / 5.25
    np.testing.assert_allclose(cosines(fused), expected, atol=1e-6)


def test_without_weights_all_count_alike_and_maps_are_written(rng, tmp_path):
    blocks = [rng.normal(size=(5, 3)), rng.normal(size=(5, 2))]
    out = np.lib.format.open_memmap(tmp_path / "f.npy", "w+", np.float32, (5, 5))
    assert fuse_features(blocks, out=out) is out
    np.testing.assert_array_equal(out, np.hstack([unit_rows(block) for block in blocks]))


def test_bad_blocks_and_weights_are_told(rng, monkeypatch):
    block = rng.normal(size=(9, 3))
    for weights in ([1, 0], [1, -1], [1, np.inf], [1]):
        with pytest.raises(ValueError, match="expected a number above 0 for each of 2 blocks"):
            fuse_features([block, block], weights)
    with pytest.raises(ValueError, match="blocks have 9, 8 rows"):
        fuse_features([block, block[:8]])
    monkeypatch.setattr(feature_fusion, "BLOCK_ROWS", 4)
    block[7] = 0
    with pytest.raises(ValueError, match=r"1 feature rows are all zero .*\(rows 7,"):
        fuse_features([block])


def test_coverage_by_hand():
    """log(1 + depth) is 0, 1, 2 in one sample and constant in the other."""
    depth = np.array([[0, 3], [np.e - 1, 3], [np.e**2 - 1, 3]])
    z = 1.5**0.5
    np.testing.assert_allclose(coverage_rows(depth), [[-z, 0, 1], [0, 0, 1], [z, 0, 1]], atol=1e-12)


def test_one_sample_still_orders_contigs():
    """Likeness falls with the ratio of depths, also between two on one side of the mean."""
    similar = cosines(coverage_rows(np.array([[1.0], [5], [20], [22], [200]])))
    assert similar[2, 3] > 0.99
    assert similar[0, 1] > similar[0, 2] > similar[0, 4]
    assert similar[3, 4] < similar[2, 3]


def test_coverage_that_tells_nothing_is_told():
    with pytest.raises(ValueError, match="all 4 contigs have the same coverage in every sample"):
        coverage_rows(np.full((4, 2), 7.0))


def test_coverage_parts_species_of_one_composition(rng):
    """Four species, two compositions: by sequence two bins, with coverage four."""
    species = np.repeat(np.arange(4), 30)
    sequence = np.eye(2, 8)[species // 2] + 0.05 * rng.normal(size=(120, 8))
    means = np.array([[30, 5, 10], [4, 40, 8], [9, 9, 60], [50, 3, 3]])
    depth = means[species] * rng.lognormal(0, 0.15, (120, 3))
    alone = bin_contigs(sequence, 0.9)
    assert alone.n_bins == 2
    fused = bin_contigs(fuse_features([sequence, coverage_rows(depth)]), 0.9)
    assert fused.n_bins == 4
    pairs = {(a, b) for a, b in zip(species.tolist(), fused.labels.tolist(), strict=True) if b > 0}
    assert len(pairs) == 4 and (fused.labels > 0).mean() > 0.95
