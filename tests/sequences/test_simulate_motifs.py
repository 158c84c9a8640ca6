"""Simulated peaks: words stand where the truth says, as often as they should, apart."""

import numpy as np
import pytest

from genomelm_utils.sequences.alphabet import decode, encode, reverse_complement
from genomelm_utils.sequences.planting import Motif
from genomelm_utils.sequences.simulate_motifs import (
    PEAK_MOTIFS,
    TRUTH_COLUMNS,
    balance_strands,
    simulate_peaks,
    stationary_shares,
)


def test_exact_words_stand_where_the_truth_says():
    made = simulate_peaks(np.random.default_rng(1), 300, strength=1.0)
    assert made.codes_SL.shape == (300, 200) and list(made.truth) == TRUTH_COLUMNS
    words = {motif.name: motif.consensus for motif in PEAK_MOTIFS}
    for row in made.truth.itertuples():
        site = made.codes_SL[row.index, row.start : row.end]
        text = decode(reverse_complement(site) if row.strand == "-" else site)
        assert all(a in ("N", b) for a, b in zip(words[row.motif], text, strict=True))


def test_shares_and_strands():
    truth = simulate_peaks(np.random.default_rng(2), 2000).truth
    for motif in PEAK_MOTIFS:
        part = truth[truth["motif"] == motif.name]
        assert len(part) / 2000 == pytest.approx(motif.presence, abs=0.04)
        assert (part["strand"] == "-").mean() == pytest.approx(0.5, abs=0.07)
        assert part["index"].is_unique


def test_strength_is_the_share_of_written_bases():
    one = (Motif("X", "TGAGTCA", 10, 30),)
    made = simulate_peaks(np.random.default_rng(3), 2000, motifs=one, strength=0.6)
    starts = made.truth["start"].to_numpy()[:, None] + np.arange(7)
    same = made.codes_SL[np.arange(2000)[:, None], starts] == encode("TGAGTCA")
    assert 0.6 < same.mean() < 0.8  # what is not written is right once in four


def test_strands_are_alike_within_every_sequence(rng):
    table = balance_strands(rng.dirichlet(np.ones(4), 4))
    shares = stationary_shares(table)
    np.testing.assert_allclose(shares @ table, shares)
    joint = shares[:, None] * table
    np.testing.assert_allclose(joint, joint[::-1, ::-1].T)  # AC as often as GT
    np.testing.assert_allclose(balance_strands(table), table)


def test_same_seed_same_peaks():
    a, b, c = (simulate_peaks(np.random.default_rng(seed), 50) for seed in (1, 1, 2))
    assert (a.codes_SL == b.codes_SL).all() and a.truth.equals(b.truth)
    assert not (a.codes_SL == c.codes_SL).all()


@pytest.mark.parametrize(
    ("motifs", "message"),
    [
        ((Motif("X", "TGAGTCA", 0, 194),), "X of 7 bases at 0 to 194 does not fit into 200 bp"),
        ((Motif("X", "TGAGTCA", 0, 9), Motif("Y", "ACGT", 15, 20)), "overlap at base 15"),
    ],
)
def test_what_cannot_be_planted(motifs, message):
    with pytest.raises(ValueError, match=message):
        simulate_peaks(np.random.default_rng(1), 5, motifs=motifs)
