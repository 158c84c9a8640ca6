"""Intervals cover at the stated level; permutation p values equal a full enumeration."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from genomelm_utils.evaluation.statistics import (
    bootstrap_interval,
    cluster_interval,
    compare_all,
    compare_paired,
    correct_holm,
    interval_table,
    mean_interval,
)


def test_mean_interval_equals_scipy(rng):
    values = rng.normal(size=9)
    found = mean_interval(values, 0.9)
    low, high = stats.t.interval(0.9, 8, values.mean(), stats.sem(values))
    assert (found.mean, found.low, found.high) == pytest.approx((values.mean(), low, high))
    assert found.n == 9


def test_mean_interval_covers_at_its_level(rng):
    hits = [i.low <= 3 <= i.high for i in map(mean_interval, rng.normal(3, 2, size=(4000, 5)))]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.015)


def test_one_value_has_no_interval_and_nan_stays_visible():
    assert mean_interval([0.5]).mean == 0.5
    assert np.isnan(mean_interval([0.5]).low)
    assert np.isnan(mean_interval([0.5, np.nan, 0.7]).mean)
    with pytest.raises(ValueError, match="at least one"):
        mean_interval([])
    with pytest.raises(ValueError, match="fraction in"):
        mean_interval([1.0, 2.0], level=95)


def test_bootstrap_is_seeded_and_near_the_normal_interval(rng):
    values = rng.normal(10, 1, size=400)
    first = bootstrap_interval(values, np.random.default_rng(1))
    assert first == bootstrap_interval(values, np.random.default_rng(1))
    half = 1.96 * values.std() / 20
    assert first.low == pytest.approx(values.mean() - half, abs=0.01)
    assert first.high == pytest.approx(values.mean() + half, abs=0.01)
    median = bootstrap_interval(values, rng, np.median, n_resamples=500)
    assert median.mean == np.median(values)
    assert median.low < median.mean < median.high


def test_draws_are_the_unit_when_there_are_several():
    values = [0.5, 0.7, 0.6, 0.8, 0.9, 0.9]
    draws = ["a", "a", "b", "b", "c", "c"]
    found = cluster_interval(values, draws)
    assert found == mean_interval([0.6, 0.7, 0.9], unit="draw")
    # an unbalanced draw does not count more
    assert cluster_interval([*values, 0.9, 0.9], [*draws, "c", "c"]).mean == found.mean
    one = cluster_interval([0.5, 0.7, 0.6], [1, 1, 1])
    assert one == mean_interval([0.5, 0.7, 0.6], unit="seed")
    with pytest.raises(ValueError, match="one per value"):
        cluster_interval([0.5, 0.7], [1])


def test_repeating_seeds_does_not_make_draws_more_certain(rng):
    """Values that differ between draws only: ten seeds per draw teach nothing new."""
    draw_means = rng.normal(size=4)
    once = cluster_interval(draw_means, range(4))
    often = cluster_interval(np.repeat(draw_means, 10), np.repeat(range(4), 10).tolist())
    assert (often.low, often.high) == pytest.approx((once.low, once.high))


def enumerate_p(differences) -> float:
    sums = [np.dot(signs, differences) for signs in product([1, -1], repeat=len(differences))]
    return float(np.mean(np.abs(sums) >= abs(sum(differences)) - 1e-12))


def test_sign_flips_equal_full_enumeration(rng):
    for n in (2, 5, 8):
        a, b = rng.normal(size=(2, n)).round(1)
        found = compare_paired(a, b)
        assert found.p == enumerate_p(a - b)
        assert found.exact
        assert found.difference == pytest.approx((a - b).mean())


def test_sampled_p_is_near_the_exact_one(rng):
    a, b = rng.normal(0.3, 1, size=(2, 15))
    a = a + 0.4
    exact = compare_paired(a, b).p
    # a sixteenth pair of equal values changes nothing but the number of patterns
    sampled = compare_paired([*a, 0.0], [*b, 0.0], rng=rng)
    assert not sampled.exact
    assert sampled.p == pytest.approx(exact, abs=0.01)
    with pytest.raises(ValueError, match="pass rng"):
        compare_paired([*a, 0.0], [*b, 0.0])


def test_seeds_of_a_draw_are_not_counted_as_independent():
    """One lucky draw with many seeds must not look like strong evidence."""
    a, b = np.ones(30), np.zeros(30)
    draws = np.repeat([0, 1, 2], 10).tolist()
    found = compare_paired(a, b, draws)
    assert (found.unit, found.n, found.p) == ("draw", 3, 2 / 8)
    assert compare_paired(a[:4], b[:4], [0] * 4).unit == "seed"
    assert np.isnan(compare_paired([1.0], [0.0]).p)
    with pytest.raises(ValueError, match="same draw and seed"):
        compare_paired([1.0], [0.0, 1.0])


def test_p_values_are_uniform_without_an_effect(rng):
    p = [compare_paired(a, b).p for a, b in rng.normal(size=(2000, 2, 8))]
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=0.02)


def test_holm_by_hand():
    assert correct_holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert correct_holm([0.5, 0.9]).tolist() == [1.0, 1.0]
    found = correct_holm([0.02, np.nan, 0.01])
    assert np.isnan(found[1])
    assert found[[0, 2]] == pytest.approx([0.02, 0.02])
    assert correct_holm([]).tolist() == []


def few_shot_table(rng) -> pd.DataFrame:
    rows = [
        (shots, model, draw, seed, effect + draw / 10 + noise)
        for shots in (10, 50)
        for model, effect in (("genemask", 0.2), ("dnabert", 0.1), ("scratch", 0.0))
        for draw in range(5)
        for seed, noise in enumerate(rng.normal(0, 0.001, 3))
    ]
    return pd.DataFrame(rows, columns=["shots", "model", "draw", "seed", "value"])


def test_compare_all_gives_every_pair_of_every_group(rng):
    table = few_shot_table(rng)
    found = compare_all(table, by=["shots"])
    assert len(found) == 2 * 3
    first = found.iloc[0]
    assert (first.shots, first.a, first.b) == (10, "genemask", "dnabert")
    assert first.difference == pytest.approx(0.1, abs=0.005)
    assert first.low > 0
    assert (first.unit, first.n, first.n_unpaired) == ("draw", 5, 0)
    assert first.p == 2 / 32
    assert first.p_holm == pytest.approx(3 * 2 / 32)
    shuffled = compare_all(table.sample(frac=1, random_state=1).sort_values("shots"), by=["shots"])
    merged = found.merge(shuffled, on=["shots", "a", "b"], suffixes=("", "_2"))
    assert (merged.difference - merged.difference_2).abs().max() < 1e-12


def test_rows_without_partner_are_counted_and_twins_refused(rng):
    table = few_shot_table(rng)
    short = table[~((table.model == "scratch") & (table.draw == 4))]
    found = compare_all(short, by=["shots"])
    assert found.n_unpaired.tolist() == [0, 3, 3] * 2
    with pytest.raises(ValueError, match="two values for draw"):
        compare_all(table)
    with pytest.raises(ValueError, match="no column"):
        compare_all(table.drop(columns="draw"))
    apart = table[(table.model != "scratch") | (table.draw == 4)]
    apart = apart[(apart.model == "scratch") | (apart.draw != 4)]
    with pytest.raises(ValueError, match="share no draw"):
        compare_all(apart, by=["shots"])


def test_interval_table_has_one_row_per_group(rng):
    found = interval_table(few_shot_table(rng), ["shots", "model"])
    assert list(found.columns) == ["shots", "model", "mean", "low", "high", "n", "unit"]
    assert len(found) == 6
    assert set(found.unit) == {"draw"}
    assert found["mean"][0] == pytest.approx(0.4, abs=0.005)
