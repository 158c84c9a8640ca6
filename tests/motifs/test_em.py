"""EM against a plain implementation of the same model, window by window."""

import numpy as np
import pytest

from genomelm_utils.motifs.background import Background, fit_background
from genomelm_utils.motifs.em import PSEUDO_SITES, EmData, fill_tables, run_em, word_numbers
from genomelm_utils.motifs.gadem import place_weights
from genomelm_utils.motifs.parameters import Parameters
from genomelm_utils.motifs.records import collect, count_definite


def make_data(texts, background=None, weight=None) -> EmData:
    data = collect(texts)
    background = background or fit_background(data.codes)
    return EmData(
        data.codes,
        data.starts,
        count_definite(data.codes, data.starts),
        word_numbers(data.codes),
        background.running_cost(data.codes, data.starts),
        np.empty(0, np.float32) if weight is None else weight,
        np.arange(len(data)),
        background.shares,
    )


def windows(data: EmData, matrix: np.ndarray):
    """Per sequence: (place, turned, chance under the matrix over that under the background)."""
    width = len(matrix)
    for s in data.records:
        found = []
        for j in range(data.starts[s], data.starts[s + 1] - width + 1):
            window = data.codes[j : j + width]
            if window.max() >= 4:
                continue
            chance = np.exp(data.cost[j + width] - data.cost[j])
            plus = np.prod(matrix[np.arange(width), window])
            minus = np.prod(matrix[np.arange(width), 3 - window[::-1]])
            weight = data.weight[j + width // 2] if len(data.weight) else 1.0
            found += [(j, False, plus / chance, weight), (j, True, minus / chance, weight)]
        yield found


def one_step(data: EmData, matrix: np.ndarray, gamma: float):
    """Likelihood ratio before, matrix and gamma after one step, by the textbook."""
    width = len(matrix)
    counts, llr, n_with, n = np.zeros_like(matrix), 0.0, 0.0, 0
    for found in windows(data, matrix):
        if not found:
            continue
        n += 1
        total = sum(w for *_, w in found)
        likelihood = 1 - gamma + gamma * sum(w * odds for *_, odds, w in found) / total
        llr += np.log(likelihood)
        for j, turned, odds, w in found:
            share = gamma * w / total * odds / likelihood
            n_with += share
            window = data.codes[j : j + width]
            counts[np.arange(width), 3 - window[::-1] if turned else window] += share
    top = counts + PSEUDO_SITES * data.shares
    gamma = min(max(n_with / n, 1 / n), 1 - 1e-3)
    return llr, top / top.sum(axis=1, keepdims=True), gamma


@pytest.fixture
def texts(rng):
    texts = ["".join(rng.choice(list("ACGT"), n)) for n in (30, 41, 25, 38, 33, 5 + 6)]
    texts = [t[:8] + "TGACGTCA" + t[16:] if i < 3 else t for i, t in enumerate(texts)]
    return [*texts, "ACGTNNACGTACGNNACGTTGA"]


@pytest.mark.parametrize("width", [6, 8, 11])
def test_steps_equal_the_plain_implementation(texts, width, rng):
    data = make_data(texts)
    matrix, gamma = rng.dirichlet(np.full(4, 0.5), width), 0.4
    matrix = (matrix + 0.02) / 1.08
    for steps in range(4):
        llr, _, _ = one_step(data, matrix, gamma)
        fit = run_em(data, matrix, gamma, 0)
        assert fit.llr == pytest.approx(llr, rel=1e-5, abs=1e-5), steps
        _, expected, expected_gamma = one_step(data, matrix, gamma)
        fit = run_em(data, matrix, gamma, 1, moved=0.0)
        # shares of a site below one in a thousand are not counted
        np.testing.assert_allclose(fit.probabilities, expected, atol=0.02)
        assert fit.gamma == pytest.approx(expected_gamma, rel=1e-4)
        matrix, gamma = fit.probabilities, fit.gamma


def test_the_likelihood_never_falls(texts):
    data = make_data(texts)
    matrix = np.full((8, 4), 0.1)
    matrix[np.arange(8), [3, 2, 0, 1, 2, 3, 1, 0]] = 0.7
    found = [run_em(data, matrix, 0.5, steps, moved=0.0).llr for steps in range(0, 12, 2)]
    assert (np.diff(found) > -1e-2).all()
    fit = run_em(data, matrix, 0.5, 50)
    assert "".join("ACGT"[i] for i in fit.probabilities.argmax(axis=1)) == "TGACGTCA"
    assert 2 / 7 < fit.gamma < 5 / 7


def test_flanks_are_counted_as_far_as_sequences_reach(texts):
    data = make_data(["TGACGTCAGG", "CCTGACGTCA", "AATGACGTCATT"])
    matrix = np.full((8, 4), 0.01)
    matrix[np.arange(8), [3, 2, 0, 1, 2, 3, 1, 0]] = 0.97
    counts = run_em(data, matrix, 0.9, 0, flank=3).counts
    assert counts.shape == (14, 4)
    # TGACGTCA is its own reverse complement: either strand of each is half a site
    sums = counts.sum(axis=1)
    np.testing.assert_allclose(sums[3:11], sums[5], rtol=1e-4)
    np.testing.assert_allclose(sums[[0, 13]], 0, atol=1e-3)  # no sequence reaches that far
    np.testing.assert_allclose(sums[[2, 11]], sums[5] * 2 / 3, rtol=1e-3)


def test_weights_of_places(texts):
    data = make_data(texts)
    starts = np.array([0, 10, 20])
    assert len(place_weights(starts, Parameters())) == 0
    tent = place_weights(starts, Parameters(weight_type="triangular", width_wt=8))
    np.testing.assert_allclose(tent[:10], [0.01, 0.01, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25, 0.01])
    np.testing.assert_array_equal(tent[:10], tent[10:])
    bell = place_weights(data.starts, Parameters(weight_type="gaussian", width_wt=20))
    weighted = make_data(texts, weight=bell)
    matrix = np.tile([0.4, 0.1, 0.2, 0.3], (7, 1))
    llr, expected, _ = one_step(weighted, matrix, 0.4)
    fit = run_em(weighted, matrix, 0.4, 0)
    assert fit.llr == pytest.approx(llr, rel=1e-4)
    found = run_em(weighted, matrix, 0.4, 1).probabilities
    np.testing.assert_allclose(found, expected, atol=0.02)


@pytest.mark.parametrize("width", [6, 9, 10, 13])
def test_tables_are_products(width, rng):
    matrix = rng.dirichlet(np.ones(4), width)
    offsets = np.empty((width + 4) // 5, np.int64)
    tables = np.empty(len(offsets) * 2048, np.float32)
    fill_tables(matrix, tables, offsets)
    assert offsets[-1] == width - 5
    window = rng.integers(0, 4, width)
    numbers = word_numbers(window.astype(np.uint8))
    for turned in (False, True):
        product = 1.0
        for block, begin in enumerate(offsets):
            product *= tables[(block * 1024 + int(numbers[begin])) * 2 + turned]
        bases = 3 - window[::-1] if turned else window
        expected = np.prod(4 * matrix[np.arange(width), bases])
        assert product == pytest.approx(expected, rel=1e-4)


def test_words_of_five():
    assert word_numbers(np.array([0, 1, 2, 3, 0, 14, 3], np.uint8)).tolist()[:2] == [
        0 * 256 + 1 * 64 + 2 * 16 + 3 * 4 + 0,
        1 * 256 + 2 * 64 + 3 * 16 + 0 * 4 + 0,
    ]


def test_a_chain_makes_its_own_words_no_news(texts):
    """A repeat that the background knows has odds near 1, one it does not know has not."""
    repeats = ["ACACACACACACACACACAC"] * 4
    matrix = np.tile([[0.97, 0.01, 0.01, 0.01], [0.01, 0.97, 0.01, 0.01]], (3, 1))
    known = make_data(repeats, fit_background(collect(repeats).codes, 1))
    plain = make_data(repeats, Background(np.full(4, 0.25), np.full((1, 4), 0.25)))
    assert run_em(known, matrix, 0.5, 0).llr < run_em(plain, matrix, 0.5, 0).llr / 5
