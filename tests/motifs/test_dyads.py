"""Dyads: counted as by hand, planted ones proposed first, children within the limits."""

from collections import Counter

import numpy as np
import pytest

from genomelm_utils.motifs.dyads import (
    Dyad,
    breed,
    count_dyads,
    draw_dyads,
    log_n_dyads,
    propose,
    rank_words,
)
from genomelm_utils.motifs.parameters import Parameters
from genomelm_utils.motifs.records import collect, count_definite
from genomelm_utils.sequences.alphabet import decode, encode, reverse_complement
from genomelm_utils.sequences.kmers import kmer_codes, kmer_index, kmer_string, revcomp_codes


def make_dyad(text: str) -> Dyad:
    left, right = text[: text.index("n")], text[text.rindex("n") + 1 :]
    return Dyad(kmer_index(left), len(left), text.count("n"), kmer_index(right), len(right))


def test_both_readings():
    dyad = make_dyad("TTGnnACCA")
    assert (dyad.text, dyad.width) == ("TTGnnACCA", 9)
    assert dyad.turned().text == "TGGTnnCAA"
    assert dyad.turned().turned() == dyad
    assert dyad.canonical() == dyad.turned().canonical()
    matrix = dyad.matrix(np.array([0.4, 0.1, 0.1, 0.4]))
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    np.testing.assert_allclose(matrix[3], [0.4, 0.1, 0.1, 0.4])
    assert "".join("ACGT"[i] for i in matrix[[0, 1, 2, 5, 6]].argmax(1)) == "TTGAC"


def dyads_by_hand(text: str, k: int, gap: int) -> set[tuple[str, str]]:
    """The dyads of one sequence, either strand, each in the reading that sorts first."""
    found = set()
    for j in range(len(text) - 2 * k - gap + 1):
        window = text[j : j + 2 * k + gap]
        if "N" not in window:
            pair = (window[:k], window[k + gap :])
            turned = tuple(decode(reverse_complement(encode(word))) for word in reversed(pair))
            found.add(min(pair, turned))
    return found


@pytest.mark.parametrize(("k", "gap"), [(3, 0), (3, 2), (4, 1), (5, 0)])
def test_counts_equal_counting_by_hand(k, gap, rng):
    texts = ["".join(rng.choice(list("ACGTN"), 60, p=[0.24] * 4 + [0.04])) for _ in range(8)]
    texts[0] = "ACGT" * 15
    data = collect(texts)
    left = count_definite(data.codes, data.starts)
    numbers = np.append(kmer_codes(data.codes, k), np.full(k - 1, -1, np.int32))
    counts = np.zeros(16**k, np.int32)
    last = np.full(16**k, -1, np.int32)
    count_dyads(numbers, left, data.starts, k, gap, revcomp_codes(k).astype(np.int64), counts, last)
    expected = Counter(pair for text in texts for pair in dyads_by_hand(text, k, gap))
    found = {
        (kmer_string(int(n) // 4**k, k), kmer_string(int(n) % 4**k, k)): int(counts[n])
        for n in np.flatnonzero(counts)
    }
    assert found == dict(expected)


def plant(rng, word: str, n: int, n_with: int, length: int = 100):
    """Random texts, a word with gaps (n) in some of them, half of these reversed."""
    texts = []
    for i in range(n):
        codes = rng.integers(0, 4, length).astype(np.uint8)
        if i < n_with:
            start = rng.integers(0, length - len(word))
            for j, letter in enumerate(word):
                if letter != "n":
                    codes[start + j] = "ACGT".index(letter)
            if i % 2:
                codes = reverse_complement(codes)
        texts.append(codes)
    return collect(texts)


@pytest.mark.parametrize("word", ["TGACGTTA", "TTGACnnnnnTATAA", "CCGnnnnnnCGA"])
def test_planted_dyads_are_proposed_first(word, rng):
    parameters = Parameters()
    data = plant(rng, word, 300, 150)
    words = rank_words(data.codes, parameters, np.full(4, 0.25))
    left = count_definite(data.codes, data.starts)
    best = propose(data.codes, left, data.starts, words, parameters, 20)[0]
    either = (best.text, best.turned().text)
    core = word.replace("n", ".")
    assert any(matches(text, core) for text in either), either


def matches(text: str, core: str) -> bool:
    """Whether a dyad lies within a planted word (gaps fit anything)."""
    for shift in range(len(core) - len(text) + 1):
        part = core[shift : shift + len(text)]
        if all(a == "n" or a == b for a, b in zip(text, part, strict=True)):
            return True
    return False


def test_top_words_by_hand():
    parameters = Parameters(num_word_group=1, num_top_3mer=2)
    codes = encode("TTTTTTTTTGCA")
    words = rank_words(codes, parameters, np.full(4, 0.25))
    assert {kmer_string(int(w), 3) for w in words.top[3]} == {"AAA", "TTT"}
    assert list(words.top) == [3]
    np.testing.assert_allclose(words.shares[3].sum(), 1)
    assert words.shares[3][kmer_index("AAA")] == words.shares[3][kmer_index("TTT")] == 7 / 20


def test_children_stay_within_the_limits(rng):
    parameters = Parameters(min_space_width=2, max_space_width=5, num_word_group=2)
    data = plant(rng, "TGACGTTA", 20, 10)
    words = rank_words(data.codes, parameters, np.full(4, 0.25))
    parents = draw_dyads(10, words, parameters, rng)
    children = breed(parents, 200, words, parameters, rng)
    assert len(children) == 200 and len(set(children)) > 50
    for dyad in (*parents, *children):
        assert 2 <= dyad.gap <= 5 and dyad.left_k in (3, 4) and dyad.right_k in (3, 4)
        assert dyad == dyad.canonical()
    again = breed(parents, 200, words, parameters, np.random.default_rng(1))
    assert again == breed(parents, 200, words, parameters, np.random.default_rng(1))


def test_how_many_dyads_there_are():
    parameters = Parameters(max_space_width=0, num_word_group=1)
    assert np.exp(log_n_dyads(Dyad(0, 3, 0, 1, 3), parameters)) == pytest.approx(4**6 / 2)
    parameters = Parameters(max_space_width=10)
    assert np.exp(log_n_dyads(Dyad(0, 3, 0, 1, 5), parameters)) == pytest.approx(4**8 * 11 * 9 / 2)
