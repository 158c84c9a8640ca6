"""Ends of motifs by hand, and when two matrices are the same motif."""

import numpy as np
import pytest

from genomelm_utils.motifs.refine import best_stretch, same_motif

EQUAL = np.full(4, 0.25)


def counts_of(text: str, n: int = 50) -> np.ndarray:
    """n sites: a letter stands for itself in 9 of 10, '.' for background."""
    rows = []
    for letter in text:
        row = np.full(4, n / 4) if letter == "." else np.full(4, n / 30)
        if letter != ".":
            row["ACGT".index(letter)] = n * 0.9
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("...TGACGTCA...", (3, 11)),  # as it is
        ("..TTGACGTCAA..", (2, 12)),  # extended on both sides
        ("...T..CGTCAGG.", (3, 13)),  # a gap inside stays
        ("......CGTCAGGA", (6, 14)),  # trimmed on the left, extended on the right
        (".T..........TG", (0, 6)),  # nothing pays: shortest stretch around what there is
    ],
)
def test_ends_move_to_where_the_information_is(text, found):
    begin, end = best_stretch(counts_of(text), EQUAL, flank=3)
    if text.count(".") > 10:
        assert end - begin == 6
    else:
        assert (begin, end) == found


def test_few_sites_do_not_pay_for_weak_positions():
    weak = np.array([0.4, 0.2, 0.2, 0.2])
    for n, extended in ((20, False), (2000, False)):
        counts = np.vstack([counts_of("TGACGTCA", n), np.tile(weak * n, (3, 1))])
        assert (best_stretch(counts, EQUAL, 0)[1] > 8) == extended  # 0.08 bits: below the floor
    strong = np.array([0.6, 0.15, 0.15, 0.1])
    for n, extended in ((6, False), (200, True)):
        counts = np.vstack([counts_of("TGACGTCA", n), (strong * n)[None]])
        assert (best_stretch(counts, EQUAL, 0)[1] == 9) == extended


def matrix_of(text: str) -> np.ndarray:
    counts = counts_of(text) + 0.1
    return counts / counts.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("TGACGTCATA", "TGACGTCATA", True),
        ("TGACGTCATA", "TATGACGTCA", True),  # reverse complement
        ("TTTGACGTCA", "GACGTCATAA", True),  # shifted
        ("TGACGTCATA", "CCATTAGGAC", False),
        ("TTG......TATAAT", "CCG......GGCCGA", False),  # the gaps alone are no agreement
        ("TGACGT", "TGACGTCATACC", True),
    ],
)
def test_same_motif(one, other, same):
    assert same_motif(matrix_of(one), matrix_of(other), 6) == same
    assert same_motif(matrix_of(other), matrix_of(one), 6) == same
