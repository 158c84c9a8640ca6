"""The expression set: what it refuses, what it selects, and what a folder gives back."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.datasets.expression_set import (
    GENE_COLUMNS,
    NO_CLUSTER,
    ExpressionSet,
    make_genes,
)


def make_set(**changes):
    """Four promoters of two lines, two tissues; one value is missing."""
    genes = make_genes(
        ["g1", "g2", "NA", "g1"],
        ["B73", "B73", "B73", "Mo17"],
        ["ACGT", "ACGTN", "GGGG", "acrt"],
        gap_bp=[0, None, -5, None],
        cluster=[0, 1, 2, 0],
        part=["train", "valid", "test", "train"],
    )
    tpm_ST = np.array([[0, 1.5], [2, np.nan], [3, 4], [5, 6]], dtype=np.float32)
    parts = {"genes": genes, "tissues": ("leaf", "root"), "tpm_ST": tpm_ST, "unit": "TPM"}
    return ExpressionSet(**(parts | changes))


def change(**columns):
    return make_set().genes.assign(**columns)


def test_make_genes_gives_the_agreed_columns_and_types():
    genes = make_set().genes
    assert tuple(genes.columns) == GENE_COLUMNS
    assert str(genes["gap_bp"].dtype) == "Int64"
    assert genes["gap_bp"].isna().tolist() == [False, True, False, True]
    assert genes["sequence"][3] == "ACNT"  # upper case; R is another letter than A, C, G, T
    plain = make_genes(["a"], "B73", ["ACGT"])
    assert plain["gap_bp"].isna().all()
    assert plain["cluster"].tolist() == [NO_CLUSTER]
    assert plain["part"].tolist() == [""]


def test_select_keeps_order_and_starts_the_index_again():
    train = make_set().select("train")
    assert len(train) == 2
    assert train.genes["line"].tolist() == ["B73", "Mo17"]
    assert train.genes.index.tolist() == [0, 1]
    np.testing.assert_array_equal(train.tpm_ST, [[0, 1.5], [5, 6]])


def test_take_by_rows_and_by_mask():
    whole = make_set()
    assert whole.take(np.array([3, 0])).genes["sequence"].tolist() == ["ACNT", "ACGT"]
    assert whole.take(np.array([False, True, False, False])).genes["gene_id"].tolist() == ["g2"]
    assert whole.lengths_bp.tolist() == [4, 5, 4, 4]


def test_select_tissues_in_the_order_given():
    found = make_set().select_tissues(["root", "leaf"])
    assert found.tissues == ("root", "leaf")
    np.testing.assert_array_equal(found.tpm_ST[0], [1.5, 0])
    with pytest.raises(
        ValueError, match=r"no tissue 'leef'.*mean 'leaf'.*tissues here: leaf, root"
    ):
        make_set().select_tissues(["leef"])


def test_with_columns_leaves_the_set_as_it_was():
    whole = make_set()
    moved = whole.with_columns({"part": "test", "fold": [1, 2, 3, 4]})
    assert len(moved.select("test")) == 4
    assert moved.genes["fold"].tolist() == [1, 2, 3, 4]
    assert whole.genes["part"].tolist() == ["train", "valid", "test", "train"]


def test_a_folder_gives_the_same_set_back(tmp_path):
    whole = make_set().with_columns({"fold": ["01", "", "x", "y"], "gc": [0.5, np.nan, 1, 0.5]})
    whole.save(tmp_path / "set")
    again = ExpressionSet.load(tmp_path / "set")
    pd.testing.assert_frame_equal(again.genes, whole.genes)
    np.testing.assert_array_equal(again.tpm_ST, whole.tpm_ST)
    assert (again.tissues, again.unit) == (whole.tissues, whole.unit)
    assert again.genes["gene_id"][2] == "NA"  # a name, not a missing value


def test_equal_sets_give_equal_bytes(tmp_path):
    for name in ("one", "two"):
        make_set().save(tmp_path / name)
    files = sorted(file.name for file in (tmp_path / "one").iterdir())
    assert files == ["genes.csv.gz", "set.json", "tpm.npy"]
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unit": "log2"}, "unit is 'log2', expected one of TPM, FPKM, enrichment, simulated"),
        ({"tissues": ("leaf", "leaf")}, "tissue 'leaf' stands twice"),
        ({"tissues": ()}, "expected a tuple of at least one name"),
        ({"genes": make_set().genes.drop(columns="cluster")}, "lack the column cluster"),
        ({"genes": change(sequence=["ACGT", "acgt", "A", "A"])}, r"row 1 \('g2' of line 'B73'\): "),
        ({"genes": change(sequence=["ACGT", "", "A", "A"])}, "row 1 .*: the sequence is empty"),
        ({"genes": change(sequence=["ACGT", None, "A", "A"])}, "sequence of row 1 .* is no text"),
        ({"genes": change(part="eval")}, "row 0 .*: part is none of train, valid, test"),
        ({"genes": change(line="B73")}, r"row 3 .*: the gene stands twice in its line \(1 such"),
        ({"genes": change(gap_bp=[1, 2, 3, 4])}, "gap_bp has type int64, expected Int64"),
        ({"genes": change(cluster=[0.5, 1, 2, 3])}, "cluster has type float64, expected whole"),
        ({"genes": make_set().genes.iloc[::-1]}, "an index of their own"),
        ({"tpm_ST": np.zeros((4, 2))}, r"tpm_ST is float64\[4, 2\], expected float32"),
        ({"tpm_ST": np.zeros((4, 3), np.float32)}, r"expected float32\[4 promoters, 2 tissues\]"),
        (
            {"tpm_ST": np.array([[0, 1], [1, -9.97], [0, 0], [0, 0]], np.float32)},
            "row 1 .*: -9.97.* in root, expected raw units of 0 or more.*on a log scale",
        ),
        ({"tpm_ST": np.full((4, 2), np.inf, np.float32)}, r"row 0 .*: inf in leaf.*8 such values"),
    ],
)
def test_what_breaks_a_rule_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make_set(**changes)


def test_parts_that_are_not_there_are_named():
    with pytest.raises(ValueError, match="part is 'eval', expected one of train, valid, test"):
        make_set().select("eval")
    with pytest.raises(
        ValueError, match=r"no promoter of 4 is in part 'test' .*split the set first"
    ):
        make_set(genes=change(part="train")).select("test")


def test_damaged_folders_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no set.json, expected a saved expression set"):
        ExpressionSet.load(tmp_path)
    make_set().save(tmp_path)
    (tmp_path / "genes.csv.gz").write_bytes(gzip.compress(b"gene_id\n"))
    with pytest.raises(ValueError, match=r"genes.csv.gz: missing or damaged"):
        ExpressionSet.load(tmp_path)
    make_set().save(tmp_path)
    info = json.loads((tmp_path / "set.json").read_text())
    (tmp_path / "set.json").write_text(json.dumps(info | {"format": 9}))
    with pytest.raises(ValueError, match="format 9, expected 1"):
        ExpressionSet.load(tmp_path)
