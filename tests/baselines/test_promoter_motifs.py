"""Motif features of promoters by hand, and against regular expressions."""

import re

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.baselines.promoter_motifs import (
    PLANT_MOTIFS,
    PlantMotif,
    both_strands,
    find_hits,
    motif_feature_names,
    motif_features,
    right_aligned_bits,
)
from genomelm_utils.sequences.alphabet import IUPAC_SETS, encode

TATA = (PlantMotif("TATA box", "TATAWA", "test"),)


def features_of(texts, gap_bp=None, motifs=PLANT_MOTIFS):
    rows = motif_features([encode(text) for text in texts], gap_bp, motifs)
    return [dict(zip(motif_feature_names(motifs), row.tolist(), strict=True)) for row in rows]


def search(text, consensus):
    """Starts of overlapping hits; an N of the text fits an N only."""
    letters = {"N": "[ACGTN]"} | {x: f"[{s}]" for x, s in IUPAC_SETS.items() if x != "N"}
    pattern = "".join(letters[letter] for letter in consensus)
    return [hit.start() for hit in re.finditer(f"(?={pattern})", text)]


def test_features_by_hand():
    first, second, third = features_of(["GGTATAAACCCC", "GGGTTTATACCG", "ACG"], motifs=TATA)
    assert (first["TATA box plus"], first["TATA box minus"]) == (1, 0)
    assert first["TATA box nearest_bp"] == -5  # its last base; four Cs follow
    assert (second["TATA box plus"], second["TATA box minus"]) == (0, 1)
    assert second["TATA box nearest_bp"] == -4
    assert third["TATA box present"] == 0
    assert third["TATA box nearest_bp"] == -4  # beyond three bases
    assert [row["length_bp"] for row in (first, second, third)] == [12, 12, 3]


def test_composition_by_hand():
    (row,) = features_of(["CAGCGGTNN"], motifs=())
    assert row["gc"] == pytest.approx(5 / 7)
    assert row["gc_skew"] == pytest.approx((3 - 2) / 5)
    assert (row["cpg"], row["chg_plus"], row["chg_minus"]) == (1, 1, 2)  # CAG and CGG on the other
    (other,) = features_of(["CTGNCCGG"], motifs=())
    assert (other["chg_plus"], other["chg_minus"]) == (
        2,
        2,
    )  # CTG and CCG; CTG and CGG on the other
    (empty,) = features_of(["NNN"], motifs=())
    assert (empty["gc"], empty["gc_skew"]) == (0.5, 0)


def test_gap_moves_every_distance():
    gaps = pd.Series([0, 40, pd.NA, -6], dtype="Int64")
    near, far, unknown, past = features_of(["GGTATAAACC"] * 4, gaps, TATA)
    assert near["TATA box nearest_bp"] == unknown["TATA box nearest_bp"] == -3
    assert far["TATA box nearest_bp"] == -43
    assert past["TATA box nearest_bp"] == 3


def test_nearest_is_on_either_side_of_the_tss():
    (row,) = features_of(["TATAAAGGGGGGGGTATAAA"], [-8], TATA)  # ends at -7 and at 7
    assert row["TATA box nearest_bp"] == -7
    (row,) = features_of(["TATAAAGGGGGGGGTATAAA"], [-7], TATA)
    assert row["TATA box nearest_bp"] == 6


@pytest.mark.parametrize("motif", PLANT_MOTIFS, ids=lambda motif: motif.name)
def test_hits_equal_a_text_search(rng, motif):
    texts = ["".join(rng.choice(list("ACGTN"), n, p=[0.24] * 4 + [0.04])) for n in (400, 90, 5, 1)]
    for strand, consensus in zip(("plus", "minus"), both_strands(motif.consensus), strict=True):
        found = features_of(texts, motifs=(motif,))
        assert [row[f"{motif.name} {strand}"] for row in found] == [
            len(search(text, consensus)) for text in texts
        ]
    for text, row in zip(texts, found, strict=True):
        starts = [s for word in both_strands(motif.consensus) for s in search(text, word)]
        nearest = max(starts, default=-len(motif.consensus)) + len(motif.consensus)
        assert row[f"{motif.name} nearest_bp"] == nearest - len(text) - 1
        assert row[f"{motif.name} present"] == bool(starts)


def test_other_strand_swaps_the_counts(rng):
    codes = rng.integers(0, 4, (3, 300)).astype(np.uint8)
    names = motif_feature_names()
    one, other = (
        dict(zip(names, motif_features(list(c)).T, strict=True))
        for c in (codes, 3 - codes[:, ::-1])
    )
    for motif in PLANT_MOTIFS:
        assert (one[f"{motif.name} plus"] == other[f"{motif.name} minus"]).all()
        assert (one[f"{motif.name} present"] == other[f"{motif.name} present"]).all()
    assert one["gc_skew"] == pytest.approx(-other["gc_skew"])


def test_row_does_not_depend_on_its_neighbours(rng):
    codes = [rng.integers(0, 4, n).astype(np.uint8) for n in (50, 200, 7)]
    together = motif_features(codes)
    assert all(
        (motif_features([one])[0] == row).all() for one, row in zip(codes, together, strict=True)
    )


def test_every_motif_has_a_source_and_a_name_of_its_own():
    assert len({motif.name for motif in PLANT_MOTIFS}) == len(PLANT_MOTIFS) == 22
    assert all(re.search(r"(19|20)\d\d, .+:\d+$", motif.source) for motif in PLANT_MOTIFS)
    assert len(motif_feature_names()) == motif_features([encode("ACGT")]).shape[1] == 22 * 4 + 6


def test_padding_never_fits():
    bits = right_aligned_bits([encode("A"), encode("ACG")])
    assert find_hits(bits, "N").tolist() == [[False, False, True], [True, True, True]]


def test_bad_input_is_told():
    with pytest.raises(ValueError, match="there is no promoter"):
        motif_features([])
    with pytest.raises(ValueError, match=r"gap_bp has shape \(1,\)"):
        motif_features([encode("A"), encode("C")], [3])
    with pytest.raises(ValueError, match="motif 'TAX': found 'X'"):
        find_hits(right_aligned_bits([encode("ACGT")]), "TAX")


def test_all_motifs_but_five_stand_in_place_under_their_own_accession():
    accessions = [motif.place for motif in PLANT_MOTIFS if motif.place]
    assert len(set(accessions)) == len(accessions) == 17
    assert all(re.fullmatch(r"S000\d{3}", one) for one in accessions)
    others = {motif.name for motif in PLANT_MOTIFS if not motif.place}
    assert others == {"TATA box", "Y patch", "Inr", "W-box", "O2 box"}
