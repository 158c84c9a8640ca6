"""k-mer codes against a naive implementation, and their reverse complements."""

import numpy as np
import pytest

from genomelm_utils.sequences import kmers
from genomelm_utils.sequences.alphabet import decode, encode, reverse_complement
from genomelm_utils.sequences.kmers import (
    kmer_codes,
    kmer_index,
    kmer_string,
    kmer_strings,
    revcomp_codes,
)


def naive_codes(text: str, k: int) -> list[int]:
    words = [text[i : i + k] for i in range(len(text) - k + 1)]
    return [
        int("".join(map(str, map("ACGT".find, w))), 4) if set(w) <= set("ACGT") else -1
        for w in words
    ]


def test_codes_by_hand():
    assert kmer_codes(encode("AACGT"), 3).tolist() == [1, 6, 27]
    assert kmer_codes(encode("ACNGT"), 2).tolist() == [1, -1, -1, 11]
    assert kmer_codes(encode("TTTTTT"), 6).tolist() == [4**6 - 1]


@pytest.mark.parametrize("k", range(1, 16))
def test_codes_equal_naive_ones(k, rng, monkeypatch):
    monkeypatch.setattr(kmers, "_BLOCK", 32)
    text = "".join(rng.choice(list("ACGTNR"), 300, p=[0.24, 0.24, 0.24, 0.24, 0.02, 0.02]))
    codes = kmer_codes(encode(text), k)
    assert codes.dtype == np.int32
    assert codes.tolist() == naive_codes(text, k)


@pytest.mark.parametrize("shape", [(7, 50), (3, 2, 11), (1, 200), (0, 20)])
def test_codes_along_the_last_axis(shape, rng, monkeypatch):
    monkeypatch.setattr(kmers, "_BLOCK", 64)
    codes = rng.integers(0, 5, shape, dtype=np.uint8)
    found = kmer_codes(codes, 6).reshape(-1, shape[-1] - 5)
    for row, expected in zip(found, codes.reshape(-1, shape[-1]), strict=True):
        assert row.tolist() == naive_codes(decode(expected), 6)


def test_too_short_gives_nothing():
    assert kmer_codes(encode("ACG"), 6).shape == (0,)
    assert kmer_codes(np.zeros((4, 3), np.uint8), 6).shape == (4, 0)


@pytest.mark.parametrize("k", [1, 2, 5, 6])
def test_words_and_codes_are_inverse(k):
    words = kmer_strings(k)
    assert words == sorted(words)
    assert len(set(words)) == 4**k
    assert [kmer_string(code, k) for code in range(4**k)] == words
    assert [kmer_index(word) for word in words] == list(range(4**k))


@pytest.mark.parametrize("k", [1, 3, 4, 6])
def test_reverse_complement_codes(k, rng):
    table = revcomp_codes(k)
    expected = [kmer_index(decode(reverse_complement(encode(w)))) for w in kmer_strings(k)]
    assert table.tolist() == expected
    assert np.array_equal(table[table], np.arange(4**k))
    codes = rng.integers(0, 4, 200, dtype=np.uint8)
    forward = kmer_codes(codes, k)
    assert np.array_equal(kmer_codes(reverse_complement(codes), k), table[forward][::-1])


def test_errors_say_what_was_expected():
    with pytest.raises(ValueError, match="k is 16, expected 1 to 15"):
        kmer_codes(encode("ACGT"), 16)
    with pytest.raises(ValueError, match="ambiguous"):
        kmer_index("ACN")
    with pytest.raises(ValueError, match="expected 0 to 15 for k = 2"):
        kmer_string(16, 2)
