"""FIMO: planted words are hits on their strand; p-values by enumeration; q-values by hand."""

from itertools import product

import numpy as np
import pytest

from genomelm_utils.motifs.motif import Motif
from genomelm_utils.motifs.records import collect
from genomelm_utils.motifs.scan import HIT_COLUMNS, one_hot, q_values, scan_sequences
from genomelm_utils.sequences.alphabet import encode

WORD = "ACGTTA"


@pytest.fixture
def motif():
    return Motif("m", np.eye(4)[encode(WORD)] * 97 + 1)


TEXTS = {"plus": "CCCCACGTTACCCC", "minus": "GGGTAACGTGG", "gap": "CCCCCCCACGTTNCCCC", "n": "NNN"}


@pytest.mark.slow
def test_hits_on_both_strands(motif):
    hits = scan_sequences([motif], TEXTS, p_value=1e-3)
    assert list(hits) == HIT_COLUMNS
    found = hits[["motif", "record", "index", "start", "end", "strand", "word"]].to_numpy().tolist()
    assert found == [
        ["m", "plus", 0, 4, 10, "+", WORD],
        ["m", "minus", 1, 3, 9, "-", WORD],
    ]
    # exact words: one of 4,096
    np.testing.assert_allclose(hits["p_value"], 1 / 4096, rtol=0.01)
    n_places = 2 * (9 + 6 + 7 + 0)
    np.testing.assert_allclose(hits["q_value"], hits["p_value"] * n_places / 2)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["weak", "even"])
def test_hits_equal_enumeration(kind, rng):
    """All windows that are rare enough and no others; an even motif has two scores per position,
    which memelite's own table confuses."""
    even = np.full((6, 4), 1 / 60)
    even[np.arange(6), encode(WORD)] = 0.95
    motif = Motif(kind, rng.dirichlet(np.ones(4), 6) * 50 if kind == "weak" else even * 20)
    text = "".join(rng.choice(list("ACGT"), 3000))
    hits = scan_sequences([motif], [text, text[::-1], "ACGTTA"], p_value=0.01)
    logs = np.log2(motif.probabilities + 1e-4) - np.log2(0.25)  # memelite adds 1e-4
    scores = np.array([logs[np.arange(6), word].sum() for word in product(range(4), repeat=6)])
    for hit in hits.groupby("word").head(1).itertuples():
        score = logs[np.arange(6), encode(hit.word)].sum()
        assert hit.score == pytest.approx(score, abs=0.03)
        low, high = ((scores >= score + off).mean() for off in (0.04, -0.04))
        assert low <= hit.p_value + 1e-12 and hit.p_value <= high + 1e-12
    words = ["".join("ACGT"[base] for base in word) for word in product(range(4), repeat=6)]
    chance = {word: (scores >= scores[i] - 0.04).mean() for i, word in enumerate(words)}
    rare = {word for word, p in chance.items() if p <= 0.01}
    windows = [text[i : i + 6] for i in range(len(text) - 5)]
    n_plus = sum(word in rare for word in windows)
    found = hits[(hits["record"] == "1") & (hits["strand"] == "+")]
    assert n_plus > 5 and len(found) >= n_plus
    assert rare >= set(found["word"]) or kind == "weak"


def test_one_hot():
    hot = one_hot(collect(["ACGTAC", "TTTNTTTTTT", "GGGGGG"]))
    assert hot.shape == (3, 4, 10) and hot.dtype == np.int8
    assert hot[0].argmax(axis=0)[:6].tolist() == [0, 1, 2, 3, 0, 1]
    assert hot.sum(axis=1).tolist() == [
        [1] * 6 + [0] * 4,
        [1] * 3 + [0] + [1] * 6,
        [1] * 6 + [0] * 4,
    ]


def test_q_values_by_hand():
    np.testing.assert_allclose(q_values(np.array([0.02, 0.001, 0.03]), 10), [0.1, 0.01, 0.1])
    assert q_values(np.array([0.5, 0.9]), 100).tolist() == [1.0, 1.0]
    assert q_values(np.array([]), 100).tolist() == []


@pytest.mark.parametrize(
    ("names", "p_value", "message"),
    [
        ([], 1e-3, "0 motifs, expected at least one"),
        (["m", "m"], 1e-3, "2 motifs, expected at least one and names that differ"),
        (["m"], 1.5, "p_value is 1.5, expected a chance"),
    ],
)
def test_wrong_arguments(names, p_value, message):
    with pytest.raises(ValueError, match=message):
        scan_sequences([Motif(name, np.ones((6, 4))) for name in names], TEXTS, p_value)
