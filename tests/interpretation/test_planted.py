"""Recovery of planted bases, the simulated set, TF-MoDISco's inputs, and a trained classifier."""

import sys
import types

import numpy as np
import pytest
from explained_toys import scanner

from genomelm_utils.interpretation import modisco
from genomelm_utils.interpretation.planted import describe_recovery, random_scores, recovery_table
from genomelm_utils.sequences.alphabet import encode
from genomelm_utils.sequences.planting import Motif
from genomelm_utils.sequences.simulate_planted import simulate_planted


def test_recovery_by_hand():
    truth = [np.array([1, 1, 0, 0], bool), np.zeros(4, bool), np.array([0, 0, 1, 0], bool)]
    scores = {"good": [np.array([4, 3, 2, 1])] * 2 + [np.array([1, 2, 4, 3])],
              "bad": [np.array([1, 2, 3, 4])] * 2 + [np.array([4, 3, 1, 2])]}  # fmt: skip
    table = recovery_table(scores, truth).set_index("method")
    assert table.loc["good", "auprc"] == 1 and table.loc["good", "auroc"] == 1
    assert table.loc["bad", "auprc"] == pytest.approx((np.mean([1 / 3, 1 / 2]) + 1 / 4) / 2)
    assert table["n"].tolist() == [2, 2] and table["chance"].tolist() == [0.375, 0.375]
    assert "good has the largest AUPRC, 1.000" in describe_recovery(table.reset_index())
    with pytest.raises(ValueError, match="none of 1 sequences has both"):
        recovery_table(scores, [np.zeros(4, bool)])
    with pytest.raises(ValueError, match="scores of short do not have"):
        recovery_table({"short": [np.ones(3)] * 3}, truth)


def test_random_scores_have_chance():
    truth = list(np.random.default_rng(0).random((200, 50)) < 0.2)
    table = recovery_table({"chance": random_scores(truth, 1)}, truth)
    assert 0.2 < table["auprc"][0] < 0.3 and abs(table["auroc"][0] - 0.5) < 0.03


def test_the_simulated_set_differs_by_the_order_of_bases_only():
    made = simulate_planted(np.random.default_rng(0), 400)
    assert made.labels.sum() == 200 and not made.truth_SL[made.labels == 0].any()
    widths = made.truth_SL[made.labels == 1].sum(1)
    assert set(widths) == {7, 17}
    counts = [np.bincount(made.codes_SL[made.labels == one].ravel(), minlength=4) / 200
              for one in (0, 1)]  # fmt: skip
    assert np.abs(counts[0] - counts[1]).max() < 1.5
    words = {"TGAGTCA", "TGACTCA", "GCGCATGCGC"}
    for row, truth in zip(made.codes_SL, made.truth_SL, strict=True):
        edges = np.flatnonzero(np.diff(np.r_[0, truth.astype(int), 0])).reshape(-1, 2)
        for start, end in edges:
            assert "".join("ACGT"[b] for b in row[start:end]) in words
    with pytest.raises(ValueError, match="AP-9 of 7 bases at 0 to 60 does not fit"):
        simulate_planted(np.random.default_rng(0), 4, motifs=[Motif("AP-9", "TGAGTCA", 0, 60)])


def test_modisco_is_asked_for_by_name_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "modiscolite", None)
    monkeypatch.setattr(modisco, "is_installed", lambda: False)
    codes = np.zeros((2, 30), np.uint8)
    with pytest.raises(ImportError, match="pip install modisco-lite"):
        modisco.find_patterns(codes, np.zeros((2, 30, 4)))
    with pytest.raises(ValueError, match="scores have shape"):
        modisco.find_patterns(codes, np.zeros((2, 29, 4)))


def test_modisco_gets_contributions_and_gives_patterns(monkeypatch):
    """A stand-in with the real function's arguments, modisco-lite 2.x `TFMoDISco`."""
    asked = {}

    def run(one_hot, hypothetical_contribs, max_seqlets_per_metacluster=20000, n_leiden_runs=50):
        asked.update(one_hot=one_hot, hypothetical=hypothetical_contribs, runs=n_leiden_runs)
        shares = np.tile([0.0, 0.5, 0.5, 0.0], (8, 1))
        small, large = (
            types.SimpleNamespace(seqlets=[0] * n, sequence=shares, contrib_scores=shares)
            for n in (3, 9)
        )
        return [small, large], None

    package, inner = types.ModuleType("modiscolite"), types.ModuleType("modiscolite.tfmodisco")
    inner.TFMoDISco = run
    monkeypatch.setitem(sys.modules, "modiscolite", package)
    monkeypatch.setitem(sys.modules, "modiscolite.tfmodisco", inner)
    monkeypatch.setattr(modisco, "is_installed", lambda: True)
    codes = [encode("AATGACTCAAA"), encode("CCCTGACTCAC")]
    hypothetical = modisco.hypothetical_scores(scanner(), codes, 0)
    assert hypothetical.sum(2) == pytest.approx(0)
    assert hypothetical[0, 2:9].max(1) == pytest.approx(0.75)  # 1 less the mean of 1, 0, 0, 0
    found = modisco.find_patterns(codes, hypothetical, n_leiden_runs=2)
    assert [(one.sign, one.n_sites) for one in found] == [(1, 9), (1, 3)]
    assert found[0].counts.sum(1).tolist() == [9] * 8
    assert asked["one_hot"].shape == (2, 11, 4) and asked["runs"] == 2
    with pytest.raises(ValueError, match="one length, found"):
        modisco.hypothetical_scores(scanner(), [codes[0], codes[1][:9]], 0)
