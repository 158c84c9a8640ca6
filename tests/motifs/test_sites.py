"""Sites: what is called, what is masked, what a rival takes, what is cut off."""

import numpy as np

from genomelm_utils.motifs.background import Background, fit_background
from genomelm_utils.motifs.parameters import Parameters
from genomelm_utils.motifs.records import collect
from genomelm_utils.motifs.sites import Scanned, call_sites, count_sites, posterior, trim_sites
from genomelm_utils.sequences.alphabet import decode, encode, reverse_complement

PLAIN = Background(np.full(4, 0.25), np.full((1, 4), 0.25))
PARAMETERS = Parameters()


def matrix_of(word: str, sharp: float = 0.94) -> np.ndarray:
    matrix = np.full((len(word), 4), (1 - sharp) / 3)
    matrix[np.arange(len(word)), encode(word)] = sharp
    return matrix


def sequences_with(rng, word: str, n: int, n_with: int, length: int = 100):
    """The word at place 20, reversed in every second sequence."""
    rows = rng.integers(0, 4, (n, length)).astype(np.uint8)
    rows[:n_with, 20 : 20 + len(word)] = encode(word)
    rows[1:n_with:2, 20 : 20 + len(word)] = reverse_complement(encode(word))
    return rows, Scanned(rows.ravel(), np.arange(n + 1) * length)


def test_exact_words_are_called(rng):
    rows, scanned = sequences_with(rng, "TGACGTTATA", 60, 40)
    called = call_sites(scanned, matrix_of("TGACGTTATA"), PLAIN, PARAMETERS)
    at_20 = called.table[called.table["start"] == 20]
    assert at_20["index"].tolist() == list(range(40))
    assert at_20["strand"].tolist() == ["+", "-"] * 20
    assert len(called.table) <= 43
    for site in called.table.itertuples():
        bases = rows[site.index, site.start : site.end]
        assert decode(reverse_complement(bases) if site.strand == "-" else bases) == site.word
    np.testing.assert_array_equal(called.counts.sum(axis=1), len(called.table))
    assert called.covered.reshape(60, 100)[:40, 20:30].all()
    assert count_sites(scanned, called, PLAIN, PARAMETERS) == len(called.table)
    nothing = Scanned(rng.integers(0, 4, 6000).astype(np.uint8), np.array([0, 6000]))
    assert count_sites(nothing, called, PLAIN, PARAMETERS) <= 5


def test_a_rival_keeps_its_windows(rng):
    word, rival = "TGACGTTATA", "TGACCCTATA"
    rows, scanned = sequences_with(rng, word, 60, 30)
    rows[30:, 50:60] = encode(rival)
    scanned = Scanned(rows.ravel(), scanned.starts)
    loose = Parameters(p_value=1e-2)
    alone = call_sites(scanned, matrix_of(word, 0.8), PLAIN, loose)
    beside = call_sites(scanned, matrix_of(word, 0.8), PLAIN, loose, [matrix_of(rival, 0.8)])
    covered = [one.covered.reshape(60, 100)[30:, 50:60] for one in (alone, beside)]
    assert covered[0].all() and not covered[1].all(axis=1).any()
    assert set(range(30)) <= set(beside.table["index"])
    assert not (beside.table["start"] == 50).any()


def test_sites_cut_at_both_ends(rng):
    rows, scanned = sequences_with(rng, "TGACGTTATA", 40, 40)
    called = call_sites(scanned, matrix_of("TGACGTTATA"), PLAIN, PARAMETERS)
    cut = trim_sites(called, 1, 8)
    assert cut.counts.shape == (7, 4)
    sites = cut.table
    assert (sites["end"] - sites["start"] == 7).all()
    for site in sites.itertuples():
        bases = rows[site.index, site.start : site.end]
        assert decode(reverse_complement(bases) if site.strand == "-" else bases) == site.word
    assert (sites["word"] == "GACGTTA").sum() >= 40


def test_a_chain_takes_low_complexity_for_granted(rng):
    """In sequences of CA repeats, a CA matrix has no sites worth the name against the chain."""
    texts = ["CA" * 40] * 10
    data = collect(texts)
    scanned = Scanned(data.codes, data.starts)
    matrix = matrix_of("CACACACA")
    plain = call_sites(scanned, matrix, PLAIN, PARAMETERS)
    chain = call_sites(scanned, matrix, fit_background(data.codes, 1), PARAMETERS)
    assert len(plain.table) == 100
    assert posterior(np.array([0.1]), 1000)[0] < 0.01 < posterior(np.array([14.0]), 1000)[0]
    assert chain.lowest_bits < 3 < plain.lowest_bits


def test_posterior_settles_on_the_share():
    bits = np.concatenate([np.full(50, 15.0), np.full(20, 3.0)])
    chance = posterior(bits, 10_000)
    share = chance.sum() / 10_000
    expected = share * 2.0**bits / (1 - share + share * 2.0**bits)
    np.testing.assert_allclose(chance, expected, rtol=1e-6)
    assert (chance[:50] > 0.95).all() and (chance[50:] < 0.1).all()


def test_no_window_no_site():
    scanned = Scanned(encode("ACGTACGTACGT"), np.array([0, 6, 12]))
    called = call_sites(scanned, matrix_of("TTTTTTTT"), PLAIN, PARAMETERS)
    assert called.table.empty and not called.covered.any() and np.isinf(called.lowest_bits)
