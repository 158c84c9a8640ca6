"""Promoters and expression of lines of one's own: FASTA files and TPM tables in one folder.

    promoters/  one FASTA per genome, TSS at the right end, names GENE or GENE::PLACE (what
                `python -m genomelm_utils.promoters` writes; its table of genes beside, if any, says
                how far from the TSS a promoter ends)
    tpm/        one table per line, see `expression_tables.read_runs`

Shape suffixes: G genes, T tissues.
"""

import logging
import re
from pathlib import Path

import pandas as pd

from genomelm_utils.datasets.expression_join import join_promoters, read_promoters
from genomelm_utils.datasets.expression_set import ExpressionSet
from genomelm_utils.datasets.expression_tables import (
    TissueTable,
    drop_pseudogenes,
    mean_of_replicates,
    read_runs,
)

logger = logging.getLogger(__name__)

PROMOTERS, TABLES = "promoters", "tpm"
GENES = ".genes.tsv"  # of `python -m genomelm_utils.promoters`: name of the FASTA and this
_FASTA = re.compile(r"\.(fa|fna|fasta|fas)(\.gz)?$")
_TABLE = re.compile(r"\.(tsv|csv|txt)(\.gz)?$")


def read_own_tables(folder: str | Path) -> list[TissueTable]:
    """The expression of every line in `tpm/`: means over runs, all genes.

    A table without a column `Cultivar` is of the line that its file is called. Raises what
    `read_runs` and `mean_of_replicates` raise, FileNotFoundError without any table, and ValueError
    for a line in two files.
    """
    tables: list[TissueTable] = []
    for path in _files(Path(folder) / TABLES, _TABLE, "table of TPM"):
        tables += mean_of_replicates(read_runs(path, line=_TABLE.sub("", path.name)))
    lines = pd.Series([table.line for table in tables])
    doubled = lines[lines.duplicated()]
    if len(doubled):
        of = [table.source for table in tables if table.line == doubled.iloc[0]]
        raise ValueError(f"line {doubled.iloc[0]!r} stands in {' and '.join(of)}, expected in one")
    return tables


def read_own_set(folder: str | Path) -> tuple[ExpressionSet, pd.DataFrame]:
    """(the set of all lines, skipped genes: line, gene_id, reason).

    Genes below 1 TPM in every tissue of their line are left out, as pseudogenes, and genes that
    have a promoter or expression only. Tissues: all that any line has, in alphabetical order; what
    a line does not have is NaN. Promoters are upper-cased.

    Raises FileNotFoundError without FASTA files or tables, and what `read_promoters` and
    `join_promoters` raise.
    """
    kept, skipped = [], []
    for table in read_own_tables(folder):
        expressed, lost = drop_pseudogenes(table)
        kept.append(expressed)
        skipped.append(lost)
    files = _files(Path(folder) / PROMOTERS, _FASTA, "FASTA file of promoters")
    promoters = pd.concat([_read_with_gaps(path) for path in files], ignore_index=True)
    tissues = sorted({name for table in kept for name in table.tissues})
    # a promoter of a gene that was left out as a pseudogene is no surprise
    gone = pd.concat(skipped)["gene_id"]
    promoters = promoters[~promoters["gene_id"].isin(gone)].reset_index(drop=True)
    found, lost = join_promoters(kept, promoters, tissues)
    return found, pd.concat([*skipped, lost], ignore_index=True)


def _read_with_gaps(path: Path) -> pd.DataFrame:
    table, _ = read_promoters(path)
    genes = path.with_name(path.name + GENES)
    if not genes.is_file():
        return table.assign(gap_bp=pd.array([pd.NA] * len(table), "Int64"))
    gaps = pd.read_csv(genes, sep="\t").drop_duplicates("gene_id").set_index("gene_id")["gap_bp"]
    return table.assign(gap_bp=table["gene_id"].map(gaps).astype("Int64"))


def _files(folder: Path, pattern: re.Pattern, what: str) -> list[Path]:
    found = sorted(file for file in folder.glob("*") if pattern.search(file.name))
    found = [file for file in found if not file.name.endswith((GENES, ".skipped.tsv"))]
    if not found:
        raise FileNotFoundError(f"{folder} holds no {what}; see `datasets.expression_folder`")
    return found
