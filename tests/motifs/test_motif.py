"""A motif's numbers by hand, and the result object."""

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.motifs.motif import (
    SITE_COLUMNS,
    Discovery,
    Motif,
    motif_from_consensus,
    motif_from_probabilities,
    no_sites,
)

SITES = pd.DataFrame(
    [["s1", 0, 3, 5, "+", 7.5, 1e-4, "AC"], ["s3", 2, 0, 2, "-", 6.5, 2e-4, "AG"]],
    columns=SITE_COLUMNS,
)


def test_numbers_by_hand():
    motif = Motif("m", [[8, 0, 0, 0], [2, 2, 2, 2], [4, 4, 0, 0], [5, 1, 1, 1]])
    assert (motif.width, motif.n_sites) == (4, 8)
    np.testing.assert_allclose(motif.information[:3], [2, 0, 1])
    assert motif.consensus == "ANMA"  # M: A or C
    np.testing.assert_allclose(motif.log_odds(pseudocount=0)[3, 0], np.log2(5 / 8 / 0.25))
    smoothed = motif.log_odds((0.4, 0.1, 0.1, 0.4), pseudocount=2)
    np.testing.assert_allclose(smoothed[0, 1], np.log2(2 * 0.1 / 10 / 0.1))
    assert np.isnan(motif.e_value)


def test_reverse_complement_turns_sites_too():
    motif = Motif("m", [[3, 0, 0, 0], [0, 2, 1, 0]], sites=SITES)
    turned = motif.reverse_complement()
    np.testing.assert_array_equal(turned.counts, [[0, 1, 2, 0], [0, 0, 0, 3]])
    assert turned.sites["strand"].tolist() == ["-", "+"]
    assert turned.sites["word"].tolist() == ["GT", "CT"]
    assert turned.sites["start"].tolist() == [3, 0]
    twice = turned.reverse_complement()
    np.testing.assert_array_equal(twice.counts, motif.counts)
    pd.testing.assert_frame_equal(twice.sites, SITES)


def test_probabilities_times_sites():
    motif = motif_from_probabilities("m", [[0.5, 0.5, 0, 0]], 30, log10_e=-400)
    assert motif.counts.tolist() == [[15, 15, 0, 0]]
    assert motif.e_value == 0.0


def test_letters_become_a_matrix():
    motif = motif_from_consensus("gre", "ARN", n_sites=10, chance=0.9)
    np.testing.assert_allclose(
        motif.probabilities,
        [[0.9, 0.1 / 3, 0.1 / 3, 0.1 / 3], [0.45, 0.05, 0.45, 0.05], [0.25] * 4],
    )
    assert motif.n_sites == pytest.approx(10) and motif.consensus == "ARN"
    with pytest.raises(ValueError, match="gre: 'X' in 'AXT' is no IUPAC letter"):
        motif_from_consensus("gre", "AXT")


@pytest.mark.parametrize(
    ("name", "counts", "message"),
    [
        ("two words", np.ones((2, 4)), "expected one word"),
        ("", np.ones((2, 4)), "expected one word"),
        ("m", np.ones((4, 2)), r"shape \(4, 2\), expected \(positions, 4\)"),
        ("m", np.ones((0, 4)), "shape"),
        ("m", [[1, 1, 1, 1], [0, 0, 0, 0]], "position 2 holds zeros only"),
        ("m", [[1, 1, -1, 1]], "position 1 holds .* numbers from 0 up"),
        ("m", [[1, 1, np.nan, 1]], "position 1 holds"),
    ],
)
def test_wrong_matrices(name, counts, message):
    with pytest.raises(ValueError, match=message):
        Motif(name, counts)


def test_discovery_tables():
    motifs = [Motif("m1", [[3, 0, 0, 0], [0, 2, 1, 0]], sites=SITES), Motif("m2", np.ones((1, 4)))]
    none = pd.DataFrame(columns=["name", "reason"])
    found = Discovery(motifs, "test", {"seed": 1}, ["s1", "s2", "s3", "s4"], none)
    assert len(found) == 2
    table = found.table().set_index("motif")
    assert table.loc["m1", ["consensus", "width", "n_sites", "n_records", "share"]].tolist() == [
        *("AS", 2, 2, 2, 0.5)
    ]
    assert table.loc["m2", "n_sites"] == 0
    sites = found.sites()
    assert list(sites) == ["motif", *SITE_COLUMNS]
    assert sites["motif"].tolist() == ["m1", "m1"]


def test_nothing_found_has_the_same_columns():
    none = pd.DataFrame(columns=["name", "reason"])
    found = Discovery([], "test", {}, ["s1"], none)
    assert list(found.sites()) == ["motif", *SITE_COLUMNS]
    assert len(found.table()) == 0 and "log10_e" in found.table()
    assert list(no_sites()) == SITE_COLUMNS
