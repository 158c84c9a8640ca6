"""Readers of published sets: known counts and values, and what a damaged file says."""

import gzip
import shutil

import numpy as np
import pytest

from genomelm_utils.datasets.maize import (
    NAM_TISSUES,
    check_nam_tables,
    read_b73_tpm,
    read_core_promoters,
    read_nam_metadata,
    read_nam_promoters,
)
from genomelm_utils.datasets.promoter_repeats import count_repeats

HEADER = "gene_id,gene_id_full,seq,fold," + ",".join(NAM_TISSUES) + "\n"
ZERO = "-9.965784"


@pytest.fixture
def nam_dir(data_dir):
    return data_dir / "expression" / "florabert_maize_nam"


@pytest.fixture
def core_dir(data_dir):
    return data_dir / "expression" / "plant_core_promoters"


def make_folder(tmp_path, rows):
    """A folder with a merged table of these (gene_id, seq, fold, first value) and two lines."""
    text = HEADER
    for gene, seq, fold, value in rows:
        text += f"{gene},{gene}::1:0-4(+),{seq},{fold},{value}," + ",".join([ZERO] * 7) + "\n"
    (tmp_path / "merged_seq_genex.csv.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "nam_metadata.csv").write_text(
        "subpopulation,cultivar,gene_prefix\nTropical,CML52,Zm00019ab\n"
    )
    return tmp_path


ROWS = [
    ("Zm00001eb1", "acgt", "test", "1.0"),
    ("Zm00019ab1", "GGGG", "train_4", "2.0"),
    ("Zm00019ab2", "GGGC", "train_0", "3.0"),
]


def test_values_are_turned_back_into_tpm(tmp_path):
    found, skipped = read_nam_promoters(make_folder(tmp_path, ROWS))
    np.testing.assert_allclose(found.tpm_ST[:, 0], [1.999, 3.999, 7.999], rtol=1e-5)
    assert (found.tpm_ST[:, 1:] == 0).all()
    assert found.genes["line"].tolist() == ["B73", "CML52", "CML52"]
    assert found.genes["part"].tolist() == ["test", "valid", "train"]
    assert found.genes["fold"].tolist() == ["test", "train_4", "train_0"]
    assert found.genes["sequence"][0] == "ACGT"
    assert len(skipped) == 0


def test_genes_of_no_known_line_are_skipped_by_name(tmp_path, caplog):
    rows = [*ROWS, ("Zm00099ab7", "ACGT", "test", "1.0"), ("Zm00019ab3", "", "test", "1.0")]
    found, skipped = read_nam_promoters(make_folder(tmp_path, rows))
    assert len(found) == 3
    assert skipped.to_numpy().tolist() == [
        ["Zm00099ab7", "prefix of no known line"],
        ["Zm00019ab3", "promoter without a base"],
    ]
    assert "left out 2 genes, such as Zm00099ab7" in caplog.text


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("Zm00019ab3", "ACGT", "test", "high"), "line 5: 'high' in column 'tassel', expected a n"),
        (("Zm00019ab3", "ACGT", "dev", "1.0"), "line 5: fold 'dev', expected one of train_0"),
        (
            ("Zm00019ab3", "ACGT", "test", "-11"),
            "values stand on the scale unknown .*expected log2",
        ),
    ],
)
def test_damaged_tables_are_explained(tmp_path, row, message):
    with pytest.raises(ValueError, match=message):
        read_nam_promoters(make_folder(tmp_path, [*ROWS, row]))


def test_missing_files_and_columns(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file, expected columns gene_id"):
        read_nam_promoters(tmp_path)
    (tmp_path / "nam_metadata.csv").write_text("cultivar,gene_prefix\n")
    with pytest.raises(ValueError, match="no column subpopulation, found cultivar, gene_prefix"):
        read_nam_metadata(tmp_path)
    (tmp_path / "nam_metadata.csv").write_text(
        "subpopulation,cultivar,gene_prefix\na,b,Zm00019ab\nc,d,Zm00019ab\n"
    )
    with pytest.raises(ValueError, match="prefix 'Zm00019ab' names two lines"):
        read_nam_metadata(tmp_path)
    with pytest.raises(ValueError, match="table is 'maize', expected one of maize_23_tissues"):
        read_core_promoters(tmp_path, "maize")


# --- the real files -------------------------------------------------------------------------------


def test_the_promoters_of_the_nam_lines(nam_dir, tmp_path):
    found, skipped = read_nam_promoters(nam_dir)
    assert (found.tpm_ST.shape, len(skipped)) == ((1857, 8), 0)
    assert found.genes["line"].nunique() == 26
    assert (found.genes["line"] == "B73").sum() == 66
    parts = found.genes["part"].value_counts().to_dict()
    assert parts == {"train": 1143, "test": 453, "valid": 261}
    assert np.mean(found.tpm_ST == 0) == pytest.approx(0.2082, abs=1e-4)
    # the filter of 1 on log2 values left genes of 2 TPM and more
    assert found.tpm_ST.max(axis=1).min() == pytest.approx(1.999, abs=1e-3)
    assert found.lengths_bp.max() == 1000
    repeats = count_repeats(found)
    assert (repeats["n_promoters"], repeats["n_distinct"]) == (1857, 1612)
    tables = check_nam_tables(nam_dir)
    assert (tables["n_equal"] == tables["n_rows"]).all()
    assert tables["n_rows"].tolist() == [1143, 261, 453]


def test_metadata_and_the_wide_table(nam_dir, tmp_path):
    metadata = read_nam_metadata(nam_dir)
    assert len(metadata) == 26
    assert metadata["cultivar"][0] == "B73"
    folder = tmp_path / "nam"
    folder.mkdir()
    shutil.copy(nam_dir / "B73_TPM.tsv.gz", folder)
    assert read_b73_tpm(folder).values_RG.shape == (10, 39_756)


@pytest.mark.parametrize(
    ("table", "n_rows", "n_tissues", "unit"),
    [
        ("maize_23_tissues", 4775, 23, "FPKM"),
        ("sorghum_11_tissues", 4127, 11, "FPKM"),
        ("leaf_protoplast", 14_026, 2, "enrichment"),
    ],
)
def test_core_promoters(core_dir, table, n_rows, n_tissues, unit):
    found = read_core_promoters(core_dir, table)
    assert found.tpm_ST.shape == (n_rows, n_tissues)
    assert found.unit == unit
    assert (found.lengths_bp == 170).all()
    assert (found.genes["gap_bp"] == -5).all()
    if unit == "FPKM":
        assert not np.isnan(found.tpm_ST).any()
        # reported values start at 0.1, which is why an empty field is 0
        assert found.tpm_ST[found.tpm_ST > 0].min() == pytest.approx(0.1)
        assert found.tpm_ST.max(axis=1).min() > 0
        assert found.genes["assay_leaf"].isna().any()
    else:
        assert (~np.isnan(found.tpm_ST)).all(axis=1).sum() == 723
        assert set(found.genes["line"]) == {
            "Arabidopsis thaliana",
            "Zea mays",
            "Sorghum bicolor",
        }
