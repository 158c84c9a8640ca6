"""Promoters with a known grammar: planted words stand there, activity follows them."""

import numpy as np
import pytest

from genomelm_utils.sequences.alphabet import decode, encode, reverse_complement
from genomelm_utils.sequences.simulate_activity import GRAMMAR, simulate_activity


def test_planted_words_stand_where_the_truth_says(rng):
    made = simulate_activity(rng, n=80, cells=("K562",))
    words = {one.name: one.consensus for one in GRAMMAR}
    for row in made.truth.itertuples():
        word = encode(words[row.motif])
        word = reverse_complement(word) if row.strand == "-" else word
        found = made.codes_SL[row.row, row.start : row.start + len(word)]
        assert decode(found) == decode(word)
    assert len(made.truth) == made.present_SM.sum()


def test_noise_is_what_was_asked_for(rng):
    made = simulate_activity(rng, n=4000, cells=("K562", "JURKAT"), signal_share=0.64)
    again = simulate_activity(np.random.default_rng(3), n=4000, cells=("K562",), signal_share=1.0)
    design = np.column_stack([made.present_SM, np.ones(4000), made.present_SM[:, 1:3].all(1)])
    fitted = design @ np.linalg.lstsq(design, made.activity_SC, rcond=None)[0]
    r2 = 1 - np.square(made.activity_SC - fitted).sum(0) / np.square(
        made.activity_SC - made.activity_SC.mean(0)
    ).sum(0)
    np.testing.assert_allclose(r2, 0.64, atol=0.03)
    design = np.column_stack([again.present_SM, np.ones(4000), again.present_SM[:, 1:3].all(1)])
    weights, *_ = np.linalg.lstsq(design, again.activity_SC[:, 0], rcond=None)
    np.testing.assert_allclose(weights[:8], again.effects_MC[:, 0], atol=1e-4)


def test_replicates_have_noise_of_their_own(rng):
    made = simulate_activity(rng, n=20_000, cells=("K562",), signal_share=0.8)
    first, second = made.replicates_RSC[..., 0]
    np.testing.assert_allclose((first + second) / 2, made.activity_SC[:, 0], atol=1e-5)
    # variances: signal 0.8, noise of the mean 0.2, of each replicate 0.4
    assert np.corrcoef(first, second)[0, 1] == pytest.approx(0.8 / 1.2, abs=0.015)


def test_same_seed_same_promoters():
    one, two = (simulate_activity(np.random.default_rng(1), n=5, cells=("K562",)) for _ in range(2))
    np.testing.assert_array_equal(one.codes_SL, two.codes_SL)
    with pytest.raises(ValueError, match="expected at least 13"):
        simulate_activity(np.random.default_rng(1), n=5, cells=("K562",), length_bp=60)
