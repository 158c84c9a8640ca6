"""Errors of long reads: at the rates asked for, one per base, everywhere alike."""

import numpy as np
import pytest

from genomelm_utils.sequences.alphabet import decode, encode
from genomelm_utils.sequences.sequencing_errors import (
    NANOPORE_RATIO,
    ErrorRates,
    add_errors,
    split_error_rate,
)

KINDS = ErrorRates._fields


def only(kind, rate):
    return ErrorRates(**{name: rate if name == kind else 0.0 for name in KINDS})


def add_by_hand(codes, rates, rng):
    """A loop over the bases with the same random numbers."""
    kinds = []
    for draw in rng.random(len(codes)):
        if draw < rates.deletion:
            kinds.append("deletion")
        elif draw < rates.deletion + rates.substitution:
            kinds.append("substitution")
        else:
            kinds.append("insertion" if draw < rates.total else "none")
    shifts = iter(rng.integers(1, 4, kinds.count("substitution"), dtype=np.uint8).tolist())
    replaced = [
        (c + next(shifts)) % 4 if k == "substitution" else c
        for c, k in zip(codes.tolist(), kinds, strict=True)
    ]
    added = iter(rng.integers(0, 4, kinds.count("insertion"), dtype=np.uint8).tolist())
    read = []
    for base, kind in zip(replaced, kinds, strict=True):
        read += [] if kind == "deletion" else [base]
        read += [next(added)] if kind == "insertion" else []
    return read


@pytest.mark.parametrize("seed", range(5))
def test_equals_a_loop_over_the_bases(seed):
    codes = np.random.default_rng(99).integers(0, 4, 300, dtype=np.uint8)
    rates = ErrorRates(0.2, 0.15, 0.1)
    found = add_errors(codes, rates, np.random.default_rng(seed))
    assert found.dtype == np.uint8
    assert found.tolist() == add_by_hand(codes, rates, np.random.default_rng(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_has_the_rate_asked_for(kind, rng):
    codes = rng.integers(0, 4, 200_000, dtype=np.uint8)
    before = codes.copy()
    read = add_errors(codes, only(kind, 0.07), rng)
    assert np.array_equal(codes, before)
    sign = {"substitution": 0, "insertion": 1, "deletion": -1}[kind]
    error = 5 * np.sqrt(0.07 / len(codes))
    if sign:
        assert (len(read) - len(codes)) * sign / len(codes) == pytest.approx(0.07, abs=error)
        return
    changed = codes != read
    assert changed.mean() == pytest.approx(0.07, abs=error)
    steps = np.bincount((read[changed].astype(int) - codes[changed]) % 4, minlength=4)
    assert steps[0] == 0 and np.allclose(steps[1:] / changed.sum(), 1 / 3, atol=0.03)
    halves = np.split(changed, 2)
    assert halves[0].mean() == pytest.approx(halves[1].mean(), abs=2 * error)


def test_length_has_the_mean_and_the_variance_documented():
    rates, n_bases = split_error_rate(0.3), 400
    codes = np.zeros(n_bases, np.uint8)
    lengths = [len(add_errors(codes, rates, np.random.default_rng(i))) for i in range(4000)]
    change = rates.insertion - rates.deletion
    variance = n_bases * (rates.insertion + rates.deletion - change**2)
    assert np.mean(lengths) == pytest.approx(
        n_bases * (1 + change), abs=5 * (variance / 4000) ** 0.5
    )
    assert np.var(lengths) == pytest.approx(variance, rel=0.1)


def test_inserted_bases_are_of_all_kinds_and_change_no_other():
    codes = encode("ACGT" * 500)
    read = add_errors(codes, only("insertion", 0.05), np.random.default_rng(1))
    rest = iter(decode(read))
    assert all(base in rest for base in decode(codes))  # the template is a subsequence
    zeros = np.zeros(999, np.uint8)
    assert set(add_errors(zeros, only("insertion", 0.5), np.random.default_rng(2))) == {0, 1, 2, 3}


def test_a_rate_is_split_as_in_nanopore_reads():
    rates = split_error_rate(0.099)
    assert rates == pytest.approx((0.039, 0.024, 0.036)) and rates.total == pytest.approx(0.099)
    assert tuple(NANOPORE_RATIO) == KINDS
    assert split_error_rate(0) == (0, 0, 0)


def test_nothing_is_drawn_without_errors_and_a_base_is_left_of_all_deleted():
    rng = np.random.default_rng(4)
    codes = encode("ACGT")
    copy = add_errors(codes, split_error_rate(0), rng)
    assert np.array_equal(copy, codes) and copy is not codes
    assert rng.random() == np.random.default_rng(4).random()
    assert len(add_errors(codes, only("deletion", 1.0), rng)) == 1
    assert len(add_errors(codes[:0], only("deletion", 1.0), rng)) == 0


@pytest.mark.parametrize("rate", [-0.1, 1.0, 15])
def test_a_rate_that_is_no_share_is_told(rate):
    with pytest.raises(ValueError, match=rf"error_rate is {rate}, expected a share of bases in"):
        split_error_rate(rate)


def test_bad_rates_and_ambiguous_bases_are_told(rng):
    for rates in (ErrorRates(0.5, 0.4, 0.2), ErrorRates(-0.1, 0.2, 0.2)):
        with pytest.raises(ValueError, match=r"expected rates in \[0, 1\], together at most 1"):
            add_errors(encode("ACGT"), rates, rng)
    with pytest.raises(ValueError, match="an ambiguous base at position 2"):
        add_errors(encode("ACNT"), only("deletion", 0.1), rng)
