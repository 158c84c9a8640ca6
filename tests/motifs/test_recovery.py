"""Found sites against planted ones, counted by hand."""

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.motifs.motif import Motif
from genomelm_utils.motifs.recovery import (
    describe_recovery,
    recovery_table,
    score_sites,
    share_interval,
)


def places(rows: list[tuple[int, int, int]]) -> pd.DataFrame:
    """Index, start, end of sites."""
    return pd.DataFrame(rows, columns=["index", "start", "end"])


TRUTH = pd.concat(
    [
        places([(0, 10, 20), (1, 50, 60), (2, 0, 10), (3, 5, 15)]).assign(motif="A"),
        places([(0, 40, 50)]).assign(motif="B"),
    ],
    ignore_index=True,
)


def test_sites_by_hand():
    sites = places([(0, 10, 20), (1, 53, 65), (2, 5, 15), (0, 40, 50)])
    assert score_sites(sites, TRUTH[TRUTH["motif"] == "A"]) == (2, 2)  # off by 0, 4, 5; elsewhere
    assert score_sites(sites, TRUTH[TRUTH["motif"] == "A"], within_bp=5) == (3, 1)
    assert score_sites(sites.iloc[:0], TRUTH) == (0, 0)


def test_two_sites_at_one_planted_site_are_one():
    sites = places([(0, 10, 20), (0, 12, 22)])
    assert score_sites(sites, TRUTH[TRUTH["motif"] == "A"]) == (1, 0)


def test_the_motif_with_most_sites_stands_for_the_planted_one():
    few = Motif("few", np.eye(4), sites=places([(0, 10, 20)]))
    most = Motif("most", np.eye(4), sites=places([(0, 10, 20), (1, 50, 60), (2, 80, 90)]))
    table = recovery_table([few, most], TRUTH)
    a, b = table.to_dict("records")
    assert (a["planted"], a["motif"], a["consensus"]) == ("A", "most", "ACGT")
    assert [a[name] for name in ("n_planted", "n_true", "n_missed", "n_false")] == [4, 2, 2, 1]
    assert (a["recall"], a["precision"]) == (0.5, pytest.approx(2 / 3))
    assert a["recall_low"] < 0.5 < a["recall_high"]
    assert (b["motif"], b["n_true"], b["n_missed"], b["n_false"]) == ("", 0, 1, 0)
    assert np.isnan(b["precision"])
    assert describe_recovery(table) == (
        "Planted motifs: A as ACGT: 2 of 4 sites (50%), 1 false; B was not found."
    )


def test_wilsons_interval():
    """Source: Newcombe 1998, Stat. Med. 17:857, table I: 15 of 148 and 0 of 20."""
    assert share_interval(15, 148)[1:] == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert share_interval(0, 20) == pytest.approx((0, 0, 0.1611), abs=5e-5)
    assert np.isnan(share_interval(0, 0)).all()
