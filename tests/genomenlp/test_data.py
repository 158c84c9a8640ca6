"""The verbs that make data sets: files, lines, settings and errors; rules are tested elsewhere."""

import json
from pathlib import Path

import pandas as pd
import pytest

from genomelm_utils.datasets.token_reading import read_token_set
from genomelm_utils.sequences.letters import LetterStream, reverse_complement_text


@pytest.fixture
def tokeniser(run):
    assert run("tokenise_bio", "-i", "a.fa", "b.fa", "-t", "t.json", "-v", 100)[0] == 0
    return "t.json"


@pytest.fixture
def protein(folder):
    for name, text in (("p.fa", "MELTWRIKLEEL"), ("q.fa", "WWERTYHKLMND")):
        lines = "".join(f">{name}{i}\n{text[i:]}{text[:i]}\n" for i in range(12))
        (folder / name).write_text(lines)


# --- kmerise_bio ---------------------------------------------------------------------------


def test_kmerise_bio(run, folder):
    status, lines, err = run(
        "kmerise_bio", "-i", "a.fa", "b.fa", "-l", 1, 0, "-k", 4, "-o", "k.csv"
    )
    found = read_token_set("k.csv", ("x", "y"))
    assert (status, err) == (0, "")
    assert len(found) == 240 and found.n_tokens.tolist() == [47] * 240
    assert found.labels.tolist() == [1] * 120 + [0] * 120
    assert found.names[:2] == ["a0 x__ y", "a0 x__ y__RC"]
    assert found.features[1] == reverse_complement_text(found.features[0])
    mapping = json.loads(Path("mappings.json").read_text())
    assert [mapping[word] for word in found.strings] == found.ids.tolist()
    tokens = json.loads(Path("tokeniser.json").read_text())["model"]["vocab"]
    assert [tokens[i][0] for i in found.ids.tolist()] == found.strings
    assert lines == [f"k.csv: 240 rows, 11,280 4-mers, {len(mapping):,} different ones"]
    settings = json.loads(Path("k.csv.json").read_text())
    assert (settings["n_kmers"], settings["classes"]) == (len(mapping), ["0", "1"])


def test_kmerise_bio_options(run):
    asked = ["-i", "a.fa", "-k", 6, "-c", 20, "--no_reverse_complement"]
    status, lines, _ = run("kmerise_bio", *asked, "-o", "k.parquet", "--ids", "reference")
    found = read_token_set("k.parquet")
    assert status == 0
    assert found.class_names == ("a.fa",)
    assert found.names[1] == "a0 x__ y__PARTIAL_SEQ_CHUNK_1"
    assert found.n_tokens[:3].tolist() == [15, 15, 5]
    mapping = json.loads(Path("mappings.json").read_text())
    assert min(mapping.values()) == found.ids.min() == 0
    _, lines, _ = run("kmerise_bio", "-i", "a.fa", "-k", 15, "-c", 20, "-o", "short.json")
    assert lines[1] == "120 rows are shorter than 15 letters and have no k-mer"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-i", "a.fa", "b.fa", "-l", "1", "-k", "4"], "1 labels (1) for 2 files"),
        (["-i", "a.fa", "-k", "40"], "k is 40, expected 1 to 16"),
        (["-i", "a.fa", "-k", "4", "-o", "k.txt"], "expected a name in .csv, .json, .parquet"),
        (["-i", "a.fa", "-k", "4", "-m", "a.fa"], "a.fa is an input"),
        (["-i", "p.fa", "-k", "2", "--reverse_complement"], "which has no reverse complement"),
    ],
)
def test_kmerise_bio_errors(run, protein, folder, arguments, expected):
    before = sorted(path.name for path in folder.iterdir())
    status, _, err = run("kmerise_bio", *arguments)
    assert status == 2
    assert expected in err
    assert sorted(path.name for path in folder.iterdir()) == before


# --- create_dataset ------------------------------------------------------------------------


def test_create_dataset_bio(run, tokeniser):
    status, lines, err = run("create_dataset_bio", "a.fa", "b.fa", tokeniser, "-o", "set/")
    assert (status, err) == (0, "")
    parts = {name: read_token_set(f"set/{name}.parquet") for name in ("train", "test", "valid")}
    assert {name: len(one) for name, one in parts.items()} == {
        "train": 216,
        "test": 12,
        "valid": 12,
    }
    assert parts["train"].class_counts.tolist() == [108, 108]
    assert lines[:2] == [
        "set: 120 records (dna), rows by class:",
        "train\t216\tNEGATIVE 108, POSITIVE 108",
    ]
    assert lines[4:6] == [
        "test: 0 of 12 rows were trained on",
        "valid: 0 of 12 rows were trained on",
    ]
    settings = json.loads(Path("set/dataset.json").read_text())
    assert settings["both_strands"] and settings["classes"] == ["NEGATIVE", "POSITIVE"]
    assert set(settings["inputs"]) == {"a.fa", "b.fa", tokeniser}
    assert len(pd.read_csv("set/records.tsv", sep="\t")) == 120
    status, _, err = run("create_dataset_bio", "a.fa", "b.fa", tokeniser, "-o", "set/")
    assert status == 2 and "is not empty; name a new folder" in err


def test_create_dataset_bio_options(run, tokeniser):
    asked = ["--split_train", 0.7, "--split_test", 0.2, "--split_val", 0.1, "-c", 25]
    asked += ["--class_names", "at", "gc", "--formats", "csv", "--input_str", "--seed", 9]
    status, _, _ = run("create_dataset_bio", "a.fa", "b.fa", tokeniser, "-o", "one", *asked)
    found = read_token_set("one/train.csv")
    assert status == 0
    assert len(found) == 336 and found.strings[0].startswith("▁")
    assert sorted(path.name for path in Path("one").iterdir()) == [
        *("dataset.json", "leaks.tsv", "records.tsv", "test.csv", "train.csv", "valid.csv"),
    ]
    run("create_dataset_bio", "a.fa", "b.fa", tokeniser, "-o", "two", *asked)
    assert Path("two/train.csv").read_bytes() == Path("one/train.csv").read_bytes()
    asked += ["--no_reverse_complement", "--no_shuffle"]
    run("create_dataset_bio", "a.fa", "b.fa", tokeniser, "-o", "three", *asked)
    names = read_token_set("three/train.csv").names
    assert len(names) == 168
    assert names[0].startswith("a") and names[-1].startswith("b")


def test_the_reference_leaks_and_says_so(run, tokeniser):
    asked = ["--split", "reference", "--formats", "csv"]
    _, lines, _ = run("create_dataset_bio", "a.fa", "b.fa", tokeniser, "-o", "set", *asked)
    told = next(line for line in lines if line.startswith("test: "))
    leaks = pd.read_csv("set/leaks.tsv", sep="\t")
    assert leaks.loc[0, "n_either_strand"] > 6
    assert told == f"test: {leaks.loc[0, 'n_either_strand']} of 12 rows were trained on"


def test_proteins_have_no_other_strand(run, protein):
    run("tokenise_bio", "-i", "p.fa", "q.fa", "-t", "p.json", "-v", 40)
    status, lines, _ = run("create_dataset_bio", "p.fa", "q.fa", "p.json", "-o", "set")
    assert status == 0
    assert lines[0] == "set: 24 records (protein), rows by class:"
    asked = ["create_dataset_bio", "p.fa", "q.fa", "p.json", "-o", "other"]
    status, _, err = run(*asked, "--reverse_complement")
    assert status == 2 and "which has no reverse complement" in err
    status, _, err = run(*asked, "--groups", "clusters")
    assert status == 2 and "take shared_words" in err
    assert run(*asked, "--groups", "shared_words", "--word", 10)[0] == 0


def test_kmers_and_relatives(run):
    run("kmerise_bio", "-i", "a.fa", "b.fa", "-k", 3)
    asked = ["create_dataset_bio", "a.fa", "b.fa", "tokeniser.json", "--formats", "csv"]
    assert run(*asked, "-o", "set", "--groups", "shared_words", "--word", 20)[0] == 0
    assert set(read_token_set("set/train.csv").n_tokens.tolist()) == {48}
    assert run(*asked, "-o", "released", "--kmers", "reference")[0] == 0
    assert set(read_token_set("released/train.csv").n_tokens.tolist()) == {17}


def test_negatives_follow_their_sequences(run, tokeniser):
    assert run("generate_synthetic", "a.fa", "-c", "dinucleotide", "-o", "n.fa")[0] == 0
    assert run("create_dataset_bio", "a.fa", "n.fa", tokeniser, "-o", "set")[0] == 0
    table = pd.read_csv("set/records.tsv", sep="\t")
    parts = dict(zip(table["name"], table["part"], strict=True))
    made = [name for name in parts if name.startswith("NULL_D_")]
    assert len(made) == 60
    assert all(parts[name] == parts[name.removeprefix("NULL_D_")] for name in made)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--split_train", "0.5"], "that sum to 1 (they sum to 0.6)"),
        (["--class_names", "x", "x"], "all 2 files are of class 'x'"),
        (["--kind", "rna"], "(is this DNA?)"),
        (["-s", "<cls>"], "t.json has no <cls>"),
    ],
)
def test_create_dataset_bio_errors(run, tokeniser, arguments, expected):
    asked = ["create_dataset_bio", "a.fa", "b.fa", tokeniser, "-o", "set"]
    status, _, err = run(*asked, *arguments)
    assert status == 2
    assert expected in err
    assert not Path("set").exists()


def test_create_dataset_nlp(run, tokeniser):
    rows = [f'{i},{"good" if i % 2 else "bad"},"AAC GT{"A" * i}, CG"' for i in range(40)]
    Path("t.csv").write_text("\n".join(["id,kind,text", *rows, "40,bad,"]) + "\n")
    asked = ["create_dataset_nlp", "t.csv", tokeniser, "id", "kind", "text"]
    status, _, err = run(*asked, "-o", "set", "-c", 10)
    assert status == 0
    assert "left out 1 records (named in set/skipped.tsv)" in err
    found = read_token_set("set/train")
    assert found.class_names == ("bad", "good")
    assert all("__PARTIAL_SEQ_CHUNK_" in name for name in found.names)
    assert max(map(len, found.features)) == 10
    assert any(" " in text for text in found.features)
    asked[4] = "kinds"
    status, _, err = run(*asked, "-o", "other")
    assert status == 2 and "t.csv has no column 'kinds'; did you mean 'kind'?" in err


# --- generate_synthetic --------------------------------------------------------------------


def test_generate_synthetic(run):
    status, lines, _ = run("generate_synthetic", "a.fa", "-b", 3, "-o", "n.fa.gz", "--seed", 2)
    assert (status, lines) == (0, ["n.fa.gz: 60 records, 3,000 letters"])
    assert [one.header for one in LetterStream("n.fa.gz")][:2] == [
        "NULL_F_a0 x, y",
        "NULL_F_a1 x, y",
    ]
    settings = json.loads(Path("n.fa.gz.json").read_text())
    assert settings["settings"]["block_size"] == 3
    status, _, err = run("generate_synthetic", "a.fa", "-o", "n.fa.gz")
    assert status == 2 and "n.fa.gz is there; remove it" in err
    asked = ["-c", "bootstrap", "--do_reverse_complement", "-o", "both.fa"]
    assert run("generate_synthetic", "a.fa", *asked)[0] == 0
    assert sum(1 for _ in LetterStream("both.fa")) == 120
