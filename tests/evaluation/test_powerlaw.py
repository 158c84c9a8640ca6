"""Power-law fits on samples with known tails, and against other programs."""

import numpy as np
import pytest

from genomelm_utils.evaluation.powerlaw import (
    alpha_interval,
    fit_power_law,
    random_eigenvalues,
)


def pareto(alpha: float, n: int, rng: np.random.Generator, xmin: float = 1.0) -> np.ndarray:
    """Draws of the density ~ x ** -alpha above xmin, by inversion."""
    return xmin * (1 - rng.random(n)) ** (-1 / (alpha - 1))


@pytest.mark.parametrize("alpha", [2.0, 2.5, 4.0])
def test_alpha_of_a_pure_power_law(alpha, rng):
    fit = fit_power_law(pareto(alpha, 5000, rng))
    assert fit.alpha == pytest.approx(alpha, rel=0.05)
    assert fit.sigma == pytest.approx((fit.alpha - 1) / fit.n_tail**0.5)
    assert fit.n_tail > 2500


def test_golden_sample_of_two_thousand():
    for seed in range(5):
        values = pareto(2.5, 2000, np.random.default_rng(seed))
        # the standard error for the whole sample is 1.5 / sqrt(2000) = 0.034
        assert fit_power_law(values).alpha == pytest.approx(2.5, abs=0.12)
    mean = np.mean(
        [fit_power_law(pareto(2.5, 2000, np.random.default_rng(s))).alpha for s in range(30)]
    )
    assert mean == pytest.approx(2.5, abs=0.05)


def test_the_start_of_a_tail_is_found(rng):
    """Uniform below 5, a power law above: the fit begins near 5 and ignores what is below."""
    values = np.concatenate([rng.uniform(0, 5, 4000), pareto(3.0, 2000, rng, xmin=5.0)])
    fit = fit_power_law(values)
    assert fit.xmin == pytest.approx(5, rel=0.2)
    assert fit.alpha == pytest.approx(3, abs=0.2)


def test_scale_does_not_matter(rng):
    values = pareto(2.7, 500, rng)
    assert fit_power_law(values * 1000).alpha == pytest.approx(fit_power_law(values).alpha)


def test_fit_by_hand():
    """Values 1, 2, 4: alphas 1 + 3 / ln 8 and 1 + 2 / ln 2; gaps by hand."""
    fit = fit_power_law(np.array([4.0, 1.0, 2.0]))
    first = 1 + 3 / np.log(8)
    gaps = [abs(1 - x ** (1 - first) - i / 3) for i, x in enumerate([1, 2, 4])]
    second = 1 + 2 / np.log(2)
    gap = abs(1 - 2 ** (1 - second) - 1 / 2)
    best = (first, max(gaps), 3) if max(gaps) <= gap else (second, gap, 2)
    assert (fit.alpha, fit.distance, fit.n_tail) == pytest.approx(best)
    assert fit.xmax == 4


def test_the_same_as_weightwatcher(rng):
    fitted = pytest.importorskip("weightwatcher.WW_powerlaw", reason="needs weightwatcher").WWFit
    for values in (pareto(2.2, 300, rng), random_eigenvalues(200, 80, 0.02, rng)):
        theirs, ours = fitted(values), fit_power_law(values)
        assert ours.alpha == pytest.approx(theirs.alpha, rel=1e-9)
        assert ours.xmin == pytest.approx(theirs.xmin)
        assert ours.distance == pytest.approx(theirs.D, rel=1e-9)
        assert ours.n_tail == len(theirs.data)


def test_the_package_powerlaw_bounds_alpha_and_we_do_not(rng):
    """From version 2.0 on it makes untrained weights look well trained (alpha 2 to 3)."""
    package = pytest.importorskip("powerlaw", reason="needs powerlaw")
    if int(package.__version__.split(".")[0]) < 2:
        pytest.skip(f"powerlaw {package.__version__} is older than the change")
    values = random_eigenvalues(768, 3072, 0.02, rng)
    assert package.Fit(values, xmax=values.max(), verbose=False).alpha < 3.01
    assert fit_power_law(values).alpha > 5


def test_random_weights_are_steep():
    """One draw each gave 11.6 (3072 x 768) and 21.6 (22753 x 768); alphas spread widely."""
    for shape, one_draw in (((3072, 768), 11.56), ((22753, 768), 21.6)):
        rng = np.random.default_rng(5)
        alphas = [fit_power_law(random_eigenvalues(*shape, 0.02, rng)).alpha for _ in range(40)]
        low, high = np.quantile(alphas, [0.1, 0.9])
        assert low < one_draw < high
        assert low > 6


def test_random_eigenvalues_are_those_of_a_random_matrix(rng):
    drawn = np.mean([random_eigenvalues(60, 30, 0.5, rng) for _ in range(300)], axis=0)
    made = np.mean(
        [np.linalg.svd(rng.normal(0, 0.5, (60, 30)), compute_uv=False)[::-1] ** 2
         for _ in range(300)], axis=0,
    )  # fmt: skip
    np.testing.assert_allclose(drawn, made, rtol=0.08)
    assert random_eigenvalues(30, 60, 0.5, rng).shape == (30,)


def test_interval_holds_the_truth(rng):
    low, high = alpha_interval(pareto(2.5, 400, rng), rng, n_resamples=60)
    assert low < 2.5 < high


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0, 2.0], [1e-7, 1e-6, 3.0]])
def test_too_few_values(values):
    with pytest.raises(ValueError, match="expected at least 2"):
        fit_power_law(np.array(values))


def test_values_that_are_no_numbers():
    with pytest.raises(ValueError, match="not all finite"):
        fit_power_law(np.array([1.0, np.nan, 2.0]))
