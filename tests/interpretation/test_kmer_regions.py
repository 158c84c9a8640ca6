"""Flips in regions upstream of the TSS, and the words that matter there."""

import logging

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.interpretation.kmer_regions import plan_region_flips, rank_kmers
from genomelm_utils.sequences.alphabet import encode
from genomelm_utils.sequences.kmers import kmer_index


def make_codes(rng, lengths):
    return [rng.integers(0, 4, n).astype(np.uint8) for n in lengths]


def test_regions_are_counted_from_the_tss(rng):
    codes = make_codes(rng, [200, 100, 60, 9])
    flips = plan_region_flips(codes, 0, ends_bp=(10, 100), repeats=30)
    assert flips["region"].unique().tolist() == ["-10 to -1", "-100 to -11"]
    near, far = (part for _, part in flips.groupby("region", sort=False))
    assert set(near["promoter"]) == {0, 1, 2}  # 9 bases do not reach to -10
    assert set(far["promoter"]) == {0, 1}
    assert (near["distance_bp"].min(), near["distance_bp"].max()) == (-10, -3)
    assert far["distance_bp"].between(-100, -13).all()
    assert (flips["old"] != flips["new"]).all()
    assert (flips.groupby(["region", "promoter"]).size() == 30).all()


def test_reference_regions_are_counted_from_the_other_end(rng):
    codes = make_codes(rng, [200, 100, 60])
    flips = plan_region_flips(codes, 0, k=1, ends_bp=(10, 100), rule="reference", repeats=40)
    assert flips["region"].unique().tolist() == ["0 to 9", "10 to 99"]
    first = flips[flips["region"] == "0 to 9"]
    assert first["start"].between(0, 9).all()
    assert set(flips.loc[flips["region"] == "10 to 99", "promoter"]) == {0, 1}
    assert 0.1 < (flips["old"] == flips["new"]).mean() < 0.4  # a quarter changes nothing


def test_gaps_decide_what_is_reached(rng):
    flips = plan_region_flips(make_codes(rng, [20, 20, 30]), 0, ends_bp=(10,), gap_bp=[0, 5, 30])
    assert flips["promoter"].tolist() == [0]


def test_ranks_by_hand():
    words = {name: kmer_index(name) for name in ("AAA", "CCC", "GGG")}
    flips = pd.DataFrame(
        {
            "promoter": [0, 0, 1, 2, 3],
            "k": 3,
            "old": [words[x] for x in ("AAA", "AAA", "AAA", "CCC", "GGG")],
            "new": [words[x] for x in ("CCC", "CCC", "GGG", "GGG", "GGG")],
            "region": "near",
        }
    )
    change = np.array([[-1.0], [-3.0], [-4.0], [1.0], [0.0]], dtype=np.float32)
    table = rank_kmers(flips, change, min_flips=1)
    lost = table[table["side"] == "lost"].set_index("kmer")
    assert lost.index.tolist() == ["AAA", "CCC"]  # GGG to GGG is no change
    assert lost.loc["AAA", ["importance", "effect"]].tolist() == [3.0, -3.0]
    assert lost.loc["AAA", "se"] == pytest.approx(1.0)
    assert lost.loc["AAA", ["n_flips", "n_promoters"]].tolist() == [3, 2]
    gained = table[table["side"] == "gained"].set_index("kmer")
    assert gained["importance"].to_dict() == {"GGG": 2.5, "CCC": 2.0}
    assert gained.loc["GGG", "effect"] == -1.5


def test_rare_words_are_left_out_and_counted(rng, caplog):
    flips = plan_region_flips(make_codes(rng, [50] * 40), 0, ends_bp=(20,))
    change = np.ones((len(flips), 2), dtype=np.float32)
    with caplog.at_level(logging.INFO):
        some = rank_kmers(flips, change, min_flips=2)
    everything = rank_kmers(flips, change, min_flips=1)
    n_rare = int((everything["n_flips"] < 2).sum())
    assert len(some) == len(everything) - n_rare
    assert f"{n_rare} words with fewer than 2 flips are left out" in caplog.text


def test_words_with_n_are_left_out_and_counted(caplog):
    with caplog.at_level(logging.INFO):
        flips = plan_region_flips([encode("NNNNN"), encode("ACGTA")], 0, ends_bp=(5,))
    assert flips["promoter"].tolist() == [1]
    assert "-5 to -1: 1 words hold an N" in caplog.text
    assert "-5 to -1: 2 of 2 promoters reach it" in caplog.text


def test_bad_settings_are_told(rng):
    codes = make_codes(rng, [8])
    with pytest.raises(ValueError, match="the region 10 to 12 bp is smaller than a word of 3"):
        plan_region_flips(codes, 0, ends_bp=(10, 12))
    with pytest.raises(ValueError, match="no promoter of 1 reaches 10 bp"):
        plan_region_flips(codes, 0)
    with pytest.raises(ValueError, match="repeats 0"):
        plan_region_flips(codes, 0, repeats=0)
    with pytest.raises(ValueError, match="rule is 'x'"):
        plan_region_flips(codes, 0, rule="x")
