"""How sure are we? Intervals over draws and seeds, paired comparisons, Holm correction.

A draw is a sample of training rows, a seed is a repeat of the training on the same rows. Seeds of
one draw share their data, so they are not independent evidence about another draw: wherever there
are several draws, the draw is the unit.

Shapes: N values, R resamples, D draws.
"""

from collections.abc import Callable, Hashable, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

MAX_EXACT_PAIRS = 15  # 2^15 = 32,768 sign patterns: exact in a few milliseconds


class Interval(NamedTuple):
    """A mean with its interval; `unit` says what was counted: "value", "draw" or "seed"."""

    mean: float
    low: float
    high: float
    n: int
    unit: str


class Comparison(NamedTuple):
    """Mean difference a - b, its interval, and the p value of a paired permutation test."""

    difference: float
    low: float
    high: float
    p: float
    n: int
    unit: str
    exact: bool


def mean_interval(
    values: Sequence[float] | np.ndarray, level: float = 0.95, unit: str = "value"
) -> Interval:
    """Mean and two-sided t interval of independent values.

    With one value the limits are NaN: nothing is known about the spread. A NaN among the values
    makes the whole result NaN. The interval is about the mean over future values, not about one of
    them.

    Errors: ValueError for no value or a level outside (0, 1).
    Source: Student 1908, Biometrika 6:1; quantile from `scipy.special.stdtrit`.
    """
    from scipy.special import stdtrit

    values_N = np.asarray(values, dtype=np.float64).ravel()
    check_values(values_N, level)
    n = len(values_N)
    mean = float(values_N.mean())
    if n == 1:
        return Interval(mean, float("nan"), float("nan"), n, unit)
    half = float(stdtrit(n - 1, (1 + level) / 2) * values_N.std(ddof=1) / np.sqrt(n))
    return Interval(mean, mean - half, mean + half, n, unit)


def bootstrap_interval(
    values: Sequence[float] | np.ndarray,
    rng: np.random.Generator,
    statistic: Callable[..., np.ndarray] = np.mean,
    n_resamples: int = 10_000,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap interval of any statistic of independent values.

    values: [N]; statistic: called as `statistic(values_RN, axis=1)`, such as `np.mean`,
    `np.median`. `mean` of the result holds the statistic of the values as given. Too narrow below
    about 20 values: take `mean_interval` there. Memory is bounded: resamples are drawn in blocks.

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.
    """
    values_N = np.asarray(values, dtype=np.float64).ravel()
    check_values(values_N, level)
    n = len(values_N)
    block = max(1, 2**22 // n)
    estimates = []
    for begin in range(0, n_resamples, block):
        rows_RN = rng.integers(0, n, size=(min(block, n_resamples - begin), n))
        estimates.append(statistic(values_N[rows_RN], axis=1))
    low, high = np.quantile(np.concatenate(estimates), [(1 - level) / 2, (1 + level) / 2])
    estimate = float(statistic(values_N[None], axis=1)[0])
    return Interval(estimate, float(low), float(high), n, "value")


def cluster_interval(
    values: Sequence[float] | np.ndarray, draws: Sequence[Hashable], level: float = 0.95
) -> Interval:
    """Mean and t interval over draws: the seeds of a draw are averaged first.

    values, draws: [N], one draw label per value. The mean is the mean of the draw means (every draw
    counts the same, however many seeds it has). With a single draw there is no telling how another
    draw would do: the interval is then over its seeds only, and `unit` is "seed" instead of "draw".

    Source: analysis of cluster means, Donner and Klar 2000, Design and Analysis of Cluster
    Randomization Trials, chapter 5.
    """
    means_D, _ = average_draws(np.asarray(values, dtype=np.float64).ravel(), draws)
    if len(means_D) > 1:
        return mean_interval(means_D, level, unit="draw")
    return mean_interval(values, level, unit="seed")


def average_draws(values_N: np.ndarray, draws: Sequence[Hashable]) -> tuple[np.ndarray, np.ndarray]:
    """Mean value of each draw in order of appearance, and the draw index of each value."""
    if len(draws) != len(values_N):
        raise ValueError(
            f"{len(draws)} draw labels for {len(values_N)} values, expected one per value"
        )
    index_N, labels = pd.factorize(pd.Series(list(draws)), use_na_sentinel=False)
    sums_D = np.bincount(index_N, weights=values_N, minlength=len(labels))
    return sums_D / np.bincount(index_N, minlength=len(labels)), index_N


def compare_paired(
    a: Sequence[float] | np.ndarray,
    b: Sequence[float] | np.ndarray,
    draws: Sequence[Hashable] | None = None,
    *,
    rng: np.random.Generator | None = None,
    n_patterns: int = 100_000,
    level: float = 0.95,
) -> Comparison:
    """Is a better than b on the same draws and seeds? Mean difference, interval, sign-flip p.

    a, b: [N], value i of both from the same draw and seed. draws: [N] draw labels; with several
    draws the differences are averaged within each draw and whole draws are flipped (unit "draw"),
    with one draw the seeds are (unit "seed": says nothing about other draws). Without `draws`
    every pair counts as independent (unit "value").

    The p value is two-sided: the share of sign patterns whose mean difference is at least as far
    from 0. All 2^n patterns up to n = 15; beyond, `n_patterns` random ones from `rng` (plus the
    observed one). It cannot get below 2 / 2^n: five draws never reach 0.05. NaN with fewer than
    two units.

    Errors: ValueError for unequal lengths, or for more than 15 units without `rng`.
    Source: Fisher 1935, The Design of Experiments, section 21; the plus one: Phipson and Smyth
    2010, Stat Appl Genet Mol Biol 9:39.
    """
    a_N, b_N = (np.asarray(values, dtype=np.float64).ravel() for values in (a, b))
    if len(a_N) != len(b_N):
        raise ValueError(
            f"a has {len(a_N)} values and b {len(b_N)}, expected pairs from the same draw and seed"
        )
    differences_N, unit = a_N - b_N, "value"
    if draws is not None:
        means_D, _ = average_draws(differences_N, draws)
        several = len(means_D) > 1
        differences_N, unit = (means_D, "draw") if several else (differences_N, "seed")
    interval = mean_interval(differences_N, level, unit)
    exact = len(differences_N) <= MAX_EXACT_PAIRS
    p = flip_signs(differences_N, rng, n_patterns)
    return Comparison(interval.mean, interval.low, interval.high, p, interval.n, unit, exact)


def flip_signs(
    differences_N: np.ndarray, rng: np.random.Generator | None, n_patterns: int
) -> float:
    """Two-sided p value of the mean difference under random signs (see `compare_paired`)."""
    n = len(differences_N)
    if n < 2 or not np.isfinite(differences_N).all():
        return float("nan")
    observed = abs(differences_N.sum())
    # sums of the same numbers in another order may differ in the last bits
    observed -= 1e-12 * np.abs(differences_N).sum()
    if n <= MAX_EXACT_PAIRS:
        sums = np.zeros(1)
        for difference in differences_N:
            sums = np.concatenate([sums + difference, sums - difference])
        return float((np.abs(sums) >= observed).mean())
    if rng is None:
        raise ValueError(
            f"{n} pairs have 2^{n} sign patterns: above {MAX_EXACT_PAIRS} pairs the patterns are "
            "random; pass rng=np.random.default_rng(seed)"
        )
    n_extreme, block = 0, max(1, 2**22 // n)
    for begin in range(0, n_patterns, block):
        bits_RN = rng.integers(0, 2, size=(min(block, n_patterns - begin), n), dtype=np.int8)
        sums_R = 2 * (bits_RN @ differences_N) - differences_N.sum()
        n_extreme += int((np.abs(sums_R) >= observed).sum())
    return (1 + n_extreme) / (1 + n_patterns)


def correct_holm(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Holm's step-down adjusted p values, in the order given; NaN stays NaN and is not counted.

    Source: Holm 1979, Scand J Statist 6:65.
    """
    p_N = np.asarray(p_values, dtype=np.float64)
    adjusted_N = np.full(len(p_N), np.nan)
    known = np.flatnonzero(np.isfinite(p_N))
    order = known[np.argsort(p_N[known], kind="stable")]
    steps = p_N[order] * (len(order) - np.arange(len(order)))
    adjusted_N[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted_N


def correct_fdr(p_values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's adjusted p values, in the order given; NaN stays and is not counted.

    Source: Benjamini & Hochberg 1995, J. R. Statist. Soc. B 57:289, as scipy has it.
    """
    from scipy.stats import false_discovery_control

    p_N = np.asarray(p_values, dtype=np.float64)
    known_N = np.isfinite(p_N)
    adjusted_N = np.full(len(p_N), np.nan)
    if known_N.any():
        adjusted_N[known_N] = false_discovery_control(p_N[known_N])
    return adjusted_N


def interval_table(
    table: pd.DataFrame,
    by: Sequence[str],
    *,
    value: str = "value",
    draw: str = "draw",
    level: float = 0.95,
) -> pd.DataFrame:
    """One row per group of `by`, in order of appearance: mean, low, high, n, unit."""
    check_columns(table, [*by, value, draw])
    rows = []
    for key, group in table.groupby(list(by), sort=False, dropna=False):
        interval = cluster_interval(group[value].to_numpy(), group[draw].tolist(), level)
        rows.append(dict(zip(by, key, strict=True)) | interval._asdict())
    return pd.DataFrame(rows, columns=[*by, *Interval._fields])


def compare_all(
    table: pd.DataFrame,
    *,
    method: str = "model",
    value: str = "value",
    draw: str = "draw",
    seed: str = "seed",
    by: Sequence[str] = (),
    rng: np.random.Generator | None = None,
    level: float = 0.95,
) -> pd.DataFrame:
    """All pairs of methods compared: one row per group of `by` and pair, with Holm's correction.

    table: tidy, one observation per row, with the columns named. Pairs are matched by draw and
    seed; rows of one method without a partner are left out of that pair and counted in
    `n_unpaired`. Columns: `by`, a, b, mean_a, mean_b (over the matched rows), difference, low,
    high, p, n, unit, exact, n_unpaired, p_holm. The family that is corrected is one group of `by`
    (for example all pairs on one data set, shot count and metric), not the whole table.

    Errors: ValueError for a missing column, a method twice on the same draw and seed, or two
    methods that share no draw and seed.
    """
    check_columns(table, [*by, method, value, draw, seed])
    parts = []
    groups = table.groupby(list(by), sort=False, dropna=False) if by else [((), table)]
    for key, group in groups:
        pairs = compare_group(group, method, value, draw, seed, rng, level)
        pairs["p_holm"] = correct_holm(pairs["p"])
        for position, (name, level_value) in enumerate(zip(by, key, strict=True)):
            pairs.insert(position, name, level_value)
        parts.append(pairs)
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def compare_group(
    group: pd.DataFrame,
    method: str,
    value: str,
    draw: str,
    seed: str,
    rng: np.random.Generator | None,
    level: float,
) -> pd.DataFrame:
    """All pairs of methods within one group, before correction (see `compare_all`)."""
    twice = group.duplicated([method, draw, seed])
    if twice.any():
        row = group[twice].iloc[0]
        raise ValueError(
            f"{method} {row[method]!r} has two values for draw {row[draw]!r}, seed {row[seed]!r}; "
            "expected one: name what else differs in `by`"
        )
    wide = group.pivot(index=[draw, seed], columns=method, values=value)
    present = group.assign(here=True).pivot(index=[draw, seed], columns=method, values="here")
    rows = []
    for a, b in combinations(group[method].drop_duplicates().tolist(), 2):
        in_a, in_b = present[a].notna(), present[b].notna()
        matched = wide[in_a & in_b]
        if matched.empty:
            raise ValueError(f"{method} {a!r} and {b!r} share no draw and seed, nothing to pair")
        draws = matched.index.get_level_values(0).tolist()
        result = compare_paired(matched[a], matched[b], draws, rng=rng, level=level)
        means = {"mean_a": matched[a].mean(skipna=False), "mean_b": matched[b].mean(skipna=False)}
        n_unpaired = int((in_a ^ in_b).sum())
        rows.append({"a": a, "b": b} | means | result._asdict() | {"n_unpaired": n_unpaired})
    columns = ["a", "b", "mean_a", "mean_b", *Comparison._fields, "n_unpaired"]
    return pd.DataFrame(rows, columns=columns)


def check_values(values_N: np.ndarray, level: float) -> None:
    """ValueError unless there is at least one value and a level in (0, 1)."""
    if len(values_N) == 0:
        raise ValueError("no values, expected at least one")
    if not 0 < level < 1:
        raise ValueError(f"level is {level}, expected a fraction in (0, 1), such as 0.95")


def check_columns(table: pd.DataFrame, needed: Sequence[str]) -> None:
    """ValueError that names the missing columns and those found."""
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise ValueError(f"table has no column {missing}, found {list(table.columns)}")
