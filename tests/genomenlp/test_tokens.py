"""The verbs about vocabularies: files, lines, settings and errors; numbers are tested elsewhere."""

import json

import pandas as pd
import pytest

from genomelm_utils.datasets.token_reading import read_token_set
from genomelm_utils.tokenizers.unigram import SPECIAL_TOKENS, read_tokens


@pytest.fixture
def tokeniser(run):
    assert run("tokenise_bio", "-i", "a.fa", "b.fa", "-t", "t.json", "-v", 100)[0] == 0
    return "t.json"


def test_tokenise_bio(run, folder):
    status, lines, err = run("tokenise_bio", "-i", "a.fa", "b.fa", "-t", "new/t.json", "-v", 100)
    assert (status, err) == (0, "")
    assert lines == ["new/t.json: 100 tokens (100 asked for) of 6,000 letters in 120 records"]
    settings = json.loads((folder / "new" / "t.json.json").read_text())
    assert settings["n_tokens"] == settings["n_asked"] == 100
    assert list(settings["inputs"]) == ["a.fa", "b.fa"]
    assert settings["settings"]["break_size"] == 0
    assert len(read_tokens("new/t.json")) == 100
    status, lines, err = run("tokenise_bio", "-i", "a.fa", "-t", "new/t.json", "-v", 9000)
    assert status == 0
    assert "new/t.json is there and will be replaced" in err
    assert "fewer than the 9000 asked for" in err  # a vocabulary larger than the data allow


def test_tokenise_bio_shows_how_it_cuts(run, tokeniser):
    status, lines, _ = run("tokenise_bio", "-t", tokeniser, "-e", "AACGNA")
    assert status == 0
    ids = lines[1].split()
    assert lines[0] == "AACGNA"
    assert [line.split(" :: ")[0] for line in lines[2:]] == ids
    tokens = [line.split(" :: ")[1] for line in lines[2:]]
    assert "".join(tokens) == "▁AACG<unk>A"


def test_tokenise_bio_options(run, folder):
    (folder / "r.fa").write_text(">r\n" + "ACGUacguUUACG" * 20 + "\n")
    asked = ["-i", "r.fa", "-t", "r.json", "-v", "40", "-c", "lower", "-b", "30"]
    assert run("tokenise_bio", *asked, "-s", "<unk>", "<pad>")[0] == 0
    tokens = read_tokens("r.json")["token"]
    assert tokens[:2].tolist() == ["<unk>", "<pad>"]
    assert set("".join(tokens[2:])) == {*"acgu", "▁"}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-t", "none.json"], "none.json: no such file"),
        (["-i", "none.fa", "-t", "t.json"], "none.fa: no such file"),
        (["-i", "p.fa", "-t", "t.json", "--kind", "dna"], "is this a protein sequence?"),
        (["-i", "a.fa", "-t", "a.fa"], "a.fa is an input and would be overwritten"),
        (["-i", "a.fa", "-t", "t.json", "-v", "7"], "vocab_size leaves room for 2 words"),
    ],
)
def test_tokenise_bio_errors(run, folder, arguments, expected):
    (folder / "p.fa").write_text(">p\nMELTWRIKL\n")
    status, lines, err = run("tokenise_bio", *arguments)
    assert (status, lines) == (2, [])
    assert expected in err and err.count("\n") == 1


def test_parse_sp_tokens(run, tokeniser, folder):
    status, lines, _ = run("parse_sp_tokens", tokeniser, "-o", "lengths")
    assert status == 0
    table = pd.read_csv(folder / "lengths" / "kmer_length_histogram.tsv", sep="\t")
    assert table["n_tokens"].sum() == 95
    assert lines == [f"lengths/kmer_length_histogram.tsv: 95 tokens, {len(table)} lengths"]
    first = {name: (folder / "lengths" / name).read_bytes() for name in
             ("kmer_length_histogram.pdf", "kmer_length_histogram.png")}  # fmt: skip
    assert run("parse_sp_tokens", tokeniser, "-o", "again")[0] == 0
    for name, content in first.items():
        assert (folder / "again" / name).read_bytes() == content


def test_compare_empirical_tokens(run, folder):
    for name in "ab":
        run("tokenise_bio", "-i", f"{name}.fa", "-t", f"{name}.json", "-v", 60)
    status, lines, _ = run(
        *("compare_empirical_tokens", "a.json", "b.json", "-w", "w.tsv", "-o", "w.pdf"),
        *("-t", "pooled.json", "-m", "outer", "-p", "mean"),
    )
    assert status == 0
    a, b = (read_tokens(f"{name}.json") for name in "ab")
    shared = set(a["token"]) & set(b["token"])
    any_of = set(a["token"]) | set(b["token"])
    assert lines[:4] == [
        "60 tokens\ta.json",
        "60 tokens\tb.json",
        f"{len(shared)} tokens\tshared by all",
        f"{len(any_of)} tokens\tin any",
    ]
    table = pd.read_csv("w.tsv", sep="\t", keep_default_na=False)
    assert table.columns.tolist() == ["token", "std", "is_outlier", "a.json", "b.json"]
    assert set(table["token"]) == shared
    assert (folder / "w.pdf").read_bytes().startswith(b"%PDF")
    pooled = read_tokens("pooled.json")["token"]
    assert set(pooled) == any_of and pooled[:5].tolist() == list(SPECIAL_TOKENS)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["t.json"], "1 vocabularies, expected two"),
        (["t.json", "t.json", "-m", "inner"], "needs all of -t, -m and -p"),
        (["t.json", "u.json", "-w", "t.json"], "an input and would be overwritten"),
        (["t.json", "t.json", "-o", "t.json"], "an input and would be overwritten"),
        (["t.json", "a.fa"], "a.fa is damaged or no tokenizer"),
    ],
)
def test_compare_empirical_tokens_errors(run, tokeniser, folder, arguments, expected):
    (folder / "u.json").write_text((folder / tokeniser).read_text())
    status, _, err = run("compare_empirical_tokens", *arguments)
    assert status == 2
    assert expected in err


def test_remap_sp_tokens(run, tokeniser):
    run("create_dataset_bio", "a.fa", "b.fa", tokeniser, "-o", "set", "--formats", "csv")
    status, lines, _ = run("remap_sp_tokens", "set/train.csv", "out.csv", tokeniser)
    found = read_token_set("out.csv")
    assert (status, lines) == (0, [f"out.csv: {len(found):,} rows"])
    first = "".join(found.strings[: int(found.offsets[1])])
    assert first == "▁" + found.features[0]
    status, _, err = run("remap_sp_tokens", "set/train.csv", "set/train.csv", tokeniser)
    assert status == 2 and "would be overwritten" in err
