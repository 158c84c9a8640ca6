"""Consensus words as matrices, and whether a motif fits where it is to stand."""

import numpy as np
import pytest

from genomelm_utils.sequences.planting import Motif, check_fit, consensus_matrix


def test_consensus_as_a_matrix():
    assert consensus_matrix("AN").tolist() == [[1, 0, 0, 0], [0.25] * 4]
    assert consensus_matrix("r").tolist() == [[0.5, 0, 0.5, 0]]
    assert consensus_matrix("A", 0.7)[0] == pytest.approx([0.7, 0.1, 0.1, 0.1])
    np.testing.assert_allclose(
        consensus_matrix("RN", 0.9), [[0.45, 0.05, 0.45, 0.05], [0.25] * 4], rtol=1e-12
    )


@pytest.mark.parametrize(
    ("consensus", "chance", "message"),
    [
        ("AX", 1.0, "'X' in 'AX' is no IUPAC letter"),
        ("", 1.0, "the consensus is empty"),
        ("A", 0.0, r"chance is 0.0, expected a share in \(0, 1\]"),
    ],
)
def test_what_is_no_consensus(consensus, chance, message):
    with pytest.raises(ValueError, match=message):
        consensus_matrix(consensus, chance)


def test_a_motif_fits_up_to_the_last_base():
    check_fit([Motif("word", "ACGT", 0, 6)], 10)
    for first, last in ((0, 7), (-1, 3)):
        with pytest.raises(ValueError, match=f"word of 4 bases at {first} to {last} does not fit"):
            check_fit([Motif("word", "ACGT", first, last)], 10)
