"""Token data sets: the same rows in every format, shuffled, read back; leaks counted."""

import csv
import json

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.datasets import token_files, token_sets
from genomelm_utils.datasets.class_records import Record
from genomelm_utils.datasets.split_plan import PARTS, Cut, plan_split
from genomelm_utils.datasets.token_files import FORMATS, TokenRows, TokenWriter
from genomelm_utils.datasets.token_reading import (
    add_token_strings,
    parse_numbers,
    parse_words,
    read_token_set,
)
from genomelm_utils.datasets.token_sets import create_token_set, find_leaks, iter_rows
from genomelm_utils.sequences.letters import Kind, reverse_complement_text

DNA = Kind("dna", "as asked")
TOKENS = ["<s>", "</s>", "<unk>", "<pad>", "<mask>", "A", "C", "G", "T"]
CLASSES = ("no", "yes")


def encode(texts):
    """One token per letter: A, C, G, T are 5..8, others 2."""
    ids = [TOKENS.index(letter) if letter in TOKENS else 2 for text in texts for letter in text]
    offsets = np.append(0, np.cumsum([len(text) for text in texts])).astype(np.int64)
    return np.array(ids, np.int32), offsets


@pytest.fixture
def records(rng):
    names = ['a "quoted" one', "NA", "null", "tab\tand __ comma", "ünïcode"]
    names += [f"r{i}" for i in range(5, 120)]
    texts = ["".join(rng.choice(list("ACGTN"), n)) for n in rng.integers(1, 60, len(names))]
    return [
        Record("f.fa", name, i % 2, text)
        for i, (name, text) in enumerate(zip(names, texts, strict=True))
    ]


def create(records, folder, cut=Cut(), plan=None, **options):  # noqa: B008 - frozen
    plan = plan or plan_split(
        records, DNA, cut, shares={"train": 0.6, "test": 0.2, "valid": 0.2}, seed=1
    )
    options = {"seed": 1} | options
    return create_token_set(records, DNA, CLASSES, encode, folder, plan, cut, **options)


def as_rows(found):
    rows = [found.row(i).tolist() for i in range(len(found))]
    return list(zip(found.names, found.features, found.labels.tolist(), rows, strict=True))


def path_of(folder, part, form):
    return folder / (part if form == "datasets" else f"{part}.{form}")


@pytest.mark.parametrize("strings", [False, True])
def test_every_format_holds_the_same_rows(records, tmp_path, strings):
    create(records, tmp_path / "set", Cut(20, True), tokens=TOKENS if strings else None)
    total = []
    for part in PARTS:
        found = [read_token_set(path_of(tmp_path / "set", part, form)) for form in FORMATS]
        rows = [as_rows(one) for one in found]
        assert rows[0] == rows[1] == rows[2] == rows[3]
        total += rows[0]
        for one in found:
            expected = [TOKENS[i] for i in one.ids.tolist()] if strings else []
            assert one.strings == expected
        named = [one.class_names for one, form in zip(found, FORMATS, strict=True)]
        assert named == [("0", "1"), ("0", "1"), CLASSES, CLASSES]
        assert (
            read_token_set(path_of(tmp_path / "set", part, "csv"), CLASSES).class_names == CLASSES
        )
    made = [
        (name, text, record.label, encode([text])[0].tolist())
        for record in records
        for name, text in Cut(20, True).rows(record, DNA)
    ]
    assert sorted(total) == sorted(made)


def test_columns_are_those_published(records, tmp_path):
    create(records, tmp_path / "set", tokens=TOKENS)
    expected = ["idx", "feature", "labels", "input_ids", "input_str"]
    expected += ["token_type_ids", "attention_mask"]
    with (tmp_path / "set" / "train.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == expected
    first = json.loads((tmp_path / "set" / "train.json").read_text().splitlines()[0])
    assert list(first) == expected
    assert rows[1][0] == first["idx"] and rows[1][2] == str(first["labels"])
    assert rows[1][3] == "[" + " ".join(map(str, first["input_ids"])) + "]"
    assert rows[1][4] == "[" + " ".join(f"'{one}'" for one in first["input_str"]) + "]"
    assert set(first["token_type_ids"]) == {0} and set(first["attention_mask"]) == {1}
    assert len(first["attention_mask"]) == len(first["input_ids"])


def test_datasets_sees_classes_and_types(records, tmp_path):
    datasets = pytest.importorskip("datasets")
    create(records, tmp_path / "set")
    for found in (
        datasets.load_from_disk(str(tmp_path / "set" / "train")),
        datasets.Dataset.from_parquet(
            str(tmp_path / "set" / "train.parquet"), cache_dir=str(tmp_path / "cache")
        ),
    ):
        assert found.features["labels"].names == list(CLASSES)
        assert found.features["input_ids"].feature.dtype == "int32"
        assert found.features["attention_mask"].feature.dtype == "int8"


def test_rows_are_shuffled_by_the_seed_alone(records, tmp_path, monkeypatch):
    orders = {}
    for name, options in (
        ("a", {}),
        ("again", {}),
        ("other", {"seed": 2}),
        ("in order", {"shuffle": False}),
    ):
        create(records, tmp_path / name, formats=["csv"], **options)
        orders[name] = read_token_set(tmp_path / name / "train.csv").names
    assert orders["a"] == orders["again"] != orders["other"]
    place = {record.name: i for i, record in enumerate(records)}
    assert orders["in order"] == sorted(orders["a"], key=place.get) != orders["a"]
    # many small buckets, and blocks of few rows: the same rows, each once
    monkeypatch.setattr(token_sets, "_BUCKET_BYTES", 2000)
    monkeypatch.setattr(token_sets, "_BLOCK_LETTERS", 100)
    monkeypatch.setattr(token_files, "_BATCH_ROWS", 3)
    create(records, tmp_path / "buckets")
    for form in FORMATS:
        found = read_token_set(path_of(tmp_path / "buckets", "train", form))
        assert sorted(found.names) == sorted(orders["a"])
        assert found.names not in orders.values()
        assert encode(found.features)[0].tolist() == found.ids.tolist()


def test_an_empty_part_has_files_without_rows(records, tmp_path):
    plan = plan_split(records, DNA, Cut(), shares={"train": 1.0}, seed=1)
    created = create(records, tmp_path / "set", plan=plan)
    assert created.counts["n_rows"].tolist() == [60, 60, 0, 0, 0, 0]
    for form in FORMATS:
        if form != "json":
            assert len(read_token_set(path_of(tmp_path / "set", "test", form))) == 0
    assert (tmp_path / "set" / "test.json").read_text() == ""
    datasets = pytest.importorskip("datasets")
    found = datasets.load_from_disk(str(tmp_path / "set" / "test"))
    assert (len(found), found.features["labels"].names) == (0, list(CLASSES))


def test_where_every_record_went_and_what_was_trained_on(tmp_path, rng):
    texts = ["".join(rng.choice(list("ACGT"), 30)) for _ in range(200)]
    records = [Record("f.fa", f"r{i}", i % 2, text) for i, text in enumerate(texts)]
    cut = Cut(None, True)
    for split, leaked in (("corrected", False), ("reference", True)):
        plan = plan_split(records, DNA, cut, split=split, seed=1)
        created = create(records, tmp_path / split, cut, plan)
        leaks = pd.read_csv(tmp_path / split / "leaks.tsv", sep="\t")
        assert leaks.equals(created.leaks)
        assert (leaks["n_either_strand"] > 0).all() == leaked
        assert leaks["n_same"].tolist() == [0, 0]
        train, test = (read_token_set(tmp_path / split / f"{p}.csv") for p in ("train", "test"))
        seen = set(train.features) | {reverse_complement_text(one) for one in train.features}
        assert sum(one in seen for one in test.features) == leaks.loc[0, "n_either_strand"]
        table = pd.read_csv(tmp_path / split / "records.tsv", sep="\t")
        assert table["name"].tolist() == [record.name for record in records]
        if not leaked:
            part_of = dict(zip(table["name"], table["part"], strict=True))
            assert {part_of[name.removesuffix("__RC")] for name in test.names} == {"test"}


def test_leaks_by_hand():
    same, strand = np.array([1, 2, 1, 3, 4, 5]), np.array([1, 2, 1, 2, 4, 1])
    found = find_leaks(same, strand, np.array([0, 0, 1, 1, 2, 2]))
    assert found.to_numpy().tolist() == [["test", 2, 1, 2], ["valid", 2, 0, 1]]


def test_what_is_refused(records, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    with pytest.raises(ValueError, match="is there and not empty"):
        create(records, tmp_path / "full")
    with pytest.raises(ValueError, match="formats are hdf5, expected some of: csv"):
        create(records, tmp_path / "set", formats=["hdf5"])
    plan = plan_split(records[:-1], DNA, Cut(), seed=1)
    for some in (records, records[:50]):
        with pytest.raises(ValueError, match="plan and write the same"):
            create(some, tmp_path / "set", plan=plan)
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_blocks_do_not_change_rows(records, monkeypatch):
    whole = list(iter_rows(records, DNA, Cut(7, True), encode))
    monkeypatch.setattr(token_sets, "_BLOCK_LETTERS", 50)
    blocks = list(iter_rows(records, DNA, Cut(7, True), encode))
    assert len(whole) == 1 and len(blocks) > 20
    assert [name for one in blocks for name in one.names] == list(whole[0].names)
    assert np.concatenate([one.ids for one in blocks]).tolist() == whole[0].ids.tolist()


def test_rows_are_taken():
    rows = TokenRows(["a", "b", "c"], ["A", "", "CG"], np.arange(3), *encode(["A", "", "CG"]))
    some = rows.take(np.array([2, 0, 1]))
    assert (some.names, some.features, some.labels.tolist()) == (
        ["c", "a", "b"],
        ["CG", "A", ""],
        [2, 0, 1],
    )
    assert (some.ids.tolist(), some.offsets.tolist()) == ([6, 7, 5], [0, 2, 3, 3])


# --- the formats of genomeNLP --------------------------------------------------------------

DATASET_CSV = """idx,feature,labels,input_ids,token_type_ids,attention_mask
"a, b",AACC,1,"[  815   175
 13916]",[0 0 0],[1 1 1]
NA,NA,0,[5],[0],[1]
"""
KMER_CSV = """,idx,feature,labels,input_ids,input_str,token_type_ids,attention_mask
0,r1,ACGT,promoter.fa,[0 1],['ACG' 'CGT'],[0 0],[1 1]
1,r1__RC,ACGT,other.fa,[0 1],['ACG' 'CGT'],[0 0],[1 1]
"""


def test_both_published_formats(tmp_path):
    (tmp_path / "d.csv").write_text(DATASET_CSV)
    found = read_token_set(tmp_path / "d.csv", ("NEGATIVE", "POSITIVE"))
    assert as_rows(found) == [("a, b", "AACC", 1, [815, 175, 13916]), ("NA", "NA", 0, [5])]
    assert found.class_counts.tolist() == [1, 1]
    (tmp_path / "k.csv").write_text(KMER_CSV)
    found = read_token_set(tmp_path / "k.csv")
    assert found.class_names == ("other.fa", "promoter.fa")
    assert found.labels.tolist() == [1, 0]
    assert found.strings == ["ACG", "CGT"] * 2
    assert found.n_tokens.tolist() == [2, 2]


def test_the_counter_of_kmerise(tmp_path):
    rows = TokenRows(["a", "b"], ["AC", "G"], np.array([1, 0]), *encode(["AC", "G"]))
    writer = TokenWriter(tmp_path, "k", CLASSES, formats=["csv"], tokens=TOKENS, counter=True)
    writer.write(rows)
    writer.close()
    text = (tmp_path / "k.csv").read_text().splitlines()
    assert next(csv.reader(text)) == next(csv.reader(KMER_CSV.splitlines()))
    assert [line.split(",")[0] for line in text[1:]] == ["0", "1"]
    assert as_rows(read_token_set(tmp_path / "k.csv")) == [
        ("a", "AC", 1, [5, 6]),
        ("b", "G", 0, [7]),
    ]


@pytest.mark.parametrize(
    ("cell", "values"),
    [("[1 2]", [1, 2]), ("[  1,\n 2]", [1, 2]), ("[]", []), ("[12]", [12])],
)
def test_lists_as_they_are_printed(cell, values):
    found, offsets = parse_numbers([cell, "[7]"], "here")
    assert (found.tolist(), offsets.tolist()) == ([*values, 7], [0, len(values), len(values) + 1])


def test_words_as_they_are_printed():
    assert parse_words("['AC' 'GT']") == parse_words("['AC', \"GT\"]") == ["AC", "GT"]


def test_token_strings_beside_ids(tmp_path):
    (tmp_path / "d.csv").write_text(DATASET_CSV.replace("13916", "6").replace("815   175", "5 8"))
    out = tmp_path / "new" / "d.csv"
    assert add_token_strings(tmp_path / "d.csv", out, TOKENS) == 2
    found = read_token_set(out)
    assert found.strings == ["A", "T", "C", "A"]
    assert read_token_set(tmp_path / "d.csv").ids.tolist() == found.ids.tolist()
    with pytest.raises(ValueError, match="row 1: id 8, but the tokenizer has 6 tokens"):
        add_token_strings(tmp_path / "d.csv", out, TOKENS[:6])
    with pytest.raises(ValueError, match="is the input itself"):
        add_token_strings(out, out, TOKENS)
    with pytest.raises(FileNotFoundError):
        add_token_strings(tmp_path / "none.csv", out, TOKENS)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.csv", DATASET_CSV.replace("815   175", "815 ... 175"), "was cut when it was printed"),
        ("a.csv", DATASET_CSV.replace("815", "x"), "no whole numbers"),
        ("a.csv", DATASET_CSV.replace("labels", "label"), r"'labels'; did you mean 'label'\?"),
        ("a.csv", KMER_CSV.replace("'CGT'", "", 1), "3 token strings for 4 ids"),
        ("a.json", "", "no rows"),
        ("a.json", "{\n", "line 1: no JSON object"),
        ("a.txt", "", "expected a name in .csv, .json, .parquet"),
    ],
)
def test_files_that_cannot_be_read(tmp_path, name, text, expected):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=expected):
        read_token_set(tmp_path / name)


def test_labels_that_are_no_class(tmp_path):
    (tmp_path / "d.csv").write_text(DATASET_CSV)
    with pytest.raises(ValueError, match="found the label 1, expected 0 to 0"):
        read_token_set(tmp_path / "d.csv", ["only"])
    (tmp_path / "k.csv").write_text(KMER_CSV)
    with pytest.raises(ValueError, match=r"label 'promoter\.fa' is none of: a, b"):
        read_token_set(tmp_path / "k.csv", ["a", "b"])
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        read_token_set(tmp_path / "none.csv")
    with pytest.raises(ValueError, match="no folder of a data set"):
        read_token_set(tmp_path)
