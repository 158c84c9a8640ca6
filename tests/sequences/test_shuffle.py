"""Shuffles keep what they promise, and draw every possible result equally often."""

from collections import Counter
from itertools import pairwise, permutations

import numpy as np
import pytest

from genomelm_utils.sequences.alphabet import decode, encode
from genomelm_utils.sequences.kmers import kmer_codes
from genomelm_utils.sequences.shuffle import shuffle_bases, shuffle_dinucleotides


def count_words(codes_SL, k):
    return np.stack([np.bincount(row, minlength=4**k) for row in kmer_codes(codes_SL, k)])


@pytest.mark.parametrize("length", [2, 3, 10, 300])
@pytest.mark.parametrize("weights", [[1, 1, 1, 1], [8, 1, 1, 0], [1, 20, 0, 0]])
def test_dinucleotides_are_kept_exactly(rng, length, weights):
    shares = np.array(weights) / sum(weights)
    codes_SL = rng.choice(4, (100, length), p=shares).astype(np.uint8)
    shuffled = shuffle_dinucleotides(codes_SL, rng)
    assert np.array_equal(count_words(shuffled, 2), count_words(codes_SL, 2))
    assert np.array_equal(shuffled[:, [0, -1]], codes_SL[:, [0, -1]])
    if length == 300 and min(weights) > 0:
        assert (shuffled != codes_SL).mean() > 0.5


def test_every_possible_sequence_comes_equally_often(rng):
    text = "AACGACTA"
    target = Counter(pairwise(text))
    possible = {
        word
        for word in map("".join, permutations(text))
        if word[0] == text[0] and Counter(pairwise(word)) == target
    }
    n_draws = 500 * len(possible)
    shuffled = shuffle_dinucleotides(np.tile(encode(text), (n_draws, 1)), rng)
    found = Counter(decode(row) for row in shuffled)
    assert set(found) == possible
    chi2 = sum((count - 500) ** 2 / 500 for count in found.values())
    assert chi2 < 3 * len(possible)  # mean len - 1, far beyond any plausible draw


def test_repetitive_sequences_and_rows(rng):
    assert decode(shuffle_dinucleotides(encode("AAAAAA"), rng)) == "AAAAAA"
    assert decode(shuffle_dinucleotides(encode("ACACACG"), rng)) == "ACACACG"
    assert shuffle_dinucleotides(np.empty((0, 5), np.uint8), rng).shape == (0, 5)
    assert decode(shuffle_dinucleotides(encode("C"), rng)) == "C"


def test_shuffles_are_seeded_and_leave_the_input(rng):
    codes_SL = rng.integers(0, 4, (5, 50), dtype=np.uint8)
    before = codes_SL.copy()
    first, again = (shuffle_dinucleotides(codes_SL, np.random.default_rng(1)) for _ in range(2))
    assert np.array_equal(first, again)
    assert np.array_equal(codes_SL, before)


def test_ambiguous_bases_are_refused(rng):
    with pytest.raises(ValueError, match=r"sequence 1 holds an ambiguous base at position 2"):
        shuffle_dinucleotides(np.stack([encode("ACGT"), encode("ACNT")]), rng)


def test_shuffled_bases_keep_base_counts(rng):
    codes_SL = rng.integers(0, 15, (20, 60), dtype=np.uint8)
    shuffled = shuffle_bases(codes_SL, rng)
    assert np.array_equal(np.sort(shuffled, axis=1), np.sort(codes_SL, axis=1))
    assert (shuffled != codes_SL).any()
