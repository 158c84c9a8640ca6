"""Published expression sets of plants as `ExpressionSet`s: FloraBERT's maize lines, core promoters.

Files lie in `expression/florabert_maize_nam` and `expression/plant_core_promoters` of the data
folder; every reader takes that one folder. Shape suffixes: S promoters, T tissues.
"""

import ast
import io
import logging
from pathlib import Path

import numpy as np
import pandas as pd

from genomelm_utils.datasets.derive import read_content
from genomelm_utils.datasets.expression_scale import invert_scale, recognise_scale
from genomelm_utils.datasets.expression_set import ExpressionSet, make_genes
from genomelm_utils.datasets.expression_tables import RunTable, TissueTable, read_runs
from genomelm_utils.datasets.species import read_tsv

logger = logging.getLogger(__name__)

NAM_TISSUES = ("tassel", "base", "anther", "middle", "ear", "shoot", "tip", "root")
NAM_COLUMNS = ("gene_id", "gene_id_full", "seq", "fold")
NAM_SCALE = "log2(x+0.001)"  # found by `recognise_scale`, and checked when the file is read
# Letters of a gene id that name its line. Source: released `evaluate.py` of FloraBERT.
PREFIX_LETTERS = 9
# The metadata lack B73 (its genes were skipped when lines were scored). Source: MaizeGDB,
# annotation Zm00001eb of Zm-B73-REFERENCE-NAM-5.0.
B73 = ("Stiff-stalk", "B73", "Zm00001eb")
FOLDS_OF_PART = {"train": ("train_0", "train_1", "train_2", "train_3"), "valid": ("train_4",)}
FOLDS_OF_PART["test"] = ("test",)

SPECIES = {"At": "Arabidopsis thaliana", "Zm": "Zea mays", "Sb": "Sorghum bicolor"}
# Columns that are no tissue of the two tables with expression of the gene.
CORE_COLUMNS = ("gene", "sequence", "assay_leaf", "assay_proto")
CORE_TABLES = {
    "maize_23_tissues": ("maize_23_tissues.tsv.gz", "Zm", 23),
    "sorghum_11_tissues": ("sorghum_11_tissues.tsv.gz", "Sb", 11),
    "leaf_protoplast": ("leaf_protoplast_joined.tsv.gz", "", 2),
}
# Core promoters reach from -165 to +5 of the annotated TSS: 5 bases past it.
# Source: Jores et al. 2021, Nature Plants 7:842.
CORE_GAP_BP = -5


def read_nam_metadata(folder: str | Path) -> pd.DataFrame:
    """The maize lines: columns subpopulation, cultivar, gene_prefix; B73, which the file lacks, is
    added first. Raises FileNotFoundError, or ValueError for a missing column or a prefix twice."""
    path = Path(folder) / "nam_metadata.csv"
    columns = ("subpopulation", "cultivar", "gene_prefix")
    table = _read_csv(path, columns)[list(columns)]
    if B73[2] not in table["gene_prefix"].to_numpy():
        table = pd.concat([pd.DataFrame([B73], columns=list(columns)), table], ignore_index=True)
    doubled = table.loc[table["gene_prefix"].duplicated(), "gene_prefix"]
    if len(doubled):
        raise ValueError(f"{path}: prefix {doubled.iloc[0]!r} names two lines")
    return table


def read_b73_tpm(folder: str | Path) -> RunTable:
    """TPM of all genes of B73 in ten organs, one run per row (see `read_runs`)."""
    return read_runs(Path(folder) / "B73_TPM.tsv.gz")


def read_nam_promoters(folder: str | Path) -> tuple[ExpressionSet, pd.DataFrame]:
    """1,857 promoters of 26 maize lines with TPM in eight organs; skipped rows (gene_id, reason).

    The file's values are log2(TPM + 0.001); they are turned back into TPM here, after a check that
    they do stand on that scale. The set is what was left by a filter of 1 on those logs: only genes
    with 2 TPM or more in some organ. part: of the folds given, train_0 to train_3 are `train`,
    train_4 `valid`, test `test`; further columns: name (with the place of the promoter), fold.
    lines: by the first nine letters of the gene id; genes of no known line are skipped, by name.
    gap_bp is unknown: the fragment nearest the TSS was kept, whether or not it touches it.

    Raises FileNotFoundError, or ValueError naming the file for missing columns, text in a number
    column, unknown folds and another scale.
    """
    folder = Path(folder)
    path = folder / "merged_seq_genex.csv.gz"
    table = _read_csv(path, (*NAM_COLUMNS, *NAM_TISSUES))
    values_ST = _to_numbers(table, NAM_TISSUES, path)
    scale, why = recognise_scale(values_ST)
    if scale != NAM_SCALE:
        raise ValueError(f"{path}: values stand on the scale {scale} ({why}), expected {NAM_SCALE}")
    part_of = {fold: part for part, folds in FOLDS_OF_PART.items() for fold in folds}
    unknown = table.loc[~table["fold"].isin(part_of), "fold"]
    if len(unknown):
        raise ValueError(
            f"{path}, line {unknown.index[0] + 2}: fold {unknown.iloc[0]!r}, expected one of "
            f"{', '.join(part_of)}"
        )
    metadata = read_nam_metadata(folder)
    line_of = dict(zip(metadata["gene_prefix"], metadata["cultivar"], strict=True))
    line_S = table["gene_id"].str[:PREFIX_LETTERS].map(line_of)
    lost = line_S.isna() | (table["seq"] == "")
    reason = np.where(line_S.isna(), "prefix of no known line", "promoter without a base")
    skipped = pd.DataFrame({"gene_id": table["gene_id"][lost], "reason": reason[lost]})
    if lost.any():
        logger.warning("%s: left out %d genes, such as %s", path, lost.sum(), skipped.iloc[0, 0])
    genes = make_genes(
        table["gene_id"][~lost].to_numpy(),
        line_S[~lost].to_numpy(),
        table["seq"][~lost].to_numpy(),
        part=table["fold"][~lost].map(part_of).to_numpy(),
    )
    genes["name"] = table["gene_id_full"][~lost].to_numpy()
    genes["fold"] = table["fold"][~lost].to_numpy()
    tpm_ST = invert_scale(values_ST[~lost], NAM_SCALE).astype(np.float32)
    found = ExpressionSet(genes, NAM_TISSUES, tpm_ST, "TPM")
    return found, skipped.reset_index(drop=True).astype(object)


def read_nam_tables(folder: str | Path) -> list[TissueTable]:
    """The values of the maize promoters as the file has them (logs), one table per line.

    For checks of quality: `read_nam_promoters` undoes the logs. Genes of no known line are left out
    (it names them). Raises as it does.
    """
    folder = Path(folder)
    path = folder / "merged_seq_genex.csv.gz"
    table = _read_csv(path, (*NAM_COLUMNS, *NAM_TISSUES))
    values_ST = _to_numbers(table, NAM_TISSUES, path)
    metadata = read_nam_metadata(folder)
    line_of = dict(zip(metadata["gene_prefix"], metadata["cultivar"], strict=True))
    line_S = table["gene_id"].str[:PREFIX_LETTERS].map(line_of)
    n_runs_T = np.zeros(len(NAM_TISSUES), dtype=np.int64)  # not told by the file
    return [
        TissueTable(
            line, tuple(table["gene_id"].iloc[rows]), NAM_TISSUES, values_ST[rows], n_runs_T,
            str(path),
        )
        for line, rows in line_S.groupby(line_S, sort=False).indices.items()
    ]  # fmt: skip


def check_nam_tables(folder: str | Path) -> pd.DataFrame:
    """Are train, eval and test.tsv the rows of the merged table? Columns file, n_rows, n_expected,
    n_equal (rows in the same order with the same sequence and labels)."""
    folder = Path(folder)
    merged = _read_csv(folder / "merged_seq_genex.csv.gz", (*NAM_COLUMNS, *NAM_TISSUES))
    values_ST = merged[list(NAM_TISSUES)].astype(np.float64).to_numpy()
    rows = []
    for file, part in (("train", "train"), ("eval", "valid"), ("test", "test")):
        path = folder / f"{file}.tsv.gz"
        table = read_tsv(path, ("sequence", "labels"), "promoters with lists of labels")
        kept = merged["fold"].isin(FOLDS_OF_PART[part]).to_numpy()
        labels_ST = np.array([ast.literal_eval(text) for text in table["labels"]], dtype=float)
        n = min(len(table), int(kept.sum()))
        same = table["sequence"].to_numpy()[:n] == merged["seq"].to_numpy()[kept][:n]
        same = same & np.isclose(labels_ST[:n], values_ST[kept][:n]).all(axis=1)
        rows.append((path.name, len(table), int(kept.sum()), int(same.sum())))
    return pd.DataFrame(rows, columns=["file", "n_rows", "n_expected", "n_equal"])


def read_core_promoters(folder: str | Path, table: str) -> ExpressionSet:
    """170-bp core promoters of maize, sorghum or all plants, with one of three kinds of expression.

    table: `maize_23_tissues` (4,775 promoters) and `sorghum_11_tissues` (4,127): FPKM of the gene.
    The source reports values above 0 only, rounded to 0.1 or coarser, so an empty field is 0 here,
    not NaN: genes without any value are absent from it altogether, and a masked loss would learn
    from the expressed tissues alone. `leaf_protoplast` (14,026): activity of the promoter itself in
    tobacco leaves and maize protoplasts; the file has log2(RNA / DNA), the set the ratio (unit
    `enrichment`), and empty fields are NaN: most promoters were measured in one system only.

    line is the species; no row has a part yet. The sequences end 5 bases past the TSS
    (gap_bp -5). For the two tables with tissues, columns assay_leaf and assay_proto stay as they
    are (log2, NaN if not measured).

    Raises FileNotFoundError, or ValueError for an unknown table, missing columns, another number of
    tissues, or text in a number column.
    """
    if table not in CORE_TABLES:
        raise ValueError(f"table is {table!r}, expected one of {', '.join(CORE_TABLES)}")
    name, species, n_tissues = CORE_TABLES[table]
    path = Path(folder) / name
    if table == "leaf_protoplast":
        rows = read_tsv(path, ("sp", "gene", "sequence", "leaf", "proto"), "core promoters")
        tissues = ("leaf", "proto")
        values_ST = np.exp2(_to_numbers(rows, tissues, path))
        line = rows["sp"].map(SPECIES)
        unit = "enrichment"
    else:
        rows = read_tsv(path, CORE_COLUMNS, "core promoters")
        tissues = tuple(column for column in rows if column not in CORE_COLUMNS)
        if len(tissues) != n_tissues:
            raise ValueError(f"{path}: {len(tissues)} tissues, expected {n_tissues}")
        values_ST = np.nan_to_num(_to_numbers(rows, tissues, path), nan=0.0)
        line = SPECIES[species]
        unit = "FPKM"
    if isinstance(line, pd.Series) and line.isna().any():
        row = int(np.argmax(line.isna()))
        raise ValueError(
            f"{path}, line {row + 2}: species {rows['sp'][row]!r}, expected {', '.join(SPECIES)}"
        )
    genes = make_genes(
        rows["gene"], line, rows["sequence"], gap_bp=pd.array([CORE_GAP_BP] * len(rows), "Int64")
    )
    if unit == "FPKM":
        assays = ("assay_leaf", "assay_proto")
        measured = _to_numbers(rows, assays, path)
        genes = genes.assign(**dict(zip(assays, measured.T, strict=True)))
    return ExpressionSet(genes, tissues, values_ST.astype(np.float32), unit)


def _read_csv(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """A comma-separated table, all fields text, with these columns."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, expected columns {', '.join(columns)}")
    lines = read_content(path).decode("utf-8")
    table = pd.read_csv(io.StringIO(lines), dtype=str, keep_default_na=False)
    missing = [name for name in columns if name not in table]
    if missing:
        raise ValueError(
            f"{path}: no column {' and '.join(missing)}, found {', '.join(table.columns)}"
        )
    return table


def _to_numbers(table: pd.DataFrame, columns: tuple[str, ...], path: Path) -> np.ndarray:
    """float64[S, T] of these columns; empty fields are NaN, any other text is an error."""
    values = []
    for column in columns:
        numbers = pd.to_numeric(table[column], errors="coerce").to_numpy(dtype=np.float64)
        wrong = np.isnan(numbers) & (table[column].str.strip() != "").to_numpy()
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ValueError(
                f"{path}, line {row + 2}: {table[column][row]!r} in column {column!r}, expected a "
                "number"
            )
        values.append(numbers)
    return np.stack(values, axis=1)
