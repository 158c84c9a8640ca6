"""Two motifs in one matrix are told apart; one motif, with variants, stays one."""

import numpy as np
import pytest
from motif_toy import reads

from genomelm_utils import motifs
from genomelm_utils.motifs.split import split_sites
from genomelm_utils.sequences.alphabet import encode

EQUAL = np.full(4, 0.25)


def draw(rng, word: str, n: int, redrawn: float = 0.1) -> np.ndarray:
    """n copies of a word; `n` and a share of the other bases at random."""
    random = rng.integers(0, 4, (n, len(word))).astype(np.uint8)
    fixed = np.array([letter != "n" for letter in word])
    codes = np.array(["ACGT".find(letter) for letter in word]).astype(np.uint8)
    return np.where(fixed & (rng.random((n, len(word))) >= redrawn), codes, random)


def consensus(matrix: np.ndarray) -> str:
    return "".join("ACGT"[i] for i in matrix.argmax(axis=1))


def test_two_motifs_are_told_apart(rng):
    words = np.vstack([draw(rng, "TCCCCCACAACGA", 120), draw(rng, "nGCGCCCCCAAnn", 200)])
    larger, smaller, share = split_sites(words, EQUAL, 10)
    assert consensus(larger)[1:11] == "GCGCCCCCAA"
    assert consensus(smaller) == "TCCCCCACAACGA"
    assert share == pytest.approx(200 / 320, abs=0.02)
    np.testing.assert_allclose(larger.sum(axis=1), 1)


@pytest.mark.parametrize(
    "second",
    [
        "TGACGTCATA",  # the same
        "TGACGTCAGA",  # one other base of ten
        "TGACnTCATA",  # one base free
    ],
)
def test_one_motif_stays_one(second, rng):
    words = np.vstack([draw(rng, "TGACGTCATA", 300), draw(rng, second, 200)])
    assert split_sites(words, EQUAL, 10) is None


def test_weak_positions_are_no_second_motif(rng):
    matrix = rng.dirichlet(np.full(4, 0.8), 12)
    words = np.stack([rng.choice(4, 400, p=row) for row in matrix], axis=1).astype(np.uint8)
    assert split_sites(words, EQUAL, 10) is None


def test_both_parts_need_their_sites(rng):
    words = np.vstack([draw(rng, "TCCCCCACAACGA", 40, 0.0), draw(rng, "GGATTACCTGTTC", 200, 0.0)])
    assert split_sites(words, EQUAL, 10) is not None
    assert split_sites(words, EQUAL, 50) is None
    assert split_sites(words[:30], EQUAL, 20) is None  # not even enough for two


def test_motifs_that_share_bases_are_found_apart(rng):
    """Without the division the search ends at one matrix of both words."""
    rows = rng.integers(0, 4, (400, 120)).astype(np.uint8)
    words = {"TCGTTGTGGGGGA": 10, "GCGCCCCCAA": 60}  # the first reads TCCCCCACAACGA reversed
    for word, place in words.items():
        has = rng.random(400) < 0.5
        rows[has, place : place + len(word)] = encode(word)
    found = motifs.discover(
        list(rows), n_motifs=4, seed=1, num_generation=2, population_size=40, threads=1
    )
    assert len(found) == 2
    for word in words:
        assert any(reads(m, word) and abs(m.width - len(word)) <= 2 for m in found.motifs)
    assert (found.table()["n_sites"].between(170, 240)).all()
