"""Simulated genomes: the truth table tells the truth, and the sets cut from them are fair."""

import numpy as np
import pytest

from genomelm_utils.sequences.alphabet import IUPAC_SETS, decode, reverse_complement
from genomelm_utils.sequences.genome import store_from_codes
from genomelm_utils.sequences.kmers import kmer_codes
from genomelm_utils.sequences.planting import PROMOTER_MOTIFS, SLOT_BP, draw_words
from genomelm_utils.sequences.simulate import simulate_classification, simulate_genome

N_BASES = 600_123


@pytest.fixture(scope="module")
def genome():
    return simulate_genome(np.random.default_rng(7), n_bases=N_BASES, n_records=3)


@pytest.fixture(scope="module")
def exact():
    """Every base of every motif is written."""
    return simulate_genome(np.random.default_rng(8), n_bases=N_BASES, strength=1.0)


def read_features(genome, kind) -> list[str]:
    """The text of every feature of a kind, on its own strand, read the slow way."""
    texts = []
    for row in genome.truth[genome.truth["kind"] == kind].itertuples():
        offset = genome.starts[genome.names.index(row.record)]
        codes = genome.codes[offset + row.start : offset + row.end]
        texts.append(decode(reverse_complement(codes) if row.strand == "-" else codes))
    return texts


def test_genome_has_the_asked_size_and_records(genome):
    assert len(genome.codes) == N_BASES
    assert genome.names == ["sim_chr1", "sim_chr2", "sim_chr3"]
    lengths = np.diff(genome.starts)
    assert lengths.sum() == N_BASES
    assert (np.diff(lengths) < 0).all()


def test_same_seed_same_genome_other_seed_other_species():
    first, again, other = (
        simulate_genome(np.random.default_rng(seed), n_bases=50_000) for seed in (1, 1, 2)
    )
    assert np.array_equal(first.codes, again.codes)
    assert first.truth.equals(again.truth)

    def shares(genome):
        words = kmer_codes(genome.codes, 3)
        return np.bincount(words[words >= 0], minlength=64) / len(words)

    assert np.abs(shares(first) - shares(other)).max() > 0.005


def test_kinds_and_their_numbers(genome):
    n_slots = (np.diff(genome.starts) // SLOT_BP).sum()
    counts = genome.truth["kind"].value_counts()
    assert counts["promoter"] == round(0.3 * n_slots)
    assert counts["donor"] == counts["acceptor"] == pytest.approx(5 * 0.15 * n_slots, abs=5)
    assert set(counts.index) == {
        "promoter",
        "donor",
        "acceptor",
        "interspersed",
        "tandem",
        "gap",
        *(motif.name for motif in PROMOTER_MOTIFS),
    }


def test_splice_sites_hold_their_invariant_bases(genome):
    assert set(read_features(genome, "donor")) == {"GT"}
    assert set(read_features(genome, "acceptor")) == {"AG"}


@pytest.mark.parametrize("motif", PROMOTER_MOTIFS, ids=lambda motif: motif.name)
def test_full_strength_motifs_match_their_consensus(exact, motif):
    texts = read_features(exact, motif.name)
    assert len(texts) > 30
    for text in texts:
        assert all(
            base in IUPAC_SETS[letter] for base, letter in zip(text, motif.consensus, strict=True)
        )


def test_motifs_stand_where_the_tss_says(exact):
    """The Inr puts its A on the TSS (+1) and the TATA-box starts 30 or 31 bases before it."""
    truth = exact.truth
    promoters = truth[truth["kind"] == "promoter"]
    with_inr = promoters[promoters["detail"].str.contains("Inr")]
    bases = read_features(exact, "promoter")
    is_inr = promoters["detail"].str.contains("Inr").to_numpy()
    assert {base for base, inr in zip(bases, is_inr, strict=True) if inr} == {"A"}
    tata = truth[truth["kind"] == "TATA-box"].iloc[:50]
    for box in tata.itertuples():
        near = promoters[(promoters["record"] == box.record)]
        tss = near.iloc[(near["start"] - box.start).abs().argmin()]
        assert tss["strand"] == box.strand
        gap = tss["start"] - box.start if box.strand == "+" else box.end - 1 - tss["start"]
        assert gap in (30, 31)
        assert "TATA-box" in tss["detail"]
    assert len(with_inr) == (truth["kind"] == "Inr").sum()


def test_both_strands_are_used(genome):
    for kind in ("promoter", "donor", "interspersed", "GC-box"):
        strands = genome.truth.loc[genome.truth["kind"] == kind, "strand"]
        assert 0.25 < (strands == "+").mean() < 0.75


def test_repeats_are_soft_masked_and_repeat(genome):
    truth = genome.truth
    masked = truth[truth["kind"].isin(["interspersed", "tandem"])]
    assert (genome.soft[:, 1] - genome.soft[:, 0]).sum() == (masked["end"] - masked["start"]).sum()
    assert (genome.soft[1:, 0] >= genome.soft[:-1, 1]).all()
    units = truth.loc[truth["kind"] == "tandem", "detail"]
    for text, unit in zip(read_features(genome, "tandem"), units, strict=True):
        assert text == (unit * len(text))[: len(text)]
    copies = truth[truth["kind"] == "interspersed"]
    family = (copies["detail"] == copies["detail"].iloc[0]).to_numpy()
    texts = [
        t for t, same in zip(read_features(genome, "interspersed"), family, strict=True) if same
    ]
    first, second = (np.frombuffer(text.encode(), np.uint8) for text in texts[:2])
    assert (first == second).mean() > 0.6  # two copies, each at most a fifth away from the family


def test_n_stands_in_gaps_only(genome):
    assert set("".join(read_features(genome, "gap"))) == {"N"}
    gaps = genome.truth[genome.truth["kind"] == "gap"]
    assert (genome.codes == 14).sum() == (gaps["end"] - gaps["start"]).sum()


def test_features_of_different_slots_do_not_overlap(genome):
    kinds = ["promoter", "donor", "acceptor", "interspersed", "tandem", "gap"]
    for _, rows in genome.truth[genome.truth["kind"].isin(kinds)].groupby("record"):
        assert (rows["start"].to_numpy()[1:] >= rows["end"].to_numpy()[:-1]).all()


def test_a_simulated_genome_becomes_a_store(genome, tmp_path):
    store = store_from_codes(genome.names, genome.codes, genome.starts, genome.soft, tmp_path / "s")
    assert np.array_equal(store.codes, genome.codes)
    assert np.array_equal(store.soft, genome.soft)


@pytest.mark.parametrize(("length_bp", "tss_index"), [(70, 34), (300, 249), (500, None)])
def test_promoter_windows_are_aligned_to_the_tss(exact, length_bp, tss_index):
    codes, labels = simulate_classification(
        exact, np.random.default_rng(1), length_bp=length_bp, n_per_class=150, tss_index=tss_index
    )
    assert codes.shape == (300, length_bp)
    assert np.bincount(labels).tolist() == [150, 150]
    at_tss = codes[:, length_bp // 2 if tss_index is None else tss_index]
    assert (at_tss[labels == 1] == 0).mean() > 0.7  # Inr in 0.8 of the promoters
    assert (at_tss[labels == 0] == 0).mean() < 0.5
    assert (codes < 4).all()


def test_splice_windows_are_aligned_and_class_0_has_decoys(genome):
    codes, labels = simulate_classification(
        genome, np.random.default_rng(1), "splice", length_bp=40, n_per_class=200
    )
    assert np.bincount(labels).tolist() == [200, 200, 200]
    gt = (codes[:, 20] == 2) & (codes[:, 21] == 3)
    ag = (codes[:, 17] == 0) & (codes[:, 18] == 2)
    assert gt[labels == 1].all()
    assert ag[labels == 2].all()
    assert (gt | ag)[labels == 0].all()
    assert 100 <= gt[labels == 0].sum() <= 130


@pytest.mark.parametrize(
    ("task", "length_bp"), [("promoter", 70), ("promoter", 300), ("splice", 40)]
)
def test_gc_does_not_tell_class_0(genome, task, length_bp):
    codes, labels = simulate_classification(
        genome, np.random.default_rng(2), task, length_bp=length_bp, n_per_class=150
    )
    gc = ((codes == 1) | (codes == 2)).sum(axis=1)
    assert gc[labels == 0].mean() == pytest.approx(gc[labels > 0].mean(), abs=0.02 * length_bp)


def test_windows_are_all_different_and_seeded(genome):
    first, again = (
        simulate_classification(genome, np.random.default_rng(3), length_bp=70, n_per_class=150)
        for _ in range(2)
    )
    assert len(np.unique(first[0], axis=0)) == 300
    assert np.array_equal(first[0], again[0])
    assert np.array_equal(first[1], again[1])


def test_noise_changes_bases(genome):
    clean, noisy = (
        simulate_classification(
            genome, np.random.default_rng(3), length_bp=70, n_per_class=100, noise=noise
        )[0]
        for noise in (0.0, 0.3)
    )
    assert (clean != noisy).mean() == pytest.approx(0.3, abs=0.03)


def test_words_tell_the_classes_apart_but_not_perfectly(genome):
    from sklearn.linear_model import LogisticRegression

    codes, labels = simulate_classification(
        genome, np.random.default_rng(4), length_bp=300, n_per_class=170, tss_index=249
    )
    words = kmer_codes(codes, 4)
    counts = np.stack([np.bincount(row, minlength=256) for row in words])
    model = LogisticRegression(C=0.1, max_iter=500).fit(counts[:240], labels[:240])
    assert 0.6 < model.score(counts[240:], labels[240:]) < 0.95


def test_draws_respect_the_consensus(rng):
    words = {decode(word) for word in draw_words("RYN", 2000, rng)}
    assert words == {a + b + c for a in "AG" for b in "CT" for c in "ACGT"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_bases": 1500}, "below 1000 bases"),
        ({"n_bases": 50_000, "n_records": 0}, "at least one"),
        ({"n_bases": 50_000, "gc": 42}, r"expected gc in \(0, 1\)"),
        ({"n_bases": 50_000, "promoter_share": 0.9}, "sum up to 1"),
        ({"n_bases": 50_000, "gap_share": -0.1}, "0 or more"),
    ],
)
def test_impossible_genomes_are_refused(rng, arguments, message):
    with pytest.raises(ValueError, match=message):
        simulate_genome(rng, **arguments)


def test_impossible_sets_are_refused(genome, rng):
    with pytest.raises(ValueError, match=r"holds 1\d\d promoter windows of 70 bp, 5000 are asked"):
        simulate_classification(genome, rng, length_bp=70, n_per_class=5000)
    with pytest.raises(ValueError, match="task is 'enhancer', expected 'promoter' or 'splice'"):
        simulate_classification(genome, rng, "enhancer", length_bp=70, n_per_class=5)
    with pytest.raises(ValueError, match="index 80 lies outside"):
        simulate_classification(genome, rng, length_bp=70, n_per_class=5, tss_index=80)
