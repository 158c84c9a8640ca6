"""One's own folder of promoters and TPM tables: what is joined, what is left out and why."""

import numpy as np
import pytest

from genomelm_utils.datasets.expression_folder import read_own_set, read_own_tables
from genomelm_utils.datasets.prepare_expression import prepare_expression

PROMOTERS = (
    ">g1::chr1:0-8(+)\nacgtACGT\n>g2::chr1:20-28(-)\nTTTTACGT\n>g3\nGGGGACGT\n>g9\nACACACAC\n"
)
B73 = (
    "Cultivar\torganism_part\tg1\tg2\tg3\tg4\n"
    "B73\troot\t4\t0.5\t2\t7\nB73\troot\t6\t0.7\t2\t7\nB73\tleaf\t1\t0.9\t0\t7\n"
)
OH43 = "organism_part,h1\nleaf,3\nshoot system,5\n"


@pytest.fixture
def folder(tmp_path):
    for name in ("promoters", "tpm"):
        (tmp_path / name).mkdir()
    (tmp_path / "promoters" / "b73.fa").write_text(PROMOTERS)
    (tmp_path / "promoters" / "b73.fa.genes.tsv").write_text("gene_id\tgap_bp\ng1\t0\ng3\t12\n")
    (tmp_path / "promoters" / "oh43.fa").write_text(">h1\nCCCCACGT\n")
    (tmp_path / "tpm" / "B73.tsv").write_text(B73)
    (tmp_path / "tpm" / "Oh43.csv").write_text(OH43)
    return tmp_path


def test_lines_are_joined_and_what_is_left_out_is_named(folder):
    found, skipped = read_own_set(folder)
    assert found.tissues == ("leaf", "root", "shoot")
    assert found.genes[["gene_id", "line"]].to_numpy().tolist() == [
        ["g1", "B73"], ["g3", "B73"], ["h1", "Oh43"],
    ]  # fmt: skip
    assert found.genes["sequence"].tolist()[0] == "ACGTACGT"
    assert found.genes["gap_bp"].astype(object).tolist()[:2] == [0, 12]
    assert found.genes["gap_bp"].isna().tolist() == [False, False, True]
    expected = [[1, 5, np.nan], [0, 2, np.nan], [3, np.nan, 5]]
    assert np.allclose(found.tpm_ST, expected, equal_nan=True)
    reasons = dict(zip(skipped["gene_id"], skipped["reason"], strict=True))
    assert reasons == {
        "g2": "highest 0.9, below 1", "g4": "no promoter", "g9": "promoter without expression",
    }  # fmt: skip


def test_a_line_in_two_files_and_missing_files_are_errors(folder):
    (folder / "tpm" / "again.tsv").write_text(B73)
    with pytest.raises(ValueError, match=r"line 'B73' stands in .*B73.tsv and .*again.tsv"):
        read_own_tables(folder)
    for file in (folder / "tpm").iterdir():
        file.unlink()
    with pytest.raises(FileNotFoundError, match="tpm holds no table of TPM"):
        read_own_set(folder)


def test_stage_01_makes_a_split_set_of_it(folder, tmp_path, rng):
    """Thirty genes without relatives; the tables as read are checked as whole samples."""
    names = [f"g{i}" for i in range(30)]
    texts = ["".join(rng.choice(list("ACGT"), size=120)) for _ in names]
    for file in (folder / "promoters").iterdir():
        file.unlink()
    records = (f">{name}\n{text}\n" for name, text in zip(names, texts, strict=True))
    (folder / "promoters" / "all.fa").write_text("".join(records))
    values = rng.gamma(1, 50, (2, 30)) + 2
    values *= 1e6 / values.sum(1, keepdims=True)
    pairs = zip("ab", values, strict=True)
    rows = ["\t".join(["B73", tissue, *map(str, row)]) for tissue, row in pairs]
    head = "\t".join(["Cultivar", "organism_part", *names])
    (folder / "tpm" / "B73.tsv").write_text("\n".join([head, *rows]) + "\n")
    (folder / "tpm" / "Oh43.csv").unlink()
    out = tmp_path / "out"
    out.mkdir()
    made = prepare_expression("own", out, folder, seed=1)
    assert set(made.promoters.genes["part"]) == {"train", "valid", "test"}
    whole = made.findings[made.findings["table"] == "all genes"]
    assert "sum" not in set(whole.loc[whole["verdict"] == "defect", "check"])
    with pytest.raises(ValueError, match="the files of this set name no parts"):
        prepare_expression("own", out, folder, seed=1, split="published")
