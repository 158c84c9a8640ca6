"""Recovery of planted bases, the simulated set, and a trained classifier."""

import numpy as np
import pytest

from genomelm_utils.interpretation.planted import describe_recovery, random_scores, recovery_table
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
