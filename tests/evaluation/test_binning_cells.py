"""Cells hold the neighbours they say they hold; labels agree with the exact mode's."""

import logging

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from genomelm_utils.evaluation import binning, binning_cells
from genomelm_utils.evaluation.binning import bin_contigs
from genomelm_utils.evaluation.binning_cells import cell_densities, find_cells
from genomelm_utils.evaluation.binning_density import densities
from genomelm_utils.evaluation.feature_rows import unit_rows

GAMMA = 0.6


def scattered(rng, n=4000, width=32, n_centres=60, noise=0.6, strays=0.1):
    """Unit rows around random centres of unequal popularity, a tenth around nothing: torch."""
    centres = rng.normal(size=(n_centres, width))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    which = rng.choice(n_centres, size=n, p=rng.dirichlet(np.full(n_centres, 2.0)))
    centres = np.where(rng.random((n, 1)) < strays, 0, centres[which])
    return unit_rows(centres + noise * rng.normal(size=(n, width)) / np.sqrt(width))


def probed_pairs(cells) -> np.ndarray:
    """bool [S, S]: pairs of rows whose cells are looked at from each other, one by one."""
    cell_S = cells.cell_S.numpy()
    near_KK = np.zeros((len(cells), len(cells)), dtype=bool)
    for cell, others in enumerate(cells.probed):
        near_KK[cell, others.numpy()] = True
    return near_KK[np.ix_(cell_S, cell_S)]


@pytest.mark.parametrize("recall", [0.5, 0.9, 0.99])
def test_recall_of_neighbours_is_about_what_was_asked(rng, recall):
    rows = scattered(rng)
    cells = find_cells(torch.from_numpy(rows), GAMMA, recall=recall)
    neighbours = rows @ rows.T >= GAMMA
    np.fill_diagonal(neighbours, False)
    some = neighbours.sum(1) > 0
    found = (neighbours & probed_pairs(cells))[some].sum(1) / neighbours[some].sum(1)
    assert cells.recall >= recall
    assert found.mean() == pytest.approx(cells.recall, abs=0.04)  # a pilot of 256 rows
    assert probed_pairs(cells).mean() < 0.4  # and most pairs were not looked at
    assert f"hold {cells.recall:.1%} of the neighbours of 256 rows drawn" in cells.why


def test_what_is_looked_at_from_here_looks_back(rng):
    cells = find_cells(torch.from_numpy(scattered(rng)), GAMMA, recall=0.9)
    pairs = probed_pairs(cells)
    assert (pairs == pairs.T).all() and pairs.diagonal().all()
    assert [one.tolist() for one in cells.probed] == [sorted(one.tolist()) for one in cells.probed]


@pytest.mark.parametrize("block", [16, 100, 1024])
def test_densities_are_sums_over_the_pairs_looked_at(rng, block):
    rows = scattered(rng, n=1500)
    cells = find_cells(torch.from_numpy(rows), GAMMA, recall=0.8, block_rows=block)
    similar = rows.astype(np.float64) @ rows.T
    expected = np.where(probed_pairs(cells) & (similar >= GAMMA), similar, 0).sum(1)
    found = cell_densities(torch.from_numpy(rows), cells, np.float32(GAMMA), block)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5)
    assert (expected < np.where(similar >= GAMMA, similar, 0).sum(1) - 0.1).any()


def test_densities_stay_sums_over_the_pairs_looked_at_bin_after_bin(rng):
    rows = scattered(rng, n=1500)
    cells = find_cells(torch.from_numpy(rows), GAMMA, recall=0.8)
    pairs, similar = probed_pairs(cells), rows.astype(np.float64) @ rows.T
    search = binning.Search(torch.from_numpy(rows), GAMMA, 1000, 64, reference=False, cells=cells)
    for _ in range(30):
        search.take_densest(float(search.density_A.max()))
        gone = search.labels_S.numpy() > 0
        expected = np.where(pairs & (similar >= GAMMA), similar, 0)[:, ~gone].sum(1)
        kept = torch.isfinite(search.density_A).numpy()
        index = search.index_A.numpy()[kept]
        np.testing.assert_allclose(search.density_A.numpy()[kept], expected[index], atol=1e-3)
    assert len(search.index_A) < 1000  # the pool was copied together on the way


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("gamma", [0.4, 0.6, 0.8])
def test_all_cells_give_the_exact_labels(seed, gamma):
    rows = scattered(np.random.default_rng(seed), n=1200, width=16, n_centres=25)
    exact = bin_contigs(rows, gamma, min_bin_size=3, neighbours="exact")
    found = bin_contigs(rows, gamma, min_bin_size=3, neighbours="approximate", recall=1)
    np.testing.assert_array_equal(found.labels, exact.labels)
    assert found[1:6] == exact[1:6] and exact.n_bins > 3
    assert "all of 30 cells are looked at" in found.neighbours
    cells = find_cells(torch.from_numpy(rows), gamma, recall=1)
    all_found = cell_densities(torch.from_numpy(rows), cells, np.float32(gamma), 100)
    all_exact = densities(torch.from_numpy(rows), np.float32(gamma), 100)
    torch.testing.assert_close(all_found, all_exact, rtol=1e-6, atol=0)


@pytest.mark.parametrize("recall", [0.7, 0.95])
def test_labels_agree_with_the_exact_ones(rng, recall):
    rows = scattered(rng)
    exact = bin_contigs(rows, GAMMA, neighbours="exact").labels
    found = bin_contigs(rows, GAMMA, neighbours="approximate", recall=recall).labels
    assert len(np.unique(exact)) > 40
    assert adjusted_rand_score(exact, found) > 0.97
    assert ((found > 0) == (exact > 0)).mean() > 0.98


def test_the_same_seed_draws_the_same_cells_and_another_one_others(rng):
    rows = torch.from_numpy(scattered(rng))
    a, b, c = (find_cells(rows, GAMMA, recall=0.9, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(a.cell_S, b.cell_S) and a.why == b.why
    assert not torch.equal(a.cell_S, c.cell_S)


def test_the_number_of_contigs_decides_and_the_reason_is_logged(rng, monkeypatch, caplog):
    rows = scattered(rng, n=1000)
    caplog.set_level(logging.INFO)
    assert bin_contigs(rows, GAMMA).neighbours == "exact: 1,000 contigs are no more than 1,000,000"
    monkeypatch.setattr(binning, "MAX_EXACT", 999)
    found = bin_contigs(rows, GAMMA)
    assert found.neighbours.startswith("approximate: 1,000 contigs are more than 999; of 25 cells")
    assert found.neighbours.replace(": ", ", ", 1) in caplog.text
    assert bin_contigs(rows, GAMMA, mode="reference").neighbours.startswith("exact: the reference")
    assert bin_contigs(rows, GAMMA, neighbours="exact").neighbours == "exact: given"


def test_work_is_bounded_and_a_recall_that_costs_more_is_told(rng, monkeypatch, caplog):
    rows = torch.from_numpy(scattered(rng))
    monkeypatch.setattr(binning_cells, "MAX_CANDIDATES", 80)
    cells = find_cells(rows, GAMMA, recall=0.99)
    assert probed_pairs(cells).sum(1).mean() <= 80 and 0.1 < cells.recall < 0.99
    assert "less than 0.99, for more than 80 rows per row are not looked at" in caplog.text


def test_rows_without_any_neighbour_are_alone(rng):
    found = bin_contigs(np.eye(200), 0.5, min_bin_size=1, neighbours="approximate")
    assert sorted(found.labels) == list(range(1, 201))
    assert "nan" not in found.neighbours


def test_copies_of_one_row_are_one_cell_and_one_bin():
    rows = np.repeat(np.eye(2, 5), 300, axis=0)
    found = bin_contigs(rows, 0.9, neighbours="approximate")
    assert found.labels.tolist() == [1] * 300 + [2] * 300


@pytest.mark.parametrize(
    "options, message",
    [
        ({"neighbours": "some"}, "neighbours is 'some', expected one of auto, exact, approximate"),
        ({"neighbours": "approximate", "mode": "reference"}, "take mode 'fixed'"),
        ({"recall": 0}, r"recall is 0, expected a share of the neighbours in \(0, 1\]"),
        ({"recall": 1.2}, "recall is 1.2"),
    ],
)
def test_bad_options_are_told(options, message):
    with pytest.raises(ValueError, match=message):
        bin_contigs(np.eye(5), 0.5, **options)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_labels_agree_with_cpu_labels(rng):
    rows = scattered(rng)
    labels = [
        bin_contigs(rows, GAMMA, neighbours="approximate", device=device).labels
        for device in ("cpu", "cuda")
    ]
    assert adjusted_rand_score(*labels) > 0.97
