"""Contigs: cut without overlap from the right part; read with their species; losses named."""

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.datasets.species import simulate_genome_set
from genomelm_utils.datasets.species_contigs import (
    Contigs,
    cut_contigs,
    read_contigs,
    read_labelled_tsv,
    read_species_reads,
)
from genomelm_utils.sequences.alphabet import decode, encode, reverse_complement
from genomelm_utils.sequences.simulate_species import simulate_species


@pytest.fixture(scope="module")
def genomes(tmp_path_factory):
    simulated = simulate_species(np.random.default_rng(3), n_species=5, bases_per_species=40_000)
    return simulate_genome_set(simulated, tmp_path_factory.mktemp("set"), n_train=3, seed=1)


def contigs_of(species):
    codes = [encode("ACGT")] * len(species)
    return Contigs([f"c{i}" for i in range(len(species))], codes, species, [""] * len(species))


def find(genomes, contig):
    """Global start of a contig in its genome, on either strand."""
    text = decode(np.asarray(genomes.store.codes))
    hits = [text.find(decode(codes)) for codes in (contig, reverse_complement(contig))]
    return max(hits)


# --- cutting --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("part", "spread"), [("test", 0.0), ("test", 0.8), ("valid", 0.8)])
def test_contigs_lie_apart_in_their_part(genomes, part, spread):
    contigs = cut_contigs(genomes, part, n_per_genome=6, length_bp=300, spread=spread,
                          min_bp=100, max_bp=900, seed=5)  # fmt: skip
    regions, genome_R = genomes.regions(part)
    assert len(contigs) == 6 * len(set(genome_R))
    assert not len(contigs.skipped)
    begins = np.array([find(genomes, codes) for codes in contigs.codes])
    assert (begins >= 0).all()
    ends = begins + contigs.lengths
    order = np.argsort(begins)
    assert (ends[order][:-1] <= begins[order][1:]).all()
    region = np.searchsorted(regions[:, 0], begins, side="right") - 1
    assert (ends <= regions[region, 1]).all()
    names = genomes.table["genome"].to_numpy()[genome_R[region]]
    assert contigs.genome == names.tolist()
    assert contigs.species == names.tolist()  # simulated genomes are named as their species
    assert len(set(contigs.names)) == len(contigs)
    if spread:
        assert contigs.lengths.min() >= 100
        assert contigs.lengths.max() <= 900
        assert len(set(contigs.lengths.tolist())) > 3
    else:
        assert set(contigs.lengths.tolist()) == {300}


def test_strands_and_seeds(genomes):
    options = {"n_per_genome": 20, "length_bp": 300}
    forward = cut_contigs(genomes, "test", **options, seed=5, strands="forward")
    both = cut_contigs(genomes, "test", **options, seed=5)
    turned = [not np.array_equal(a, b) for a, b in zip(forward.codes, both.codes, strict=True)]
    assert 5 < sum(turned) < 35
    again = cut_contigs(genomes, "test", **options, seed=5)
    assert all(map(np.array_equal, both.codes, again.codes))
    other = cut_contigs(genomes, "test", **options, seed=6)
    assert not all(map(np.array_equal, both.codes, other.codes))


def test_contigs_without_room_are_named(genomes, caplog):
    contigs = cut_contigs(genomes, "valid", n_per_genome=5, length_bp=1500, seed=1)
    assert len(contigs) == 3 * 2  # 4,000 bases of every training genome
    assert len(contigs.skipped) == 3 * 3
    assert contigs.skipped["reason"].str.contains("no room for 1500 bp in species").all()
    assert "part valid: no room for 9 contigs" in caplog.text
    with pytest.raises(ValueError, match="no contig of 5000 bp fits into part valid"):
        cut_contigs(genomes, "valid", n_per_genome=5, length_bp=5000, seed=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_per_genome": 0}, "n_per_genome 0"),
        ({"n_per_genome": 1, "min_bp": 9, "max_bp": 3}, "9 to 3 bp"),
        ({"n_per_genome": 1, "strands": "one"}, "strands is 'one', expected both or forward"),
    ],
)
def test_wrong_options_are_explained(genomes, options, message):
    with pytest.raises(ValueError, match=message):
        cut_contigs(genomes, "test", seed=1, **options)


# --- choosing -------------------------------------------------------------------------------------


def test_labels_and_chosen_species():
    contigs = contigs_of(["b", "a", "c", "b"])
    labels, names = contigs.labels()
    assert (labels.tolist(), names) == ([1, 0, 2, 1], ["a", "b", "c"])
    chosen = contigs.of_species(["b", "absent"])
    assert (chosen.names, chosen.species, len(chosen.skipped)) == (["c0", "c3"], ["b", "b"], 0)
    with pytest.raises(ValueError, match="no sequence is of one of absent; species here: a, b, c"):
        contigs.of_species(["absent"])


def test_species_of_one_sequence_are_skipped_by_name(caplog):
    kept = contigs_of(["b", "a", "c", "b", "a"]).drop_rare()
    assert kept.species == ["b", "a", "b", "a"]
    assert kept.skipped.values.tolist() == [["c2", "c has 1 of 2 sequences"]]
    assert "left out 1 sequences: c2 (c has 1 of 2 sequences)" in caplog.text
    with pytest.raises(ValueError, match="3 sequences of 3 species: fewer than two species have 2"):
        contigs_of(["a", "b", "c"]).drop_rare()


# --- reading --------------------------------------------------------------------------------------


def test_contigs_with_truth(tmp_path):
    (tmp_path / "c.fa").write_text(">one\nacgt\n>n\nNNN\n>void\n>lost\nAC\n>two\nGGN\n")
    rows = "contig\tspecies\taccession\none\tA b\tX1\nn\tA b\tX1\nvoid\tA b\tX1\ntwo\tC d\tX2\n"
    (tmp_path / "t.tsv").write_text(rows)
    contigs = read_contigs(tmp_path / "c.fa", tmp_path / "t.tsv")
    assert [decode(codes) for codes in contigs.codes] == ["ACGT", "GGN"]
    assert contigs.names == ["one", "two"]
    assert contigs.species == ["A b", "C d"]
    assert contigs.genome == ["X1", "X2"]
    assert contigs.lengths.tolist() == [4, 3]
    assert dict(contigs.skipped.to_numpy()) == {
        "void": "empty record",
        "lost": "not in t.tsv",
        "n": "no definite base",
    }


@pytest.mark.parametrize(
    ("fasta", "truth", "message"),
    [
        (">a\nAC\n>a\nGT\n", "contig\tspecies\na\tx\n", "two records are named 'a'"),
        (">a\nAC\n", "contig\tname\na\tx\n", "no column species, found contig, name"),
        (">a\nAC\n", "", "is no tab-separated table"),
        (">a\nAC\n", "contig\tspecies\na\tx\na\ty\n", "'a' stands in more than one row"),
        (
            ">a\nAC\n",
            "contig\tspecies\nb\tx\n",
            r"no sequence with a species; left out: a \(not in",
        ),
    ],
)
def test_wrong_contigs_are_explained(tmp_path, fasta, truth, message):
    (tmp_path / "c.fa").write_text(fasta)
    (tmp_path / "t.tsv").write_text(truth)
    with pytest.raises(ValueError, match=message):
        read_contigs(tmp_path / "c.fa", tmp_path / "t.tsv")


def test_reads_are_labelled_by_their_names(tmp_path):
    (tmp_path / "r.fa").write_text(">B_c_HiSeq.1\nAC\n>other.1\nAC\n>S_a_HiSeq.2\nNN\n")
    reads = read_species_reads(tmp_path / "r.fa")
    assert (reads.names, reads.species) == (["B_c_HiSeq.1"], ["B_c"])
    assert dict(reads.skipped.to_numpy()) == {
        "other.1": "no _HiSeq in the name",
        "S_a_HiSeq.2": "no definite base",
    }


def test_labelled_tsv(tmp_path):
    text = "seq\tbin\nACGT\ts1\n\nNNN\ts1\n\ts2\nAC\t\nggN\ts 2\tmore\n"
    (tmp_path / "t.tsv").write_text(text)
    found = read_labelled_tsv(tmp_path / "t.tsv")
    assert [decode(codes) for codes in found.codes] == ["ACGT", "GGN"]
    assert (found.names, found.species) == (["line 2", "line 7"], ["s1", "s 2"])
    assert dict(found.skipped.to_numpy()) == {
        "line 6": "no species",
        "line 4": "no definite base",
        "line 5": "empty sequence",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seq\tbin\nACGT\n", "line 2: one column, expected a sequence, a tab"),
        ("ACGTACGTACGTACGTACGTA\ts\n", "line 1: a sequence, expected a header"),
        ("seq\tbin\n\nAC\ts\nAQ\ts\n", "line 4: found 'Q'"),
        ("seq\tbin\n", "no sequence with a species"),
        ("seq\tbin\nNN\ts\n", r"no sequence with a species; left out: line 2"),
        ("", "no sequence with a species"),
    ],
)
def test_wrong_tables_are_explained(tmp_path, text, message):
    (tmp_path / "t.tsv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_labelled_tsv(tmp_path / "t.tsv")


def test_published_contigs_and_reads(data_dir):
    folder = data_dir / "species"
    contigs = read_contigs(
        folder / "contigs/contigs.fna.gz", folder / "contigs/contigs.truth.tsv.gz"
    )
    assert (len(contigs), len(contigs.skipped)) == (1555, 0)
    truth = pd.read_csv(folder / "contigs/contigs.truth.tsv.gz", sep="\t").set_index("contig")
    assert contigs.lengths.tolist() == truth.loc[contigs.names, "length"].tolist()
    assert contigs.species[0] == "Synechocystis sp. PCC 6803"
    reads = read_species_reads(folder / "reads/HiSeq_accuracy.fa.gz")
    assert len(reads) + len(reads.skipped) == 10_000
    assert len(reads.labels()[1]) == 10
