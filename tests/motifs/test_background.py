"""The chain of bases: counts by hand, both strands alike, sums, files, draws."""

import numpy as np
import pytest

from genomelm_utils.motifs.background import (
    Background,
    draw_background,
    fit_background,
    read_background,
)
from genomelm_utils.sequences.alphabet import encode, reverse_complement
from genomelm_utils.sequences.kmers import kmer_codes


def test_shares_by_hand():
    """AACG: A 2, C 1, G 1; one on top of each; then both strands (A + T, C + G)."""
    found = fit_background(encode("AACG"), order=0)
    np.testing.assert_allclose(found.shares, np.array([4, 4, 4, 4]) / 16)
    found = fit_background(encode("AAAA"), order=0)
    np.testing.assert_allclose(found.shares, np.array([6, 2, 2, 6]) / 16)
    assert found.order == 0


def test_strands_are_alike(rng):
    codes = rng.choice(4, 500, p=(0.5, 0.1, 0.3, 0.1)).astype(np.uint8)
    one, other = fit_background(codes, 2), fit_background(reverse_complement(codes), 2)
    np.testing.assert_allclose(one.transitions, other.transitions)
    assert one.order == 2
    np.testing.assert_allclose(one.shares, one.shares[::-1])


def test_running_cost_by_hand():
    table = np.array([[0.4, 0.3, 0.2, 0.1]] * 2 + [[0.1, 0.2, 0.3, 0.4]] * 2)
    chain = Background(np.array([0.1, 0.2, 0.3, 0.4]), table)
    codes = encode("ACNGT" + "TA")
    cost = np.diff(chain.running_cost(codes, np.array([0, 5, 7])))
    # A, C after A, N, G, T after G; then the second sequence: T, A after T
    expected = np.array([1, 3, 10, 3, 4, 4, 1]) / 10
    np.testing.assert_allclose(np.exp(cost), expected)
    single = Background(chain.shares, chain.shares[None])
    np.testing.assert_allclose(
        np.exp(np.diff(single.running_cost(codes, np.array([0, 5, 7])))),
        [0.1, 0.2, 1, 0.3, 0.4, 0.4, 0.1],
    )


def test_draws_are_like_the_chain(rng):
    chain = fit_background(rng.choice(4, 5000, p=(0.5, 0.1, 0.1, 0.3)).astype(np.uint8), 1)
    codes, starts = draw_background(chain, [1500] * 20 + [7], rng)
    assert np.diff(starts).tolist() == [1500] * 20 + [7]
    again = fit_background(codes, 1)
    np.testing.assert_allclose(again.transitions, chain.transitions, atol=0.02)
    assert kmer_codes(codes, 1).min() >= 0


def test_background_file(tmp_path):
    lines = ["# order 1"] + [f"{a} {p}" for a, p in zip("ACGT", (0.3, 0.2, 0.2, 0.3), strict=True)]
    pairs = {a + b: 0.04 + 0.01 * (a == b) for a in "ACGT" for b in "ACGT"}
    lines += [f"{word}\t{value:.3e}" for word, value in pairs.items()]
    (tmp_path / "b.txt").write_text("\n".join(lines))
    chain = read_background(tmp_path / "b.txt")
    np.testing.assert_allclose(chain.shares, [0.3, 0.2, 0.2, 0.3])
    np.testing.assert_allclose(chain.transitions[2], np.array([4, 4, 5, 4]) / 17)

    (tmp_path / "b.txt").write_text("\n".join(lines[:-1]))
    with pytest.raises(ValueError, match="19 words of up to 2 bases, expected all of them"):
        read_background(tmp_path / "b.txt")
    (tmp_path / "b.txt").write_text("A 0.3\nX 0.2")
    with pytest.raises(ValueError, match=r"line 2: found 'X 0\.2', expected a word of A, C, G, T"):
        read_background(tmp_path / "b.txt")
    with pytest.raises(FileNotFoundError, match=r"c\.txt: no such file"):
        read_background(tmp_path / "c.txt")
