"""Labelled records of FASTA files and tables: classes, names, what is left out and refused."""

import gzip

import pytest

from genomelm_utils.datasets.class_records import FastaClasses, Record, TextTable


@pytest.fixture
def files(tmp_path):
    (tmp_path / "a.fa").write_text(">r1, with comma\nacgt\n>none\n")
    (tmp_path / "b.fa").write_text(">NA\nNNNACGTTGCA\n>r1, with comma\nACGT\n")
    return [tmp_path / "a.fa", tmp_path / "b.fa"]


def test_files_are_classes(files):
    records = FastaClasses(files)
    expected = [
        Record("a.fa", "r1__ with comma", 0, "ACGT"),
        Record("b.fa", "NA", 1, "NNNACGTTGCA"),
        Record("b.fa", "r1__ with comma", 1, "ACGT"),
    ]
    assert list(records) == expected == list(records)  # again and again
    assert records.class_names == ("NEGATIVE", "POSITIVE")
    assert records.kind.name == "dna"
    assert records.skipped.to_numpy().tolist() == [["a.fa", "none", "empty record"]]


@pytest.mark.parametrize(
    ("names", "classes", "labels"),
    [
        (["x", "y"], ("x", "y"), [0, 1, 1]),
        ([1, 0], ("0", "1"), [1, 0, 0]),
        (["0", "3"], ("0", "1", "2", "3"), [0, 3, 3]),
    ],
)
def test_names_of_classes(files, names, classes, labels):
    records = FastaClasses(files, names)
    assert records.class_names == classes
    assert [record.label for record in records] == labels


def test_several_files_of_one_class(files):
    records = FastaClasses([*files, files[0]], ["x", "y", "x"])
    assert [record.label for record in records] == [0, 1, 1, 0]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["x"], r"1 labels \(x\) for 2 files, expected one each"),
        (["x", "x"], "all 2 files are of class 'x', expected 2 classes"),
    ],
)
def test_labels_that_do_not_match_files(files, names, expected):
    with pytest.raises(ValueError, match=expected):
        FastaClasses(files, names)


def test_an_empty_class_and_kinds_that_differ(files, tmp_path):
    (tmp_path / "empty.fa").write_text(">a\n>b\n")
    with pytest.raises(ValueError, match=r"empty\.fa: no record holds any letter"):
        FastaClasses([files[0], tmp_path / "empty.fa"])
    with pytest.raises(ValueError, match=r"empty\.fa: no letters in 2 records"):
        list(FastaClasses([files[0], tmp_path / "empty.fa"], kind="dna"))
    (tmp_path / "p.fa").write_text(">p\nMELTWRIKL\n")
    with pytest.raises(ValueError, match=r"a\.fa is dna, p\.fa is protein"):
        FastaClasses([files[0], tmp_path / "p.fa"])


# --- tables --------------------------------------------------------------------------------

ROWS = 'id,kind,text\n1,good,"a, b"\n2,bad,NA\n3,good,\n4,bad,null\n'


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.tsv"])
def test_rows_of_a_table(tmp_path, name, caplog):
    path = tmp_path / name
    text = ROWS.replace(",", "\t").replace("a\t b", "a, b") if name == "t.tsv" else ROWS
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    table = TextTable(path, "id", "kind", "text")
    assert table.class_names == ("bad", "good")
    assert [record[1:] for record in table] == [("1", 1, "a, b"), ("2", 0, "NA"), ("4", 0, "null")]
    assert table.skipped.to_numpy().tolist() == [[name, "3", "no content"]]
    assert "left out 1 rows: no content" in caplog.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "id,kin,text\n1,a,b\n",
            r"has no column 'kind'; did you mean 'kin'\?; found: id, kin, text",
        ),
        ("id,kind,text\n", "has no rows"),
        ("id,kind,text\n1,a,b\n2,a,c\n", "all rows have the label 'a'"),
        ("id,kind,text\n1,,b\n", r"line 2: no label in the column 'kind'"),
        ("id,kind,text\n1,a\n", r"line 2: 2 columns, expected 3"),
        ("", "has no column 'id'"),
    ],
)
def test_tables_that_are_refused(tmp_path, text, expected):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ValueError, match=expected):
        TextTable(tmp_path / "t.csv", "id", "kind", "text")


def test_a_table_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        TextTable(tmp_path / "t.csv", "id", "kind", "text")
