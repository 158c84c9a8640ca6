"""Genome sets: species never in two parts, validation at the ends, tables that match the bases."""

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.datasets.species import (
    build_genome_set,
    find_relatives,
    genome_name,
    open_genome_set,
    read_species_table,
    simulate_genome_set,
    split_species,
    store_training_bases,
)
from genomelm_utils.sequences.alphabet import N_BASES, decode
from genomelm_utils.sequences.simulate_species import simulate_species

SPECIES = ["E coli", "E coli", "E albertii", "S flexneri", "B subtilis", "B cereus", "T maritima"]


@pytest.fixture
def small_set(tmp_path):
    """Four genomes of three species; two records of `a1`, an empty and an N-only record."""
    texts = {
        "a1.fna": ">a1x\nACGTACGTAC\n>empty\n>a1y\nGGGGGNNCCC\n",
        "a2.fa": ">a2\n" + "AC" * 10 + "\n",
        "b.fasta": ">b\nTTTTTTTTTT\n>b_n\nNNNNN\n",
        "c.fas": ">c\nGTGTGTGTGT\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    table = pd.DataFrame({"file": [f"elsewhere/{name}" for name in texts]})
    table["species"] = ["Aus bus", "Aus bus", "Bus cus", "Aus dus"]
    files = [tmp_path / name for name in texts]
    return files, table, tmp_path / "set"


# --- the split ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_species_are_never_in_two_parts(seed):
    parts = split_species(SPECIES, n_train=4, seed=seed, together=["E coli|S flexneri"])
    by_species = pd.DataFrame({"species": SPECIES, "part": parts}).groupby("species")["part"]
    assert (by_species.nunique() == 1).all()
    assert parts[0] == parts[3]
    assert parts.count("train") == 4
    assert parts == split_species(SPECIES, n_train=4, seed=seed, together=["E coli|S flexneri"])


def test_groups_that_share_a_species_are_one():
    together = ["E coli|S flexneri", "S flexneri | E albertii"]
    for seed in range(10):
        parts = split_species(SPECIES, n_train=4, seed=seed, together=together)
        assert len(set(parts[:4])) == 1


def test_fewer_genomes_are_trained_on_when_none_fits(caplog):
    parts = split_species(["a", "a", "b", "b"], n_train=3, seed=1)
    assert parts.count("train") == 2
    assert "2 genomes are for training, not 3" in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_train": 7}, "n_train is 7: of 7 genomes in 6 groups of species 7 would be"),
        ({"n_train": 0}, "0 would be trained on"),
        ({"n_train": 3, "together": ["E coly|E coli"]}, "'E coly', which no .*mean 'E coli'"),
    ],
)
def test_splits_that_cannot_be_are_explained(options, message):
    with pytest.raises(ValueError, match=message):
        split_species(SPECIES, seed=1, **options)


def test_relatives_are_of_the_genus_and_in_another_part():
    parts = ["train", "train", "test", "train", "test", "test", "train"]
    assert find_relatives(SPECIES, parts) == ["E albertii", "E albertii", "E coli", "", "", "", ""]


# --- the set --------------------------------------------------------------------------------------


def test_tables_describe_the_bases(small_set):
    files, species, folder = small_set
    genomes = build_genome_set(files, species, folder, n_train=2, seed=0)
    table = genomes.table.set_index("genome")
    assert table.index.tolist() == ["a1", "a2", "b", "c"]
    assert table["n_bases"].tolist() == [20, 20, 15, 10]
    assert table["n_definite"].tolist() == [18, 20, 10, 10]
    assert table["gc"].tolist() == [pytest.approx(13 / 18), 0.5, 0, 0.5]
    assert genomes.genome_of_record.tolist() == [0, 0, 1, 2, 2, 3]
    assert genomes.species == ["Aus bus", "Aus dus", "Bus cus"]
    assert genomes.species_of_genome.tolist() == [0, 0, 2, 1]
    again = open_genome_set(folder)
    pd.testing.assert_frame_equal(again.table, genomes.table)
    assert again.genome_of_record.tolist() == genomes.genome_of_record.tolist()


def test_regions_are_definite_and_validation_is_the_end(small_set):
    files, species, folder = small_set
    seed = next(
        s for s in range(99) if split_species(species["species"], n_train=2, seed=s)[0] == "train"
    )
    genomes = build_genome_set(files, species, folder, n_train=2, seed=seed, valid_share=0.25)
    assert genomes.table["part"].tolist() == ["train", "train", "test", "test"]
    regions, genome = genomes.regions("train")
    assert regions.tolist() == [[0, 10], [10, 15], [20, 35]]  # of a1 15 of 20, of a2 15 of 20
    assert genome.tolist() == [0, 0, 1]
    assert genomes.regions("valid")[0].tolist() == [[17, 20], [35, 40]]
    regions, genome = genomes.regions("test")
    assert regions.tolist() == [[40, 50], [55, 65]]
    assert genome.tolist() == [2, 3]
    with pytest.raises(ValueError, match="part is 'dev', expected one of train, valid, test"):
        genomes.regions("dev")
    store = store_training_bases(genomes, folder.parent / "training")
    assert store.records["name"].tolist() == ["a1x", "a1y", "a2"]
    assert decode(store.codes) == "ACGTACGTAC" + "GGGGG" + "ACACACACACACACA"


def test_parts_cover_every_definite_base_once(tmp_path):
    simulated = simulate_species(np.random.default_rng(1), n_species=5, bases_per_species=4000)
    genomes = simulate_genome_set(simulated, tmp_path / "set", n_train=3, seed=2)
    assert (genomes.table["part"] == "train").sum() == 3
    covered = np.zeros(genomes.store.n_bases, dtype=int)
    for part in ("train", "valid", "test"):
        for begin, end in genomes.regions(part)[0]:
            covered[begin:end] += 1
    assert (covered == (genomes.store.codes < N_BASES)).all()
    assert genomes.table["relatives"].eq("").all()


def test_a_record_name_in_two_genomes_is_explained(small_set):
    files, species, folder = small_set
    files[1].write_text(">a1x\nACGT\n")
    with pytest.raises(ValueError, match="record name 'a1x' is used more than once"):
        build_genome_set(files, species, folder, n_train=2, seed=0)


def test_a_genome_without_a_species_is_explained(small_set):
    files, species, folder = small_set
    with pytest.raises(ValueError, match=r"1 genome files have no species .*'c.fas'"):
        build_genome_set(files, species[:3], folder, n_train=2, seed=0)


def test_two_genomes_of_one_name_are_explained(small_set):
    files, species, folder = small_set
    with pytest.raises(ValueError, match="two genome files are named 'b'"):
        build_genome_set([*files, files[2]], species, folder, n_train=2, seed=0)


def test_damage_is_noticed(small_set):
    files, species, folder = small_set
    build_genome_set(files, species, folder, n_train=2, seed=0)
    (folder / "genomes.csv").write_text("genome\n")
    with pytest.raises(ValueError, match=r"genomes.csv: missing or damaged"):
        open_genome_set(folder)
    (folder / "set.json").unlink()
    with pytest.raises(FileNotFoundError, match="expected the folder of a genome set"):
        open_genome_set(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file\tname\nx\ty\n", "no column species, found file, name"),
        ("file\tspecies\nx\t\n", "line 2: 'x' has no species"),
        ("file\tspecies\nx\ta\nx\tb\n", "'x' stands in more than one row"),
        ("", r"t\.tsv is no tab-separated table \(.*\); expected a table of species with"),
        ("file\tspecies\nx\ta\tb\tc\ny\ta\tb\tc\td\n", r"t\.tsv is no tab-separated table"),
    ],
)
def test_wrong_species_tables_are_explained(tmp_path, text, message):
    (tmp_path / "t.tsv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_species_table(tmp_path / "t.tsv")


@pytest.mark.parametrize("content", [b"file\tspecies\n\xff\xfe\ta\n", b"\x1f\x8bno"])
def test_a_species_table_that_is_no_text_is_named(tmp_path, content):
    path = tmp_path / ("t.tsv.gz" if content.startswith(b"\x1f") else "t.tsv")
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"t\.tsv(\.gz)? is no tab-separated table"):
        read_species_table(path)


def test_real_species_table(data_dir):
    table = read_species_table(data_dir / "species/genomes.tsv")
    assert (len(table), table["species"].nunique()) == (27, 25)
    together = ["Escherichia coli|Shigella dysenteriae|Shigella flexneri"]
    for seed in range(5):
        parts = split_species(table["species"], n_train=20, seed=seed, together=together)
        assert parts.count("train") == 20
    assert genome_name(table["file"][0]) == "Salmonella_enterica__GCF_000006945.2"
