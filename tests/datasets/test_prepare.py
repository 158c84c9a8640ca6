"""What 01 makes: sets without leaks, planted words of their motifs, windows counted by hand."""

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.datasets import prepare as prepare_module
from genomelm_utils.datasets.identity import sequence_keys
from genomelm_utils.datasets.labelled import read_labelled
from genomelm_utils.datasets.prepare import (
    count_species,
    find_planted_words,
    prepare,
    species_composition,
    window_composition,
)
from genomelm_utils.sequences.alphabet import IUPAC_SETS, decode, encode, reverse_complement
from genomelm_utils.sequences.genome import open_store, store_from_codes
from genomelm_utils.sequences.planting import PROMOTER_MOTIFS
from genomelm_utils.sequences.simulate import SimulatedGenome, simulate_genome

OPTIONS = {"n_bases": 500_000, "promoter_bp": 70, "n_per_class": 40, "word_bp": 6, "seed": 3}
CONSENSUS = {motif.name: motif.consensus for motif in PROMOTER_MOTIFS}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("simulated")
    return folder, prepare("simulate", folder, [], **OPTIONS)


def turn(word: str) -> str:
    return decode(reverse_complement(encode(word)))


# --- the simulated run ----------------------------------------------------------------------------


def test_simulated_files_are_what_the_run_holds(simulated):
    folder, prepared = simulated
    assert np.array_equal(open_store(folder / "store").codes, prepared.store.codes)
    assert prepared.store.n_bases == 500_000
    assert sorted(prepared.sets) == [
        "simulated-promoter/test",
        "simulated-promoter/train",
        "simulated-splice/test",
        "simulated-splice/train",
    ]
    for name, labelled in prepared.sets.items():
        task, part = name.removeprefix("simulated-").split("/")
        read = read_labelled(folder / "sets" / task / f"{part}.tsv")
        assert np.array_equal(read.codes, labelled.codes)
        assert np.array_equal(read.labels, labelled.labels)
        assert read.names == labelled.names
        assert labelled.lengths_bp[0] == {"promoter": 70, "splice": 40}[task]


@pytest.mark.parametrize(("task", "classes"), [("promoter", 2), ("splice", 3)])
def test_train_and_test_parts_are_disjoint_and_hold_every_class(simulated, task, classes):
    train, test = (simulated[1].sets[f"simulated-{task}/{part}"] for part in ("train", "test"))
    assert len(train) + len(test) == 40 * classes
    assert len(test) == round(40 * classes / 3)
    assert ((train.class_counts + test.class_counts) == 40).all()
    assert len(test.class_counts) == classes
    assert not set(train.names) & set(test.names)
    shared = np.isin(sequence_keys(test.codes), sequence_keys(train.codes))
    assert not shared.any()


def test_same_seed_same_bytes(simulated, tmp_path):
    folder, _ = simulated
    prepare("simulate", tmp_path, [], **OPTIONS)
    files = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    assert len(files) >= 9
    for file in files:
        assert (tmp_path / file).read_bytes() == (folder / file).read_bytes(), file
    other = prepare("simulate", tmp_path / "other", [], **(OPTIONS | {"seed": 4}))
    assert not np.array_equal(other.store.codes, simulated[1].store.codes)


# --- planted words --------------------------------------------------------------------------------


def allowed_words(consensus: str, k: int) -> set[str]:
    """All words of k bases inside the consensus, both strands."""
    texts = [""]
    for letter in consensus:
        texts = [text + base for text in texts for base in sorted(IUPAC_SETS[letter])]
    words = {text[i : i + k] for text in texts for i in range(len(text) - k + 1)}
    return words | {turn(word) for word in words}


def test_words_planted_without_error_are_words_of_their_motif():
    genome = simulate_genome(np.random.default_rng(1), n_bases=400_000, strength=1.0)
    words = find_planted_words(genome, 5)
    assert set(words["motif"]) == set(CONSENSUS)
    for motif, rows in words.groupby("motif"):
        assert set(rows["ngram"]) <= allowed_words(CONSENSUS[motif], 5), motif
    gc_box = words[words["motif"] == "GC-box"]
    assert set(gc_box["ngram"]) == {"GGGCG", "GGCGG", "CGCCC", "CCGCC"}
    # every copy is whole, so each of its words stands once in each
    n_copies = int((genome.truth["kind"] == "GC-box").sum())
    assert set(gc_box["n_planted"]) == {n_copies}


def test_noisy_motifs_show_their_words_and_both_strands(simulated):
    words = simulated[1].planted_words
    assert words["n_planted"].is_monotonic_decreasing
    for _, rows in words.groupby("motif"):
        counts = rows.set_index("ngram")["n_planted"].to_dict()
        assert {turn(word): n for word, n in counts.items()} == counts
    # of the words with the whole motif in them, the exact one is always there
    assert {"GGGCGG", "CCGCCC"} <= set(words.loc[words["motif"] == "GC-box", "ngram"])
    # words that are listed are far more frequent in the genome's motifs than by chance
    assert 5 < len(words) < 1000


def make_genome(text: str, rows: list[tuple]) -> SimulatedGenome:
    codes = encode(text)
    truth = pd.DataFrame(rows, columns=["kind", "record", "start", "end", "strand", "detail"])
    return SimulatedGenome(
        ["a", "b"], codes, np.array([0, 10, len(codes)]), np.empty((0, 2)), truth
    )


def test_words_by_hand():
    #                    0123456789|0123456789
    genome = make_genome(
        "CTATAAACCC" + "CCTTTATACC",
        [
            ("TATA-box", "a", 1, 7, "+", ""),
            ("TATA-box", "b", 2, 8, "-", ""),
            ("gap", "a", 7, 10, "+", ""),
        ],
    )
    words = find_planted_words(genome, 6)
    assert words.to_dict("list") == {
        "ngram": ["TATAAA", "TTTATA"],
        "motif": ["TATA-box"] * 2,
        "n_planted": [2, 2],
    }


def test_a_word_that_is_its_own_reverse_complement_counts_once():
    genome = make_genome("CCTATATACC" + "C" * 10, [("TATA-box", "a", 2, 8, "+", "")])
    words = find_planted_words(genome, 6)
    assert words[["ngram", "n_planted"]].values.tolist() == [["TATATA", 1]]


def test_a_motif_shorter_than_a_word_gives_words_that_begin_or_end_with_it():
    genome = make_genome("CCAGTCGTCC" + "C" * 10, [("DPE", "a", 2, 7, "+", "")])
    assert set(find_planted_words(genome, 6)["ngram"]) == {"AGTCGT", "ACGACT"}


def test_a_genome_without_motifs_has_no_words():
    genome = make_genome("A" * 20, [("gap", "a", 0, 3, "+", "")])
    words = find_planted_words(genome, 6)
    assert words.empty
    assert list(words.columns) == ["ngram", "motif", "n_planted"]


# --- windows --------------------------------------------------------------------------------------


def test_windows_equal_a_naive_count(tmp_path, rng, monkeypatch):
    monkeypatch.setattr(prepare_module, "BLOCK_WINDOWS", 7)  # several blocks
    codes = rng.integers(0, 4, 5000, dtype=np.uint8)
    codes[1200:1234] = 14
    codes[2999] = 4
    starts = np.array([0, 700, 2100, 5000])
    soft = np.array([[5, 30], [690, 700], [700, 701], [1190, 1300], [3000, 4200]])
    store = store_from_codes(["a", "b", "c"], codes, starts, soft, tmp_path / "store")
    is_soft = np.zeros(5000, dtype=bool)
    for begin, end in soft:
        is_soft[begin:end] = True
    table = window_composition(store, 50)
    expected = []
    for first in store.windows(50, 50):
        record = int(np.searchsorted(starts, first, side="right")) - 1
        piece = decode(codes[first : first + 50])
        assert set(piece) <= set("ACGT")
        expected.append(
            {
                "record": "abc"[record],
                "start": first - starts[record],
                "gc": (piece.count("G") + piece.count("C")) / 50,
                "soft_share": is_soft[first : first + 50].sum() / 50,
            }
        )
    pd.testing.assert_frame_equal(table, pd.DataFrame(expected), check_dtype=False)
    assert len(table) == 14 + 10 + 17 + 17 + 40 + 0
    assert table["soft_share"].max() == 1


def test_windows_without_soft_mask_or_without_room(tmp_path):
    store = store_from_codes(
        ["a"], encode("GGCC" * 10), np.array([0, 40]), np.empty((0, 2)), tmp_path / "s"
    )
    assert window_composition(store, 10)["gc"].tolist() == [1.0] * 4
    assert window_composition(store, 10)["soft_share"].tolist() == [0.0] * 4
    assert window_composition(store).empty


# --- other kinds ----------------------------------------------------------------------------------


def test_genome_reads_fasta_files(tmp_path):
    files = []
    for name, text in (("one", "ACGTN"), ("two", "ggcc")):
        files.append(tmp_path / f"{name}.fa")
        files[-1].write_text(f">{name}\n{text}\n")
    prepared = prepare("genome", tmp_path / "run", files, **OPTIONS)
    assert prepared.store.records["name"].tolist() == ["one", "two"]
    assert prepared.store.folder == tmp_path / "run" / "store"
    assert (prepared.sets, prepared.truth, prepared.planted_words) == ({}, None, None)


def test_few_shot_tables_of_the_users_are_read(tmp_path):
    folder = tmp_path / "mine" / "enhancers" / "10"
    folder.mkdir(parents=True)
    (folder / "train.tsv").write_text("sequence\tlabel\nACGT\t0\nGGCC\t1\n")
    (tmp_path / "mine" / "enhancers" / "test.csv").write_text("sequence,label\nTTTT,0\n")
    prepared = prepare("tables", tmp_path / "run", [tmp_path / "mine"], **OPTIONS)
    assert {name: len(one) for name, one in prepared.sets.items()} == {
        "enhancers/10": 2,
        "enhancers/test": 1,
    }
    assert prepared.store is None
    alone = prepare("tables", tmp_path / "run", [folder / "train.tsv"], **OPTIONS)
    assert {name: len(one) for name, one in alone.sets.items()} == {"train.tsv": 2}


def test_published_sets_are_read_where_no_folder_is_given(tmp_path, data_dir):
    prepared = prepare("fewshot", tmp_path, [], **OPTIONS)
    assert {"Prom-core/10", "Prom-core/test", "Splice-40/500"} <= set(prepared.sets)


def test_simulated_species_are_split_and_only_training_bases_are_stored(tmp_path):
    options = OPTIONS | {"n_species": 4, "species_bp": 4000, "n_train": 2}
    prepared = prepare("species", tmp_path, [], **options)
    genomes = prepared.genomes
    assert genomes.folder == tmp_path / "species"
    assert genomes.table["part"].tolist().count("train") == 2
    assert prepared.store.n_bases == 2 * 3600
    regions = genomes.regions("train")[0]
    training = np.concatenate([genomes.store.codes[begin:end] for begin, end in regions])
    assert np.array_equal(prepared.store.codes, training)
    assert set(prepared.truth["record"]) == set(genomes.store.records["name"])
    assert prepared.planted_words is None  # nothing is


def test_gc_of_windows_stands_beside_every_genome(tmp_path):
    options = OPTIONS | {"n_species": 3, "species_bp": 6000, "n_train": 2}
    genomes = prepare("species", tmp_path, [], **options).genomes
    table = species_composition(genomes, 500)
    pd.testing.assert_frame_equal(table[genomes.table.columns], genomes.table)
    for i, codes in enumerate(np.split(np.asarray(genomes.store.codes), 3)):
        shares = np.isin(codes.reshape(-1, 500), [1, 2]).mean(axis=1)
        expected = np.quantile(shares, [0.05, 0.95])
        assert table.loc[i, ["gc_low", "gc_high"]].tolist() == pytest.approx(expected)
    assert species_composition(genomes, 10_000)["gc_low"].isna().all()


def test_species_of_each_part_are_counted():
    table = pd.DataFrame(
        [
            ("A a", "test", "A b", 10),
            ("A a", "test", "A b", 20),
            ("A b", "train", "A a", 40),
            ("C c", "train", "", 80),
        ],
        columns=["species", "part", "relatives", "n_bases"],
    )
    expected = [["train", 2, 2, 1, 120], ["test", 2, 1, 1, 30]]
    assert count_species(table).to_numpy().tolist() == expected


def test_genomes_of_a_folder_are_those_the_table_names(tmp_path):
    folder = tmp_path / "genomes"
    folder.mkdir()
    for name in ("one", "two", "unnamed"):
        (folder / f"{name}.fna").write_text(f">{name}\n{'ACGT' * 10}\n")
    (folder / "one.gff3").write_text("no FASTA")
    table = tmp_path / "species.tsv"
    table.write_text("file\tspecies\ngenomes/one.fna\tA a\ngenomes/two.fna\tB b\nabsent.fna\tC c\n")
    prepared = prepare("species", tmp_path / "run", [folder, table], **OPTIONS, n_train=1)
    assert prepared.genomes.table["genome"].tolist() == ["one", "two"]
    assert prepared.store.n_bases == 36
    assert (prepared.truth, prepared.planted_words) == (None, None)
    with pytest.raises(ValueError, match=r"0 of `files` end in .tsv, expected one table"):
        prepare("species", tmp_path / "run", [folder], **OPTIONS, n_train=1)
    with pytest.raises(ValueError, match="none of the genome files"):
        prepare("species", tmp_path / "run", [table], **OPTIONS, n_train=1)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("genome", "kind is genome, but `files` is empty; name FASTA files"),
        ("tables", "kind is tables, but `files` is empty; name tables"),
        ("simulated", "kind is 'simulated', expected one of simulate, genome, fewshot"),
    ],
)
def test_wrong_kinds_are_explained(tmp_path, kind, message):
    with pytest.raises(ValueError, match=message):
        prepare(kind, tmp_path, [], **OPTIONS)


def test_a_genome_too_small_for_its_sets_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"holds .* are asked for: simulate more bases"):
        prepare("simulate", tmp_path, [], **(OPTIONS | {"n_bases": 50_000}))
