"""TF-MoDISco: its inputs, what is made of its patterns, and the real library where it is there."""

import sys
import types

import numpy as np
import pytest

from genomelm_utils.motifs import modisco
from genomelm_utils.sequences.alphabet import encode
from tests.interpretation.explained_toys import scanner

REAL = modisco.is_installed()


def test_it_is_asked_for_by_name_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "modiscolite", None)
    monkeypatch.setattr(modisco, "is_installed", lambda: False)
    codes = np.zeros((2, 30), np.uint8)
    with pytest.raises(ImportError, match=r'pip install -e "\.\[modisco\]"'):
        modisco.find_patterns(codes, np.zeros((2, 30, 4)))
    with pytest.raises(ValueError, match="scores have shape"):
        modisco.find_patterns(codes, np.zeros((2, 29, 4)))


def stand_in(asked: dict):
    """The arguments of `TFMoDISco` (modisco-lite 3), two patterns of eight positions."""

    def run(one_hot, hypothetical_contribs, max_seqlets_per_metacluster=20000, n_leiden_runs=50):
        asked.update(one_hot=one_hot, hypothetical=hypothetical_contribs, runs=n_leiden_runs)
        shares_W4 = np.tile([0.0, 0.7, 0.3, 0.0], (8, 1))
        scores_W4 = np.outer([0.1, 0, 1, 1, 1, 0.2, 1, 0.1], [0.0, 1, 0, 0])
        places = [(0, 1, 9, False), (1, 2, 10, True), (1, 0, 8, False)]
        names = ("example_idx", "start", "end", "is_revcomp")
        sites = [types.SimpleNamespace(**dict(zip(names, one, strict=True))) for one in places]
        small, large = (
            types.SimpleNamespace(seqlets=sites[:n], sequence=shares_W4, contrib_scores=scores_W4)
            for n in (1, 3)
        )
        return [small, large], None

    return run


def test_patterns_lose_weak_flanks_and_know_their_sites(monkeypatch):
    asked = {}
    package, inner = types.ModuleType("modiscolite"), types.ModuleType("modiscolite.tfmodisco")
    inner.TFMoDISco = stand_in(asked)
    monkeypatch.setitem(sys.modules, "modiscolite", package)
    monkeypatch.setitem(sys.modules, "modiscolite.tfmodisco", inner)
    monkeypatch.setattr(modisco, "is_installed", lambda: True)
    codes = [encode("AATGACTCAAA"), encode("CCCTGACTCAC")]
    hypothetical = modisco.hypothetical_scores(scanner(), codes, 0)
    assert hypothetical.sum(2) == pytest.approx(0)
    assert hypothetical[0, 2:9].max(1) == pytest.approx(0.75)  # 1 less the mean of 1, 0, 0, 0
    found = modisco.find_patterns(codes, hypothetical, n_leiden_runs=2)
    assert asked["one_hot"].shape == (2, 11, 4) and asked["runs"] == 2
    names = [(one.motif.name, one.sign, len(one.motif.sites)) for one in found]
    assert names == [("for_1", 1, 3), ("for_2", 1, 1)]
    # positions 2 to 6 of 8 are strong; on the other strand they count from the end
    motif = found[0].motif
    assert motif.width == 5 and found[0].scores_W4.shape == (5, 4)
    assert motif.sites[["index", "start", "end", "strand"]].to_numpy().tolist() == [
        [0, 3, 8, "+"], [1, 3, 8, "-"], [1, 2, 7, "+"],
    ]  # fmt: skip
    assert motif.sites["word"].tolist() == [
        "GACTC",
        "GAGTC"[::1].replace("GAGTC", "AGTCA"),
        "CTGAC",
    ]
    table = modisco.pattern_table(found)
    assert table["n_sequences"].tolist() == [2, 1] and table["contribution"][0] == 4.2
    told = modisco.describe_patterns(table, 2)
    assert "2 patterns; the largest, CCCCC, speaks for the class at 3 sites in 2 sequences" in told
    assert "0 patterns: too few stretches" in modisco.describe_patterns(table[:0], 2)
    with pytest.raises(ValueError, match="one length, found"):
        modisco.hypothetical_scores(scanner(), [codes[0], codes[1][:9]], 0)


@pytest.mark.slow
@pytest.mark.skipif(not REAL, reason="modisco-lite is not installed (extra `modisco`)")
def test_the_library_finds_words_for_and_against(rng):
    n_rows, length = 400, 200
    codes = rng.integers(0, 4, (n_rows, length)).astype(np.uint8)
    scores = rng.normal(0, 0.1, (n_rows, length, 4))
    for sign, word in ((1, "GATAAGAC"), (-1, "TGACGTCAT")):
        bases, rows = encode(word), np.arange(sign < 0, n_rows, 2)[:, None]
        place = rng.integers(20, 170, len(rows))[:, None] + np.arange(len(bases))
        codes[rows, place] = bases
        scores[rows, place, bases] += sign * rng.uniform(0.5, 1.5, rows.shape)
    scores -= scores.mean(2, keepdims=True)
    found = modisco.find_patterns(list(codes), scores, n_leiden_runs=5)
    largest = {one.sign: one.motif for one in reversed(found)}
    for sign, word, turned in ((1, "GATAAGAC", "GTCTTATC"), (-1, "TGACGTCAT", "ATGACGTCA")):
        found_word = largest[sign].consensus
        assert found_word in (word, turned)
        assert (largest[sign].sites["word"] == found_word).mean() > 0.95
