"""Flips of k-mers: real changes, places from the TSS; a known function gives the known answer."""

import logging
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.baselines.kmer_ridge import BIN_ENDS_BP, KmerFeatures, fit_kmer_ridge
from genomelm_utils.interpretation.kmer_flips import (
    flip,
    on_text,
    plan_flips,
    run_flips,
    score_places,
)
from genomelm_utils.interpretation.kmer_regions import plan_region_flips, rank_kmers
from genomelm_utils.sequences.alphabet import decode, encode
from genomelm_utils.sequences.kmers import kmer_index, kmer_string


def make_codes(rng, n=20, shortest=60, longest=90):
    return [
        rng.integers(0, 4, rng.integers(shortest, longest + 1)).astype(np.uint8) for _ in range(n)
    ]


def has_tata(texts):
    """1 and 3 where a TATAAA begins 31 bases upstream of the TSS, else 0."""
    found = np.array([text[-31:-25] == "TATAAA" for text in texts], dtype=np.float32)
    return np.stack([found, 3 * found], axis=1)


def with_tata(rng, n=24):
    codes = make_codes(rng, n)
    for one in codes:
        one[-31:-25] = encode("TATAAA")
    return codes


def test_flip_writes_the_word_and_leaves_the_caller_alone(rng):
    codes = encode("AAAAAAAA")
    assert decode(flip(codes, 2, 3, kmer_index("CGT"))) == "AACGTAAA"
    assert decode(codes) == "AAAAAAAA"


def test_every_flip_is_a_real_change_at_the_place_it_names(rng):
    codes = make_codes(rng)
    flips = plan_flips(codes, 0, promoters_per_place=5)
    assert set(flips["k"]) == {1, 2, 3, 4, 5, 6}
    assert (flips["old"] != flips["new"]).all()
    for row in flips.sample(200, random_state=0).itertuples():
        one = codes[row.promoter]
        assert row.distance_bp == row.start - len(one)
        assert decode(one[row.start : row.start + row.k]) == kmer_string(row.old, row.k)
        changed = flip(one, row.start, row.k, row.new)
        assert len(changed) == len(one)
        assert decode(changed[row.start : row.start + row.k]) == kmer_string(row.new, row.k)


def test_stratified_serves_all_places_with_the_same_promoters_and_numbers(rng):
    codes = make_codes(rng, n=12, shortest=80, longest=80)
    flips = plan_flips(codes, 3, promoters_per_place=4, flips_per_place=2, span_bp=50)
    counts = flips.groupby(["k", "distance_bp"]).size()
    assert (counts == 4 * 2).all()
    assert flips["promoter"].nunique() == 4
    assert flips["distance_bp"].min() == -50
    assert [flips.loc[flips["k"] == k, "distance_bp"].max() for k in (1, 6)] == [-1, -6]
    again = plan_flips(codes, 3, ks=(2,), promoters_per_place=4, flips_per_place=2, span_bp=50)
    same = flips[flips["k"] == 2].reset_index(drop=True)
    pd.testing.assert_frame_equal(same, again)
    more = plan_flips(codes, 3, ks=(2,), promoters_per_place=4, flips_per_place=3, span_bp=50)
    keys = ["promoter", "distance_bp", "new"]
    assert Counter(map(tuple, again[keys].values)) <= Counter(map(tuple, more[keys].values))


def test_exhaustive_has_every_other_word_once():
    codes = [encode("ACG"), encode("TT")]
    flips = plan_flips(codes, 0, ks=(1,), design="exhaustive")
    found = {key: sorted(part["new"]) for key, part in flips.groupby(["promoter", "distance_bp"])}
    assert found == {
        (0, -3): [1, 2, 3],
        (0, -2): [0, 2, 3],
        (0, -1): [0, 1, 3],
        (1, -2): [0, 1, 2],
        (1, -1): [0, 1, 2],
    }
    two = plan_flips(codes, 0, ks=(2,), design="exhaustive")
    assert (two.groupby(["promoter", "start"]).size() == 15).all()


def test_new_words_are_equally_likely(rng):
    codes = [np.zeros(100, dtype=np.uint8) for _ in range(300)]
    flips = plan_flips(codes, 1, ks=(1, 2), promoters_per_place=300, flips_per_place=1)
    shares = flips[flips["k"] == 1]["new"].value_counts(normalize=True)
    assert shares.to_dict() == pytest.approx({1: 1 / 3, 2: 1 / 3, 3: 1 / 3}, abs=0.01)
    shares = flips[flips["k"] == 2]["new"].value_counts(normalize=True)
    assert len(shares) == 15
    assert shares.to_numpy() == pytest.approx(1 / 15, abs=0.005)


def test_reference_flips_once_per_promoter_and_k_and_may_change_nothing(rng):
    codes = make_codes(rng, n=4000, shortest=30, longest=40)
    flips = plan_flips(codes, 0, rule="reference", ks=(1, 2, 6))
    assert (flips.groupby("k")["promoter"].nunique() == 4000).all()
    assert len(flips) == 3 * 4000
    unchanged = (flips["old"] == flips["new"]).groupby(flips["k"]).mean()
    assert unchanged[1] == pytest.approx(1 / 4, abs=0.025)
    assert unchanged[2] == pytest.approx(1 / 16, abs=0.015)
    assert unchanged[6] < 0.003
    lengths = np.array([len(one) for one in codes])
    end = flips["start"] + flips["k"]
    assert (end <= lengths[flips["promoter"]]).all()
    assert (end == lengths[flips["promoter"]]).any()  # the last place is used, and none beyond
    assert plan_flips(codes, 0, rule="reference", ks=(1,), span_bp=10)["start"].max() == 9


def test_reference_counts_places_from_the_other_end(rng):
    """The defect: one motif at one distance from the TSS is smeared over the lengths."""
    codes = with_tata(rng, 400)
    for rule, place in (("corrected", "distance_bp"), ("reference", "start")):
        settings = {} if rule == "reference" else {"promoters_per_place": 40}
        flips = plan_flips(codes, 0, ks=(6,), rule=rule, **settings)
        table = score_places(flips, run_flips(on_text(has_tata), codes, flips), rule=rule)
        hit = table.loc[table["importance"] > 0, place]
        if rule == "corrected":
            assert sorted(hit) == list(range(-36, -25))  # every 6-mer that touches the box
        else:
            assert hit.max() - hit.min() > 30


@pytest.mark.parametrize("design", ["stratified", "exhaustive"])
def test_planted_box_is_where_single_flips_matter(rng, design):
    codes = with_tata(rng, 6)
    flips = plan_flips(codes, 0, ks=(1,), design=design)
    table = score_places(flips, run_flips(on_text(has_tata), codes, flips))
    assert table.loc[table["importance"] == 2, "distance_bp"].tolist() == list(range(-31, -25))
    assert (table.loc[table["distance_bp"].between(-31, -26), "se"] == 0).all()
    elsewhere = table[~table["distance_bp"].between(-31, -26)]
    assert (elsewhere["importance"] == 0).all()


def test_gaps_move_places(rng):
    codes = with_tata(rng, 8)
    gaps = pd.Series([10] * 7 + [pd.NA], dtype="Int64")
    flips = plan_flips(codes, 0, ks=(1,), gap_bp=gaps, design="exhaustive")
    table = score_places(flips, run_flips(on_text(has_tata), codes, flips))
    hit = table[table["importance"] > 0].set_index("distance_bp")["importance"]
    # the eighth, without a gap, is at -31 to -26, among others' unmoved bases
    assert set(hit.index) == set(range(-41, -25)) - set(range(-35, -31))
    assert hit[-41] == pytest.approx(2 * 7 / 8)
    assert hit[-31] == pytest.approx(2 / 8)
    past = plan_flips(codes, 0, ks=(1,), gap_bp=[-5] * 8, promoters_per_place=2)
    assert past["distance_bp"].max() == 4


def test_scores_are_means_over_promoters_with_their_errors():
    flips = pd.DataFrame(
        {"promoter": [0, 0, 1, 1], "k": 1, "start": 5, "distance_bp": [-3, -3, -3, -2]}
    )
    change = np.array([[1, -1], [3, 3], [-4, 0], [7, 7]], dtype=np.float32)
    table = score_places(flips, change)
    assert table["distance_bp"].tolist() == [-3, -2]
    assert table["importance"].tolist() == [2.0, 7.0]  # (1 + 3) / 2 and 2, then 7
    assert table["se"].iloc[0] == 0
    assert np.isnan(table["se"].iloc[1])
    assert table["n_promoters"].tolist() == [2, 1]
    assert table["n_flips"].tolist() == [3, 1]
    by_start = score_places(flips, change, rule="reference")
    assert by_start["start"].tolist() == [5]


def test_batches_do_not_change_the_result_and_the_model_sees_each_promoter_once(rng):
    codes = make_codes(rng, 7)
    flips = plan_flips(codes, 0, ks=(1, 3), promoters_per_place=3, flips_per_place=1)
    weights = rng.normal(size=(4, 2))
    sizes = []

    def count(batch):
        sizes.append(len(batch))
        return np.stack([np.bincount(one, minlength=4)[:4] @ weights for one in batch])

    whole = run_flips(count, codes, flips, batch_rows=10_000)
    assert sum(sizes) == flips["promoter"].nunique() + len(flips)
    assert run_flips(count, codes, flips, batch_rows=13) == pytest.approx(whole, abs=1e-5)
    assert max(sizes[2:]) == 13
    one = flips[flips["k"] == 1]
    expected = weights[one["new"]] - weights[one["old"]]
    assert whole[one.index] == pytest.approx(expected, abs=1e-4)


def test_words_with_n_and_short_promoters_are_counted(caplog):
    codes = [encode("ACNGT"), encode("AC")]
    with caplog.at_level(logging.INFO):
        flips = plan_flips(codes, 0, ks=(2,), design="exhaustive")
    assert sorted(set(zip(flips["promoter"], flips["start"], strict=True))) == [
        (0, 0), (0, 3), (1, 0)]  # fmt: skip
    assert "2 places hold an N and were not flipped" in caplog.text
    with caplog.at_level(logging.INFO):
        reference = plan_flips(codes, 0, ks=(4,), rule="reference")
    assert reference["promoter"].tolist() == [0]
    assert "1 promoters are shorter than k = 4: not flipped" in caplog.text


def test_ridge_on_simulated_promoters_shows_the_planted_motif_and_its_place(rng):
    motif = "GGTATAAATA"
    codes, has = make_codes(rng, 900, 100, 160), rng.random(900) < 0.5
    for i in np.flatnonzero(has):
        codes[i][-40:-30] = encode(motif)
    labels = 2.0 * has[:, None] + 0.3 * rng.normal(size=(900, 2))
    features = KmerFeatures((2, 3, 4), bin_ends_bp=BIN_ENDS_BP)
    model = fit_kmer_ridge(codes, labels, np.arange(900), features, 0)
    own = [codes[i] for i in np.flatnonzero(has)]
    flips = plan_flips(own, 0, ks=(1, 4, 6), promoters_per_place=60, flips_per_place=2)
    table = score_places(flips, run_flips(model.predict, own, flips))
    for k, part in table.groupby("k"):
        top = part.loc[part["importance"].idxmax()]
        assert -40 - k < top["distance_bp"] <= -31  # a word there touches the motif
        elsewhere = part[(part["distance_bp"] > -31) | (part["distance_bp"] <= -40 - k)]
        assert top["importance"] - 3 * top["se"] > elsewhere["importance"].max()
    regions = plan_region_flips(own, 0, k=4, ends_bp=(30, 45, 90), repeats=20)
    ranked = rank_kmers(regions, run_flips(model.predict, own, regions), min_flips=50)
    lost = ranked[(ranked["region"] == "-45 to -31") & (ranked["side"] == "lost")]
    assert lost["kmer"].iloc[0] in motif
    assert lost["effect"].iloc[0] < 0
    best = ranked[ranked["side"] == "lost"].groupby("region")["importance"].max()
    assert best.idxmax() == "-45 to -31"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rule": "fair"}, "rule is 'fair', expected one of corrected, reference"),
        ({"design": "all"}, "design is 'all', expected one of stratified, exhaustive"),
        ({"span_bp": 0}, "span_bp is 0"),
        ({"promoters_per_place": 0}, "promoters_per_place is 0"),
        ({"flips_per_place": 0}, "flips_per_place is 0"),
        ({"ks": (0, 1)}, "the smallest k is 0"),
        ({"ks": ()}, "the number of ks is 0"),
        ({"ks": (6,)}, r"no promoter of 1 \(lengths 4 to 4\) has a place to flip a word of 6"),
    ],
)
def test_bad_plans_are_told(settings, message):
    with pytest.raises(ValueError, match=message):
        plan_flips([encode("ACGT")], 0, **settings)


def test_plans_that_would_not_fit_are_refused(monkeypatch):
    monkeypatch.setattr("genomelm_utils.interpretation.kmer_flips.MAX_FLIPS", 10)
    with pytest.raises(ValueError, match="3 places of 2-mers with 15 flips each are more than 10"):
        plan_flips([encode("ACGT")] * 3, 0, ks=(2,), design="exhaustive", span_bp=2)


@pytest.mark.parametrize(
    "found", [np.zeros(3), np.zeros((2, 1)), np.full((1, 2), np.nan)], ids=["1-d", "rows", "nan"]
)
def test_bad_models_are_told(found):
    codes = [encode("ACGT")]
    flips = plan_flips(codes, 0, ks=(1,), flips_per_place=1)
    with pytest.raises(ValueError, match="the model gave"):
        run_flips(lambda batch: found, codes, flips)
    with pytest.raises(ValueError, match="batch_rows is 0"):
        run_flips(lambda batch: found, codes, flips, batch_rows=0)
    with pytest.raises(ValueError, match=r"changes have shape \(1, 2\) for 4 flips"):
        score_places(flips, np.zeros((1, 2)))
