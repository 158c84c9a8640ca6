"""Views: strands and mutations by hand, purity in (seed, step, row)."""

from dataclasses import dataclass

import numpy as np
import pytest

from genomelm_utils.sequences.alphabet import CODE_N, decode, encode, reverse_complement
from genomelm_utils.tasks.views import METHODS, make_views, mutate, other_strand


@dataclass
class Pairs:
    first: list
    second: list
    species: np.ndarray


@pytest.fixture
def pairs(rng):
    first, second = (
        [rng.integers(4, size=n).astype(np.uint8) for n in (40, 60, 50, 70, 30, 45)]
        for _ in range(2)
    )
    return Pairs(first, second, np.arange(6))


def equal(left, right) -> bool:
    return len(left) == len(right) and all(map(np.array_equal, left, right))


def test_same_species_without_turning_is_the_pair_itself(pairs):
    first, second = make_views(pairs, seed=0, step=0, turn_windows=False)
    assert equal(first, pairs.first)
    assert equal(second, pairs.second)


def test_turned_windows_are_reverse_complements_about_half_of_them(pairs):
    n_turned = 0
    for step in range(40):
        for view, source in zip(
            make_views(pairs, seed=0, step=step), (pairs.first, pairs.second), strict=True
        ):
            for found, codes in zip(view, source, strict=True):
                turned = not np.array_equal(found, codes)
                n_turned += turned
                assert np.array_equal(found, reverse_complement(codes) if turned else codes)
    assert 0.4 < n_turned / (40 * 12) < 0.6


@pytest.mark.parametrize("method", METHODS)
def test_views_do_not_depend_on_how_the_batch_is_cut(pairs, method):
    settings = {"method": method, "seed": 2, "step": 5}
    whole = make_views(pairs, **settings)
    parts = [
        make_views(
            Pairs(pairs.first[a:b], pairs.second[a:b], pairs.species[a:b]), start=a, **settings
        )
        for a, b in ((0, 2), (2, 6))
    ]
    for view in (0, 1):
        assert equal(whole[view], parts[0][view] + parts[1][view])
    assert not equal(whole[0], make_views(pairs, **{**settings, "step": 8})[0])


def test_dropout_shows_one_window_twice_and_both_columns_in_turn(pairs):
    settings = {"method": "dropout", "seed": 0, "turn_windows": False}
    first, second = make_views(pairs, step=0, **settings)
    assert equal(first, second)
    assert np.array_equal(first[0], pairs.first[0])
    assert np.array_equal(first[1], pairs.second[1])
    assert np.array_equal(make_views(pairs, step=1, **settings)[0][0], pairs.second[0])


def test_double_strand_is_the_other_strand_and_takes_ambiguous_bases():
    codes = encode("AACGTN")
    assert decode(other_strand(codes)) == "NACGTT"
    assert decode(other_strand(codes, reference=True)) == "TTGCAN"
    assert other_strand(np.array([CODE_N], dtype=np.uint8)).tolist() == [CODE_N]


def test_double_strand_views(pairs):
    first, second = make_views(pairs, method="double_strand", seed=0, step=0)
    assert equal(second, [reverse_complement(codes) for codes in first])
    first, second = make_views(pairs, method="double_strand", seed=0, step=0, reference=True)
    assert equal(second, [reverse_complement(codes)[::-1] for codes in first])


def test_mutation_swaps_a_share_and_deletes_a_share(rng):
    codes = rng.integers(4, size=20_000).astype(np.uint8)
    swapped = mutate(codes, FixedChance(rng), share=0.05)  # nothing is deleted
    assert np.array_equal(np.bincount(swapped), np.bincount(codes))
    # of 5 % of positions in swaps, three quarters meet another base
    assert 0.03 < (swapped != codes).mean() < 0.045
    assert np.array_equal(mutate(codes, FixedChance(rng), share=0.05, reference=True), codes)
    assert 0.94 < len(mutate(codes, rng)) / len(codes) < 0.96


class FixedChance:
    """A generator whose chances are all just below 1."""

    def __init__(self, rng) -> None:
        self.choice, self.integers = rng.choice, rng.integers

    def random(self, n):
        return np.full(n, 0.999)


def test_mutation_leaves_the_original_and_at_least_one_base(rng):
    codes = encode("ACGTACGT")
    for _ in range(20):
        assert len(mutate(codes, rng, share=1.0)) == 1
    assert decode(codes) == "ACGTACGT"
    assert len(mutate(encode("AC"), rng)) in (1, 2)


def test_unknown_method_is_named_with_the_choices(pairs):
    with pytest.raises(ValueError, match=r"unknown method 'same'.*same_species, dropout"):
        make_views(pairs, method="same", seed=0, step=0)
