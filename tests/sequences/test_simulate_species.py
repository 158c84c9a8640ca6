"""Simulated species: reproducible, described by their truth, neither trivial nor hopeless."""

import numpy as np
import pytest

from genomelm_utils.sequences.alphabet import N_BASES, reverse_complement
from genomelm_utils.sequences.kmers import kmer_codes, revcomp_codes
from genomelm_utils.sequences.simulate_species import (
    PIECE_BP,
    REPEAT_SHARE,
    SEGMENT_BP,
    TRANSFERRED_SHARE,
    simulate_species,
)


@pytest.fixture(scope="module")
def simulated():
    return simulate_species(np.random.default_rng(1), n_species=10, bases_per_species=300_000)


def count_kmers(codes, k=4):
    words = kmer_codes(codes, k)
    return np.bincount(words[words >= 0], minlength=4**k) / len(words)


def test_the_same_seed_gives_the_same_bases():
    made = [
        simulate_species(np.random.default_rng(seed), n_species=2, bases_per_species=5000)
        for seed in (4, 4, 5)
    ]
    assert np.array_equal(made[0].codes, made[1].codes)
    assert made[0].truth.equals(made[1].truth)
    assert not np.array_equal(made[0].codes, made[2].codes)


def test_records_and_truth_cover_every_base(simulated):
    assert len(simulated.names) == 20
    assert simulated.names[-1] == "species10_chr2"
    assert simulated.names == simulated.table["record"].tolist()
    assert simulated.names == sorted(simulated.names)
    assert np.diff(simulated.starts).tolist() == [150_000] * 20
    assert simulated.starts[-1] == len(simulated.codes)
    assert simulated.codes.dtype == np.uint8
    assert simulated.codes.max() < N_BASES
    assert simulated.table.groupby("species")["genome"].nunique().eq(1).all()
    for name, rows in simulated.truth.groupby("record"):
        assert name in simulated.names
        assert rows["start"].tolist() == [0, *rows["end"].tolist()[:-1]]
        assert rows["end"].iloc[-1] == 150_000
    assert (simulated.truth[["start", "end"]] % PIECE_BP == 0).all().all()


def test_shares_of_kinds_and_strands(simulated):
    truth = simulated.truth.assign(bases=simulated.truth["end"] - simulated.truth["start"])
    share = truth.groupby("kind")["bases"].sum() / truth["bases"].sum()
    assert share["transferred"] == pytest.approx(TRANSFERRED_SHARE, abs=0.03)
    assert share["repeat"] == pytest.approx(REPEAT_SHARE, abs=0.01)
    minus = truth.loc[truth["strand"] == "-", "bases"].sum() / truth["bases"].sum()
    assert minus == pytest.approx(0.5, abs=0.08)
    native = truth[truth["kind"] == "native"]
    assert PIECE_BP < native["bases"].mean() < SEGMENT_BP + PIECE_BP


def test_genomes_are_alike_on_both_strands_and_segments_are_not(simulated):
    turn = revcomp_codes(4)
    whole = count_kmers(simulated.codes)
    assert np.abs(whole - whole[turn]).sum() < 0.05
    longest = simulated.truth.loc[(simulated.truth.end - simulated.truth.start).idxmax()]
    begin = simulated.starts[simulated.names.index(longest["record"])]
    segment = simulated.codes[begin + longest["start"] : begin + longest["end"]]
    one_strand = count_kmers(segment)
    assert np.abs(one_strand - one_strand[turn]).sum() > 0.3


def test_repeats_are_shared_by_species(simulated):
    repeats = simulated.truth[simulated.truth["kind"] == "repeat"].groupby("record").head(2)
    begin = dict(zip(simulated.names, simulated.starts[:-1].tolist(), strict=True))
    pieces = np.stack(
        [
            simulated.codes[begin[row.record] + row.start :][:PIECE_BP]
            for row in repeats.itertuples()
        ]
    )
    pieces[repeats["strand"] == "-"] = reverse_complement(pieces[repeats["strand"] == "-"])
    same = (pieces[:, None] == pieces[None]).mean(axis=2)
    species = repeats["record"].str.partition("_")[0].to_numpy()
    same[species[:, None] == species[None]] = 0
    assert (same.max(axis=1) > 0.7).mean() > 0.8


def test_difficulty_is_between_trivial_and_hopeless():
    """K-means on 4-mers of 2.5-kb contigs of both strands; canonical ones see more than plain."""
    cluster = pytest.importorskip("sklearn.cluster")
    metrics = pytest.importorskip("sklearn.metrics")
    scores = {"plain": [], "canonical": []}
    turn = revcomp_codes(4)
    for seed in range(3):
        made = simulate_species(
            np.random.default_rng(seed), n_species=14, bases_per_species=150_000
        )
        windows = made.codes.reshape(14, -1, 2500)
        labels = np.repeat(np.arange(14), windows.shape[1])
        windows = windows.reshape(-1, 2500)
        turned = np.random.default_rng(seed).random(len(windows)) < 0.5
        windows[turned] = reverse_complement(windows[turned])
        plain = np.stack([count_kmers(window) for window in windows])
        for name, features in (("plain", plain), ("canonical", plain + plain[:, turn])):
            found = cluster.KMeans(14, n_init=3, random_state=0).fit_predict(features)
            scores[name].append(metrics.adjusted_rand_score(labels, found))
    assert 0.35 < np.mean(scores["canonical"]) < 0.85
    assert np.mean(scores["plain"]) < 0.75 * np.mean(scores["canonical"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_species": 0, "bases_per_species": 5000}, "0 species of 5000 bases"),
        ({"n_species": 2, "bases_per_species": 900}, "500 bases per record"),
        ({"n_species": 2, "bases_per_species": 5000, "spread": -1}, "spread -1 and"),
    ],
)
def test_wrong_sizes_are_explained(options, message):
    with pytest.raises(ValueError, match=message):
        simulate_species(np.random.default_rng(0), **options)
