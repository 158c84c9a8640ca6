"""Promoters joined with expression: missing tissues are masked or dropped, all losses named."""

import numpy as np
import pandas as pd
import pytest

from genomelm_utils.datasets.expression_join import join_promoters, read_promoters, tissue_coverage
from genomelm_utils.datasets.expression_tables import TissueTable

PROMOTERS = pd.DataFrame(
    {
        "gene_id": ["a1", "a2", "b1", "b9", "a4"],
        "sequence": ["acgt", "GGRG", "TTTT", "CCCC", ""],
        "gap_bp": pd.array([0, 3, None, 0, 0], "Int64"),
    }
)


def make_tables():
    """Line A has ear and root, line B root only; a3 and a4 have no promoter to use."""
    one = np.ones(2, dtype=np.int64)
    a = TissueTable(
        "A", ("a1", "a2", "a3", "a4"), ("ear", "root"), np.arange(8.0).reshape(4, 2), one, "A"
    )
    b = TissueTable("B", ("b1",), ("root",), np.array([[9.0]]), one[:1], "B")
    return [a, b]


def test_missing_tissues_are_masked(caplog):
    found, skipped = join_promoters(make_tables(), PROMOTERS, ["root", "ear"])
    assert found.genes["gene_id"].tolist() == ["a1", "a2", "b1"]
    assert found.genes["line"].tolist() == ["A", "A", "B"]
    assert found.genes["sequence"].tolist() == ["ACGT", "GGNG", "TTTT"]
    assert found.genes["gap_bp"].tolist()[:2] == [0, 3]
    np.testing.assert_array_equal(found.tpm_ST, [[1, 0], [3, 2], [9, np.nan]])
    assert set(map(tuple, skipped.to_numpy())) == {
        ("", "a4", "promoter without a base"),
        ("A", "a3", "no promoter"),
        ("A", "a4", "no promoter"),
        ("", "b9", "promoter without expression"),
    }
    assert "line B has no ear: not measured" in caplog.text
    assert "line A: left out 2 (no promoter), such as a3" in caplog.text


def test_the_reference_drops_a_line_that_lacks_a_tissue():
    found, skipped = join_promoters(make_tables(), PROMOTERS, ["root", "ear"], missing="reference")
    assert found.genes["line"].tolist() == ["A", "A"]
    assert ["B", "b1", "a tissue is missing"] in skipped.to_numpy().tolist()


def test_coverage_shows_what_is_missing():
    table = tissue_coverage(make_tables())
    assert table.to_numpy().tolist() == [
        ["A", "ear", 1],
        ["A", "root", 1],
        ["B", "ear", 0],
        ["B", "root", 1],
    ]


def test_promoters_are_read_from_fasta(tmp_path):
    (tmp_path / "p.fa").write_text(">a1::chr1:0-4(+)\nacgT\n>a2::chr1:9-9(-)\n>a3\nGG\n")
    table, skipped = read_promoters(tmp_path / "p.fa")
    assert table.to_numpy().tolist() == [["a1", "a1::chr1:0-4(+)", "ACGT"], ["a3", "a3", "GG"]]
    assert skipped["name"].tolist() == ["a2::chr1:9-9(-)"]
    found, _ = join_promoters(make_tables(), table, ["ear"])
    assert found.genes["name"].tolist() == ["a1::chr1:0-4(+)", "a3"]


@pytest.mark.parametrize(
    ("tables", "promoters", "tissues", "message"),
    [
        (make_tables(), PROMOTERS, ["roots"], "no line has tissue 'roots'; did you mean 'root'"),
        (make_tables()[:1] * 2, PROMOTERS, ["ear"], "line 'A' has two tables: two values for one"),
        (
            make_tables(),
            pd.concat([PROMOTERS, PROMOTERS]),
            ["ear"],
            "4 genes have two promoters, such as 'a1'",
        ),
        (
            make_tables(),
            PROMOTERS.assign(gene_id=list("vwxyz")),
            ["ear"],
            r"no gene of 5 is left: 5 have no promoter \(such as 'a1' against 'v'\)",
        ),
    ],
)
def test_joins_that_cannot_be_are_explained(tables, promoters, tissues, message):
    with pytest.raises(ValueError, match=message):
        join_promoters(tables, promoters, tissues)


def test_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="missing is 'mask', expected one of corrected, reference"):
        join_promoters(make_tables(), PROMOTERS, ["ear"], missing="mask")
