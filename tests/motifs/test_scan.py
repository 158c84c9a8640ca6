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
def test_p_values_equal_enumeration(motif, rng):
    weak = Motif("weak", rng.dirichlet(np.ones(4), 6) * 50)
    text = "".join(rng.choice(list("ACGT"), 300))
    hits = scan_sequences([weak], [text] * 3, p_value=0.01)
    logs = np.log2(weak.probabilities + 1e-4) - np.log2(0.25)  # memelite adds 1e-4
    scores = np.array([logs[np.arange(6), word].sum() for word in product(range(4), repeat=6)])
    for hit in hits.head(20).itertuples():
        score = logs[np.arange(6), encode(hit.word)].sum()
        assert hit.score == pytest.approx(score, abs=1e-3)
        # memelite's scores are rounded to a tenth of a bit per position
        low, high = ((scores >= score + off).mean() for off in (0.35, -0.35))
        assert low <= hit.p_value * (1 + 1e-6) and hit.p_value <= high * (1 + 1e-6) + 1e-9


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
