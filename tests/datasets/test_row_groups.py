"""Rows of data sets grouped by what they were made of."""

import numpy as np
import pytest

from genomelm_utils.datasets.row_groups import (
    group_rows,
    join_sets,
    list_rows,
    take_percent,
    take_rows,
    tell_letters,
)
from genomelm_utils.datasets.token_reading import TokenSet


def make_set(names, texts, labels=None, classes=("no", "yes"), strings=False) -> TokenSet:
    """One id per letter."""
    ids = np.concatenate([[ord(c) for c in t] for t in texts]).astype(np.int32)
    offsets = np.append(0, np.cumsum([len(t) for t in texts])).astype(np.int64)
    labels = np.zeros(len(names), np.int64) if labels is None else np.array(labels)
    words = [c for t in texts for c in t] if strings else []
    return TokenSet(list(names), list(texts), labels, ids, offsets, classes, words, "toy")


def test_rows_of_one_sequence_are_one_group():
    names = ["a", "a__RC", "b__PARTIAL_SEQ_CHUNK_0", "b__PARTIAL_SEQ_CHUNK_1__RC", "c", "d"]
    texts = ["ACGTT", "AACGT", "GGGGA", "CCTTT", "AACGT", "TTTTT"]
    # c is a copy of the other strand of a
    assert group_rows(make_set(names, texts)).tolist() == [0, 0, 1, 1, 0, 2]


def test_records_of_two_files_may_have_one_name():
    rows = make_set(["1", "1", "1__RC"], ["ACGTT", "GGGGA", "AACGT"], [0, 1, 0])
    assert group_rows(rows).tolist() == [0, 1, 0]


def test_relatives_share_words():
    texts = ["ACGTACGTAA", "TTTTTTTTTT", "GGACGTACGG", "AAAAAAAAAA"]
    named = make_set("wxyz", texts)
    assert group_rows(named).tolist() == [0, 1, 2, 1]  # T10 is the other strand of A10
    assert group_rows(named, "shared_words", 6).tolist() == [0, 1, 0, 1]
    proteins = make_set("wxy", ["MKLVEEFF", "QQKLVEEQ", "AAAAAAAA"])
    assert group_rows(proteins, "shared_words", 5).tolist() == [0, 0, 1]
    with pytest.raises(ValueError, match="groups is 'all'"):
        group_rows(named, "all")


def test_rows_are_joined_and_taken():
    one = make_set("ab", ["ACG", "TT"], [0, 1], strings=True)
    two = make_set("c", ["GGGG"], [1], strings=True)
    both = join_sets([one, two])
    assert [row.tolist() for row in list_rows(both)] == [
        [65, 67, 71], [84, 84], [71] * 4,
    ]  # fmt: skip
    taken = take_rows(both, np.array([2, 0]))
    assert taken.features == ["GGGG", "ACG"] and taken.labels.tolist() == [1, 0]
    assert [row.tolist() for row in list_rows(taken)] == [[71] * 4, [65, 67, 71]]
    assert taken.strings == list("GGGGACG")
    with pytest.raises(ValueError, match="different classes"):
        join_sets([one, make_set("d", ["A"], classes=("x", "y"))])
    with pytest.raises(ValueError, match="no data set"):
        join_sets([])


def test_golden_shares_of_rows():
    assert len(take_percent(12175, 10)) == 1218
    assert len(take_percent(676, 10)) == 68
    assert take_percent(5, 100).tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="percentage is 0"):
        take_percent(5, 0)


def test_kinds_of_letters():
    assert [tell_letters([t]) for t in ("ACGTN", "acgu", "MKL")] == ["dna", "rna", "protein"]
