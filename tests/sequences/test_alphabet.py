"""Base codes, complements and runs of definite bases."""

import re

import numpy as np
import pytest

from genomelm_utils.sequences.alphabet import (
    ALPHABET,
    CODE_N,
    IUPAC_SETS,
    complement,
    decode,
    definite_runs,
    encode,
    reverse_complement,
    split_intervals,
)


def test_alphabet_is_the_contract():
    assert ALPHABET == "ACGTRYSWKMBDHVN"
    assert encode("ACGTN").tolist() == [0, 1, 2, 3, CODE_N]


def test_encode_ignores_case_and_reads_u_as_t():
    assert encode(ALPHABET.lower()).tolist() == list(range(15))
    assert decode(encode("acguU")) == "ACGTT"
    assert encode(b"ACG").tolist() == [0, 1, 2]
    assert encode("").shape == (0,)


@pytest.mark.parametrize(
    ("text", "position", "phrase"),
    [
        ("AC-T", 2, "alignment gap"),
        ("AC*", 2, "protein"),
        ("ACE", 2, "protein"),
        ("A1", 1, "'1'"),
        ("AC GT", 2, "' '"),
        ("ACé", 2, "'é'"),
        ("A→", 1, "position 1"),
    ],
)
def test_encode_names_character_position_and_record(text, position, phrase):
    with pytest.raises(ValueError, match=rf"chr7: .*position {position} ") as error:
        encode(text, where="chr7")
    assert phrase in str(error.value)


def test_decode_inverts_encode(rng):
    codes = rng.integers(0, len(ALPHABET), 1000, dtype=np.uint8)
    assert np.array_equal(encode(decode(codes)), codes)


def test_complement_pairs_by_hand():
    assert decode(complement(encode("ACGTRYSWKMBDHVN"))) == "TGCAYRSWMKVHDBN"


def test_complement_of_a_set_is_the_set_of_complements():
    pair = {"A": "T", "C": "G", "G": "C", "T": "A"}
    for letter, bases in IUPAC_SETS.items():
        other = decode(complement(encode(letter)))
        assert set(IUPAC_SETS[other]) == {pair[base] for base in bases}


def test_reverse_complement_by_hand_and_twice(rng):
    assert decode(reverse_complement(encode("AACGTNR"))) == "YNACGTT"
    codes_SL = rng.integers(0, len(ALPHABET), (5, 40), dtype=np.uint8)
    twice = reverse_complement(reverse_complement(codes_SL))
    assert np.array_equal(twice, codes_SL)
    assert np.array_equal(reverse_complement(codes_SL)[3], reverse_complement(codes_SL[3]))


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        ("", []),
        ("NNN", []),
        ("ACGT", [[0, 4]]),
        ("NACNNGTN", [[1, 3], [5, 7]]),
        ("ARA", [[0, 1], [2, 3]]),
        ("NNA", [[2, 3]]),
    ],
)
def test_definite_runs_by_hand(text, runs):
    assert definite_runs(encode(text)).tolist() == runs


def test_definite_runs_across_blocks(rng, monkeypatch):
    monkeypatch.setattr("genomelm_utils.sequences.alphabet._BLOCK", 7)
    for _ in range(50):
        text = "".join(rng.choice(list("ACGTN"), 60, p=[0.24, 0.24, 0.24, 0.23, 0.05]))
        expected = [list(match.span()) for match in re.finditer("[ACGT]+", text)]
        assert definite_runs(encode(text)).tolist() == expected


def test_runs_do_not_cross_records():
    codes = encode("ACGTNNAC")
    assert definite_runs(codes, np.array([0, 2, 5, 8])).tolist() == [[0, 2], [2, 4], [6, 8]]
    assert definite_runs(codes, np.array([0, 4, 6, 8])).tolist() == [[0, 4], [6, 8]]


def test_split_intervals_keeps_what_no_cut_touches():
    intervals = np.array([[2, 5], [7, 9]])
    assert split_intervals(intervals, np.array([0, 2, 5, 6, 9])).tolist() == intervals.tolist()
    assert split_intervals(intervals, np.array([3, 4, 8, 8])).tolist() == [
        [2, 3],
        [3, 4],
        [4, 5],
        [7, 8],
        [8, 9],
    ]
