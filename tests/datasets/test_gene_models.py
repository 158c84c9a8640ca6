"""Cross-references of gene models: lists taken apart, copies, merges left out by name."""

import numpy as np
import pytest

from genomelm_utils.datasets.expression_tables import TissueTable
from genomelm_utils.datasets.gene_models import read_gene_models, rename_genes


def read(tmp_path, text, name="models.tsv"):
    (tmp_path / name).write_text(text)
    return read_gene_models(tmp_path / name, from_column="v3", to_column="v4")


def test_lists_are_taken_apart_on_both_sides(tmp_path):
    text = "v4\tv3\nZ1\tG1\nZ2,Z3\tG2\nZ4\tG3, G4\nZ5\t\nNA\tG5\nZ1\tG1\n"
    pairs = read(tmp_path, text)
    assert sorted(map(tuple, pairs.to_numpy())) == [
        ("G1", "Z1"),
        ("G2", "Z2"),
        ("G2", "Z3"),
        ("G3", "Z4"),
        ("G4", "Z4"),
    ]
    quoted = read(tmp_path, 'v4,v3\n"Z2,Z3",G2\n', "models.csv")
    assert quoted["to_id"].tolist() == ["Z2", "Z3"]


def test_renamed_copied_merged_and_unknown_genes(tmp_path, caplog):
    pairs = read(tmp_path, "v4\tv3\nZ1\tG1\nZ2,Z3\tG2\nZ4\tG3,G4\nZ9\tG9\n")
    genes = ("G2", "G1", "G3", "G4", "G8")
    table = TissueTable("B73", genes, ("ear",), np.arange(5.0)[:, None], np.array([1]), "here")
    renamed, skipped = rename_genes(table, pairs)
    assert dict(zip(renamed.genes, renamed.values_GT[:, 0], strict=True)) == {
        "Z2": 0,
        "Z3": 0,
        "Z1": 1,
    }
    assert renamed.tissues == ("ear",)
    assert skipped.to_numpy().tolist() == [
        ["B73", "G8", "no id in the other annotation"],
        ["B73", "Z4", "two values: G3, G4"],
    ]
    assert "left out 1 ids with two values, such as Z4" in caplog.text


def test_one_of_the_merged_genes_alone_keeps_its_value(tmp_path):
    """Z4 was made of G3 and G4, but this table has G3 only: one value, no conflict."""
    pairs = read(tmp_path, "v4\tv3\nZ4\tG3,G4\n")
    table = TissueTable("B73", ("G3",), ("ear",), np.array([[7.0]]), np.array([1]), "here")
    renamed, skipped = rename_genes(table, pairs)
    assert (renamed.genes, len(skipped)) == (("Z4",), 0)


def test_bad_files_are_explained(tmp_path):
    with pytest.raises(ValueError, match=r"no column 'v3'.*found v4, v3_id"):
        read(tmp_path, "v4\tv3_id\nZ1\tG1\n")
    with pytest.raises(ValueError, match="no pair of ids in 'v3' and 'v4'"):
        read(tmp_path, "v4\tv3\nNA\tG1\n")
    with pytest.raises(FileNotFoundError, match="expected a table of gene models"):
        read_gene_models(tmp_path / "none.tsv", from_column="v3", to_column="v4")
