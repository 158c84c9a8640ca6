"""Tomtom: a turned and shifted copy is matched where it lies; q-values; the pair on one axis."""

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.motifs.compare import (
    MATCH_COLUMNS,
    align_pair,
    describe_matches,
    match_motifs,
)
from genomelm_utils.motifs.formats import read_motifs
from genomelm_utils.motifs.motif import Motif, motif_from_probabilities


@pytest.fixture(scope="module")
def known():
    """60 motifs of 8 to 13 positions."""
    rng = np.random.default_rng(3)
    return [
        motif_from_probabilities(f"k{i}", rng.dirichlet(np.full(4, 0.3), 8 + i % 6), 100)
        for i in range(60)
    ]


@pytest.fixture(scope="module")
def found(known):
    """Of k7 the positions 2 to 10 with one strange position before them; k20 turned, and noise."""
    rng = np.random.default_rng(4)
    strange = rng.dirichlet(np.ones(4), 1) * 100
    cut = Motif("cut", np.vstack([strange, known[7].counts[2:]]))
    turned = Motif("turned", known[20].reverse_complement().counts)
    noise = motif_from_probabilities("noise", rng.dirichlet(np.full(4, 30.0), 8), 100)
    return [cut, turned, noise]


@pytest.fixture(scope="module")
def matches(found, known):
    return match_motifs(found, known, n_best=3)


@pytest.mark.slow
def test_copies_are_matched_where_they_lie(matches, known):
    assert list(matches) == MATCH_COLUMNS
    best = matches.groupby("motif", sort=False).head(1).set_index("motif")
    assert best.loc["cut", "known"] == "k7"
    # position 0 of the found one is strange, its position 1 is position 2 of k7
    assert best.loc["cut", ["offset", "strand"]].tolist() == [-1, "+"]
    assert best.loc["cut", "overlap"] == known[7].width - 1
    assert best.loc["turned", ["known", "offset", "strand"]].tolist() == ["k20", 0, "-"]
    assert (best.loc[["cut", "turned"], "q_value"] < 0.01).all()
    assert best.loc["noise", "q_value"] > 0.05
    assert len(matches) == 9
    np.testing.assert_allclose(matches["e_value"], matches["p_value"] * 60)
    assert (matches["q_value"] >= matches["p_value"]).all()


@pytest.mark.slow
def test_pairs_on_common_positions(matches, found, known):
    best = matches.groupby("motif", sort=False).head(1)
    for (_, match), ours in zip(best.iterrows(), found[:2], strict=False):
        theirs = next(one for one in known if one.name == match["known"])
        upper, lower = align_pair(ours, theirs, match)
        assert upper.shape == lower.shape
        both = np.isfinite(upper[:, 0]) & np.isfinite(lower[:, 0])
        assert both.sum() == match["overlap"]
        off = np.abs(upper[both] - lower[both]).sum(axis=1)
        assert (off < 1e-9).sum() >= match["overlap"] - 1
    with pytest.raises(ValueError, match="the row is about 'cut' and 'k7', given are 'turned'"):
        align_pair(found[1], known[7], best.iloc[0])


@pytest.mark.slow
def test_sentences(matches):
    told = describe_matches(matches)
    assert told.startswith("cut (") and "is most like k7" in told
    assert told.endswith("no known motif is like noise (q above 0.05).")


@pytest.mark.slow
def test_real_motifs_of_two_collections_match(data_dir):
    """The CTCF of one collection is the CTCF of the other."""
    jaspar = read_motifs(data_dir / "motifs" / "JASPAR_CORE_2016_vertebrates.meme.gz")
    hocomoco = read_motifs(data_dir / "motifs" / "H12CORE_meme_format.meme.gz")
    wanted = [one for one in jaspar if one.alt_name in ("CTCF", "FOXA1")]
    best = match_motifs(wanted, hocomoco, n_best=1)
    by_name = dict(zip([one.alt_name for one in wanted], best["known"], strict=True))
    assert by_name["CTCF"].startswith("CTCF") and by_name["FOXA1"].startswith("FOX")
    assert (best["q_value"] < 1e-4).all()


def test_nothing_to_compare(known):
    with pytest.raises(ValueError, match="0 found and 60 known motifs"):
        match_motifs([], known)


def test_alignment_by_hand():
    ours, theirs = Motif("a", np.eye(4)[[0, 1, 2]]), Motif("b", np.eye(4)[[1, 2, 3, 3]])
    match = pd.Series({"motif": "a", "known": "b", "offset": 1, "strand": "+"})
    upper, lower = align_pair(ours, theirs, match)
    assert upper.shape == (5, 4)
    np.testing.assert_array_equal(upper[:3], np.eye(4)[[0, 1, 2]])
    np.testing.assert_array_equal(lower[1:], np.eye(4)[[1, 2, 3, 3]])
    assert np.isnan(upper[3:]).all() and np.isnan(lower[0]).all()
    match = pd.Series({"motif": "a", "known": "b", "offset": -1, "strand": "-"})
    upper, lower = align_pair(ours, theirs, match)
    np.testing.assert_array_equal(lower, np.eye(4)[[0, 0, 1, 2]])  # AACG, turned from CGTT
    assert np.isnan(upper[0]).all()
