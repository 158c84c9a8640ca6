"""Labels equal those of the plain dense algorithm; golden angles; memory stays blockwise."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from genomelm_utils.evaluation import binning, binning_cells, binning_density
from genomelm_utils.evaluation.binning import bin_contigs
from genomelm_utils.evaluation.feature_rows import unit_rows

DENSE = Path(__file__).resolve().parents[2] / "benchmarks" / "dense_kmedoid.py"
spec = importlib.util.spec_from_file_location("dense_kmedoid", DENSE)
dense_kmedoid = importlib.util.module_from_spec(spec)
spec.loader.exec_module(dense_kmedoid)
bin_dense = dense_kmedoid.bin_dense

GOLDEN_DEGREES = [0, 1, 2, 3, 4, 40, 41, 42, 43, 90, 91, 180]


def circle(degrees) -> np.ndarray:
    """Unit vectors float32 [S, 2] at these angles."""
    angles = np.deg2rad(np.asarray(degrees, dtype=float))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def clusters(rng, n, width, n_centres, noise) -> np.ndarray:
    """Rows scattered around random centres of unequal popularity, [n, width]."""
    centres = rng.normal(size=(n_centres, width))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    which = rng.choice(n_centres, size=n, p=rng.dirichlet(np.full(n_centres, 2.0)))
    return centres[which] + noise * rng.normal(size=(n, width)) / np.sqrt(width)


def relabel(labels: np.ndarray) -> np.ndarray:
    """Ids 1, 2, ... in the order of the ids given; -1 stays."""
    kept = np.unique(labels[labels > 0])
    return np.where(labels > 0, np.searchsorted(kept, labels) + 1, -1)


@pytest.mark.parametrize("mode", ["reference", "fixed"])
def test_golden_angles(mode):
    gamma = np.cos(np.deg2rad(5))
    features = circle(GOLDEN_DEGREES) * np.arange(1, 13)[:, None]  # length does not matter
    three = bin_contigs(features, gamma, min_bin_size=3, mode=mode)
    assert three.labels.tolist() == [1] * 5 + [2] * 4 + [-1] * 3
    assert (three.n_bins, three.n_small_bins) == (2, 2)
    single = bin_contigs(features, gamma, min_bin_size=1, mode=mode)
    assert single.labels.tolist() == [1] * 5 + [2] * 4 + [3, 3, 4]


@pytest.mark.parametrize("mode", ["reference", "fixed"])
def test_mean_is_not_scaled_back_to_length_one(mode):
    found = bin_contigs(circle([-12, -6, 0, 6, 12]), 0.975, min_bin_size=2, mode=mode)
    assert found.labels.tolist() == [-1, 1, 1, 1, -1]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("gamma", [0.3, 0.5, 0.7, 0.9])
def test_reference_labels_equal_the_dense_algorithm(seed, gamma):
    rng = np.random.default_rng(seed)
    features = clusters(rng, 600, 24, 25, noise=0.7)
    expected = bin_dense(unit_rows(features), gamma, min_bin_size=5)
    found = bin_contigs(features, gamma, min_bin_size=5, mode="reference", block_rows=97)
    np.testing.assert_array_equal(found.labels, expected)


@pytest.mark.parametrize("n, width, n_centres", [(2000, 64, 50), (3000, 768, 80)])
def test_reference_labels_equal_the_dense_algorithm_at_size(rng, n, width, n_centres):
    features = clusters(rng, n, width, n_centres, noise=0.6)
    expected = bin_dense(unit_rows(features), 0.7)
    found = bin_contigs(features, 0.7, mode="reference")
    np.testing.assert_array_equal(found.labels, expected)
    assert found.n_bins > 20
    fixed = bin_contigs(features, 0.7)
    np.testing.assert_array_equal(fixed.labels, relabel(expected))


@pytest.mark.parametrize("seed", range(40))
def test_reference_labels_equal_the_dense_algorithm_where_seeds_fail(seed):
    """Narrow, low-dimensional, gamma near the spread: empty seeds, second seeds, the limit."""
    rng = np.random.default_rng(1000 + seed)
    features = circle(rng.uniform(0, 360, 80)) if seed % 2 else rng.normal(size=(120, 3))
    gamma = rng.uniform(0.4, 0.99)
    limit = int(rng.choice([3, 12, 1000]))
    for min_size in (2, 4):  # rows alone are all equally dense: their ids are the peer's rounding
        expected = bin_dense(unit_rows(features), gamma, min_size, max_iterations=limit)
        found = bin_contigs(
            features, gamma, mode="reference", min_bin_size=min_size, max_bins=limit, block_rows=16
        )
        np.testing.assert_array_equal(found.labels, expected)


def failed_seed_rows() -> np.ndarray:
    """A hub (row 0) that is the densest row, and not in its own bin, nor in any later one.

    Its mean moves along axis 1 to a crowd beyond the hub's reach of 10 degrees. On axes 2 to 7,
    spokes are its neighbours, but each has its own crowd further out.
    """

    def rows(degrees: float, axis: int, times: int) -> np.ndarray:
        out = np.zeros((times, 8))
        out[:, 0], out[:, axis] = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
        return out

    parts = [rows(0, 1, 1), rows(9.9, 1, 10), rows(12, 1, 5)]
    for axis in range(2, 8):
        parts += [rows(9.9, axis, 1), rows(18, axis, axis + 1)]
    return np.vstack(parts)


@pytest.mark.parametrize("first", ["spoke", "crowd"])
def test_seeds_that_fail(first):
    """Row order decides what the reference does with a hub left over: bin it, or spin."""
    features, gamma = failed_seed_rows(), np.cos(np.deg2rad(10))
    lead = 16 if first == "spoke" else 17
    order = np.r_[lead, np.delete(np.arange(len(features)), lead)]
    features = features[order]
    expected = bin_dense(features, gamma, min_bin_size=1)
    found = bin_contigs(features, gamma, mode="reference", min_bin_size=1, block_rows=7)
    np.testing.assert_array_equal(found.labels, expected)
    assert found.labels[1] == (8 if first == "spoke" else -1)
    assert found.n_empty_seeds == (0 if first == "spoke" else 1000 - 7)
    assert found.n_iterations == (8 if first == "spoke" else 1000)
    fixed = bin_contigs(features, gamma, min_bin_size=1, max_bins=7)
    assert fixed.labels[1] == -1 and not fixed.limit_reached
    assert (fixed.n_bins, fixed.n_iterations, fixed.n_empty_seeds) == (7, 7, 0)
    np.testing.assert_array_equal(np.delete(fixed.labels, 1), np.delete(expected, 1))


def test_seed_without_members_does_not_count_in_fixed_mode(monkeypatch):
    """It takes rounding for a seed to miss its own bin; here the first seed is made to."""
    grow, calls = binning.Search.grow, []

    def miss_first(self, centre_D):
        calls.append(1)
        return len(calls) > 1 and grow(self, centre_D)

    monkeypatch.setattr(binning.Search, "grow", miss_first)
    features = circle(GOLDEN_DEGREES)
    found = bin_contigs(features, np.cos(np.deg2rad(5)), min_bin_size=3, max_bins=4)
    assert found.labels.tolist() == [1] * 5 + [2] * 4 + [-1] * 3
    assert (found.n_empty_seeds, found.n_iterations, found.limit_reached) == (1, 4, False)


def test_ties_go_to_the_first_row_whatever_the_blocks():
    """Rows with exact products: corners of a cube, each several times, all densities equal."""
    corners = np.array(np.meshgrid(*[[-1, 1]] * 4)).reshape(4, -1).T / 2.0
    features = np.tile(corners, (3, 1))
    expected = bin_dense(features, 0.5, min_bin_size=2)
    for block in (1, 5, 16, 4096):
        found = bin_contigs(features, 0.5, mode="reference", min_bin_size=2, block_rows=block)
        np.testing.assert_array_equal(found.labels, expected)
    assert found.labels[0] == 1


def test_copies_are_a_tie_and_share_a_bin(rng):
    features = np.repeat(rng.normal(size=(40, 50)), 3, axis=0)
    found = bin_contigs(features, 0.9, min_bin_size=3).labels.reshape(40, 3)
    assert (found == found[:, :1]).all() and sorted(found[:, 0]) == list(range(1, 41))


def test_isolated_rows_at_once_are_what_one_by_one_gives(monkeypatch, rng):
    features = np.vstack([np.eye(60, 61), clusters(rng, 60, 61, 4, 0.3)])
    for limit in (10, 40, 1000):
        at_once = bin_contigs(features, 0.5, min_bin_size=1, max_bins=limit)
        with monkeypatch.context() as patch:
            patch.setattr(
                binning.Search,
                "take_isolated",
                lambda self: self.take_densest(float(self.density_A.max())),
            )
            singly = bin_contigs(features, 0.5, min_bin_size=1, max_bins=limit)
        np.testing.assert_array_equal(at_once.labels, singly.labels)
        assert at_once.limit_reached == singly.limit_reached == (limit < 1000)


def test_limit_is_told(caplog):
    found = bin_contigs(np.eye(30), 0.5, min_bin_size=1, max_bins=7)
    assert found.limit_reached and found.n_bins == 7
    assert (found.labels[:7] > 0).all() and (found.labels[7:] == -1).all()
    assert "23 of 30 contigs" in caplog.text and "raise max_bins" in caplog.text
    caplog.clear()
    assert bin_contigs(np.eye(30), 0.5, max_bins=7).limit_reached  # but no bin was missed
    assert not caplog.text


def test_caller_is_left_as_it_was(rng):
    features = rng.normal(size=(50, 8))
    before, precision = features.copy(), torch.get_float32_matmul_precision()
    bin_contigs(features, 0.5)
    np.testing.assert_array_equal(features, before)
    assert torch.get_float32_matmul_precision() == precision


@pytest.mark.parametrize("neighbours", ["exact", "approximate"])
def test_no_block_is_larger_than_asked(monkeypatch, rng, neighbours):
    largest = []
    kept = binning_density.keep_similar

    def watch(similar, gamma):
        largest.append(similar.shape)
        return kept(similar, gamma)

    for module in (binning_density, binning_cells):
        monkeypatch.setattr(module, "keep_similar", watch)
    rows = clusters(rng, 1000, 16, 5, 0.4)
    bin_contigs(rows, 0.6, block_rows=64, neighbours=neighbours)
    assert max(max(shape) for shape in largest) == 64


def test_bad_input_is_told(rng):
    features = rng.normal(size=(20, 4))
    features[[3, 7]] = 0
    with pytest.raises(ValueError, match=r"2 feature rows are all zero.*rows 3, 7"):
        bin_contigs(features, 0.5)
    features[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"NaN or infinity \(rows 3,"):
        bin_contigs(features, 0.5)
    with pytest.raises(ValueError, match=r"shape \(5,\)"):
        bin_contigs(np.ones(5), 0.5)
    with pytest.raises(ValueError, match=r"gamma is 1.5, expected"):
        bin_contigs(np.ones((5, 2)), 1.5)
    with pytest.raises(ValueError, match=r"mode is 'both'"):
        bin_contigs(np.ones((5, 2)), 0.5, mode="both")
    with pytest.raises(ValueError, match=r"min_bin_size is 0"):
        bin_contigs(np.ones((5, 2)), 0.5, min_bin_size=0)


def test_unit_rows_of_extreme_lengths():
    rows = unit_rows(np.array([[3e200, 4e200], [3e-200, 4e-200], [0, 2]]))
    np.testing.assert_allclose(rows, [[0.6, 0.8], [0.6, 0.8], [0, 1]], rtol=1e-6)


def naive_densities(features, gamma, gone):
    """Sums of float64 similarities to the rows that are not gone."""
    similar = features.astype(np.float64) @ features.T.astype(np.float64)
    return np.where(similar >= gamma, similar, 0)[:, ~gone].sum(1)


@pytest.mark.parametrize("gamma", [0.05, 0.4, 0.8, 0.97])
def test_densities_stay_right_bin_after_bin(rng, gamma):
    """What is left out as out of reach had nothing to lose."""
    rows = unit_rows(clusters(rng, 400, 5, 12, noise=0.4))
    search = binning.Search(torch.from_numpy(rows), gamma, 1000, 50, reference=False)
    for _ in range(4):
        search.take_densest(float(search.density_A.max()))
        gone = search.labels_S.numpy() > 0
        expected = naive_densities(rows, gamma, gone)
        kept = torch.isfinite(search.density_A).numpy()
        index = search.index_A.numpy()[kept]
        np.testing.assert_allclose(search.density_A.numpy()[kept], expected[index], atol=1e-3)
        if not kept.any():
            break


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_labels_equal_cpu_labels(rng):
    features = clusters(rng, 3000, 128, 40, noise=0.6)
    on_cpu = bin_contigs(features, 0.6, device="cpu")
    on_gpu = bin_contigs(features, 0.6, device="cuda")
    np.testing.assert_array_equal(on_cpu.labels, on_gpu.labels)


@pytest.mark.slow
def test_a_large_set_needs_no_matrix():
    """30,000 rows: the matrix would take 3.4 GiB; the extra memory stays below a tenth of that."""
    import subprocess
    import sys

    code = (
        "import numpy as np; from pathlib import Path\n"
        "from genomelm_utils.evaluation.binning import bin_contigs\n"
        "def peak():\n"
        "    lines = Path('/proc/self/status').read_text().splitlines()\n"
        "    return int(next(s for s in lines if s.startswith('VmHWM')).split()[1]) / 2**20\n"
        "rng = np.random.default_rng(0)\n"
        "rows = np.eye(60, 64, dtype=np.float32)[rng.integers(0, 60, 30000)]\n"
        "rows += 0.05 * rng.standard_normal(rows.shape, dtype=np.float32)\n"
        "bin_contigs(rows[:500], 0.8); before = peak()\n"
        "labels = bin_contigs(rows, 0.8).labels\n"
        "print(len(np.unique(labels)), peak() - before)\n"
    )
    if not Path("/proc/self/status").is_file():
        pytest.skip("peak memory is read from /proc/self/status")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    n_bins, extra_gib = out.stdout.split()
    assert int(n_bins) == 60
    assert float(extra_gib) < 0.34
