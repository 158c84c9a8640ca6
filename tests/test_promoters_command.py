"""The command that extracts promoters: files it writes, and what it says about errors."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest

from genomelm_utils import promoters
from genomelm_utils.sequences import promoters as rules
from genomelm_utils.sequences.annotation import SOURCES
from genomelm_utils.sequences.promoters import FLANK_BP, extract_promoters, read_promoters

GENES = [
    ("a", 300, 320, "+"),
    ("b", 295, 305, "-"),
    ("c", 200, 220, "+"),
    ("d", 360, 380, "-"),
]


@pytest.fixture
def files(tmp_path, rng):
    fasta, gff = tmp_path / "genome.fa.gz", tmp_path / "genes.gff3"
    text = "".join(rng.choice(list("ACGTacgt"), 400))
    fasta.write_bytes(gzip.compress(f">c1\n{text}\n>none\n".encode()))
    lines = [f"c1\ts\tgene\t{s}\t{e}\t.\t{d}\t.\tID={i}\n" for i, s, e, d in GENES]
    gff.write_text("".join(lines))
    return [str(fasta), str(gff)]


def test_files_and_what_is_said(files, tmp_path, capsys):
    out = tmp_path / "new" / "promoters.fa"
    assert promoters.main([*files, "--flank", "50", "--out", str(out)]) == 0
    expected = extract_promoters(*files, flank_bp=50)
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        "4 genes (nam: 4 of 4 genes have an id as nam files do)",
        "2 with a promoter",
        "2 the nearest piece does not touch the TSS",
    ]
    assert told.err.startswith(f"left out 2 records: 2 {rules.NOT_TOUCHING} (a, b)")
    assert "all in promoters.fa.skipped.tsv" in told.err
    read = read_promoters(out)
    assert read.drop(columns="gap_bp").equals(expected.table.drop(columns="gap_bp"))
    genes = pd.read_csv(f"{out}.genes.tsv", sep="\t")
    assert genes["name"].tolist() == expected.table["name"].tolist() == read["name"].tolist()
    assert genes["gap_bp"].tolist() == [0, 0]
    skipped = pd.read_csv(f"{out}.skipped.tsv", sep="\t")
    assert skipped[["name", "gap_bp", "reason"]].values.tolist() == [
        ["a", 5, rules.NOT_TOUCHING],
        ["b", 15, rules.NOT_TOUCHING],
    ]
    settings = json.loads((tmp_path / "new" / "promoters.fa.json").read_text())
    assert settings["command"][2:5] == ["genomelm_utils.promoters", *files]
    assert settings["genes"] == {"with a promoter": 2, rules.NOT_TOUCHING: 2}
    assert settings["settings"]["flank"] == 50
    assert set(settings["inputs"]) == set(files)
    assert settings["empty_fasta_records"] == ["none"]
    assert len(list(out.parent.iterdir())) == 4


def test_reference_rules_reach_the_extraction(files, tmp_path):
    out = tmp_path / "p.fa.gz"
    options = ["--fragment-rule", "reference", "--case", "reference", "--source", "nam"]
    assert promoters.main([*files, "--out", str(out), *options, "--id-rule", "reference"]) == 0
    expected = extract_promoters(*files, fragment_rule="reference", case="reference")
    text = gzip.decompress(out.read_bytes()).decode().split("\n")
    assert text[1:-1:2] == expected.table["sequence"].tolist()
    assert text[0:-1:2] == [f">{name}" for name in expected.table["name"]]
    assert len(expected.table) == 4
    assert any(np.char.islower(expected.table["sequence"].str[0].to_numpy(str)))


def test_errors_are_one_sentence_and_leave_nothing(files, tmp_path, capsys):
    out = tmp_path / "new" / "p.fa"
    cases = [
        ([files[0], str(tmp_path / "none.gff"), "--out", str(out)], "none.gff: no such file"),
        ([*files, "--source", "refseq", "--out", str(out)], "no gene has an id where refseq"),
        ([*files, "--id-rule", "reference", "--out", str(out)], "got 'auto'; expected one of"),
        ([*files, "--flank", "0", "--out", str(out)], "flank_bp is 0, expected at least 1"),
        ([*files, "--out", files[1]], "is an input and would be overwritten"),
        ([*files, "--out", str(tmp_path)], "a folder; expected the name of a file"),
    ]
    for arguments, says in cases:
        assert promoters.main(arguments) == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err.startswith("promoters: ")
        assert told.err.count("\n") == 1
        assert says in told.err
    assert not out.parent.exists()


def test_help_shows_the_choices_of_the_functions(capsys):
    with pytest.raises(SystemExit) as stopped:
        promoters.main(["--help"])
    assert stopped.value.code == 0
    assert "X.skipped.tsv" in capsys.readouterr().out
    assert set(promoters.SOURCES) == set(SOURCES)
    assert promoters.FLANK_BP == FLANK_BP
