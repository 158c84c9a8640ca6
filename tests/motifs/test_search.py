"""The one door: arguments that are wrong are told before anything is computed."""

import pytest

from genomelm_utils import motifs
from genomelm_utils.motifs.search import count_threads

TEXTS = ["ACGTTGACGTCAGG", "CCTGACGTCAACGT", "GGGGTGACGTAAGG"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"engine": "meme"}, "engine is 'meme', expected one of gadem, rgadem"),
        ({"n_motifs": 0}, "n_motifs is 0, expected 1 to 1000"),
        ({"numEM": 3}, "did you mean 'num_em'"),
        ({"p_value": 3}, "p_value is 3"),
    ],
)
def test_wrong_arguments(given, message):
    with pytest.raises(ValueError, match=message):
        motifs.discover(TEXTS, **given)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["ACG"] * 5, "5 left out, shorter than 6 bp, the shortest motif"),
        (["NNNNNNNNNN"] * 5, r"5 left out, no definite base \(N only\)"),
        (TEXTS[:2], "2 sequences to search, expected at least 3"),
    ],
)
def test_sequences_without_motifs(texts, message):
    with pytest.raises(ValueError, match=message):
        motifs.discover(texts)


def test_three_short_sequences_are_enough_to_run():
    found = motifs.discover(TEXTS, n_motifs=1, num_generation=1, population_size=10)
    assert len(found.records) == 3


def test_threads_follow_the_setting(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert count_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    assert count_threads() >= 1
