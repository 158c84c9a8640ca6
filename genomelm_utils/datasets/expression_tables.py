"""Expression tables of one line each: from one row per run to genes x tissues.

The published tables hold one RNA-seq run per row: what was sequenced (`Cultivar`, `organism_part`
and the like), then one column per gene. Every step that leaves genes out returns them beside the
table: columns line, gene_id, reason.

Shape suffixes: R runs, G genes, T tissues.
"""

import csv
import io
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from genomelm_utils.datasets.derive import read_content
from genomelm_utils.sequences.fasta import suggest

logger = logging.getLogger(__name__)

LINE_COLUMN, TISSUE_COLUMN = "Cultivar", "organism_part"
# Columns of the two generations of tables that describe a run; all others are genes.
# Source: released `01-gene-expression.py` and `04-process-genex-nam.py` of FloraBERT.
RUN_COLUMNS = (
    *(LINE_COLUMN, TISSUE_COLUMN),
    *("Run", "growth_condition", "Developmental_stage", "Age"),
)
# Source: released `04-process-genex-nam.py`.
RENAMED_TISSUES = {"shoot system": "shoot"}
# A gene below this in every tissue counts as a pseudogene. Source: the same file; Supplement of
# the FloraBERT preprint (Research Square rs-1927200/v1).
PSEUDOGENE_TPM = 1.0
NOT_MEASURED = ("", "NA", "NaN", "nan")
_SHOWN = 5  # names in a log line


@dataclass(frozen=True)
class RunTable:
    """Expression of every gene in every run, as a file has it.

    runs: one row per run, at least the columns LINE_COLUMN and TISSUE_COLUMN. genes: names, in the
    order of the columns. values_RG: float64[R, G], NaN where the field is empty or NA. source:
    where it comes from, for messages.
    """

    runs: pd.DataFrame
    genes: tuple[str, ...]
    values_RG: np.ndarray
    source: str


@dataclass(frozen=True)
class TissueTable:
    """Expression of the genes of one line per tissue: values_GT float64[G, T], NaN not measured.

    n_runs_T: runs behind every tissue, int64[T].
    """

    line: str
    genes: tuple[str, ...]
    tissues: tuple[str, ...]
    values_GT: np.ndarray
    n_runs_T: np.ndarray
    source: str

    def take_genes(self, kept_G: np.ndarray) -> "TissueTable":
        """The genes where the mask is true, or those in these rows."""
        genes = tuple(np.array(self.genes, dtype=object)[kept_G])
        return replace(self, genes=genes, values_GT=self.values_GT[kept_G])

    def skipped(self, lost_G: np.ndarray, reason: Sequence[str] | str) -> pd.DataFrame:
        """Rows line, gene_id, reason for the genes where the mask is true; counted in the log."""
        names = np.array(self.genes, dtype=object)[lost_G]
        reasons = np.broadcast_to(np.asarray(reason, dtype=object), len(self.genes))[lost_G]
        rows = pd.DataFrame({"line": self.line, "gene_id": names, "reason": reasons})
        if len(rows):
            shown = "; ".join(f"{r.gene_id} ({r.reason})" for r in rows.head(_SHOWN).itertuples())
            logger.warning("line %s: left out %d genes: %s", self.line, len(rows), shown)
        return rows.astype(object)


# --- reading -------------------------------------------------------------------------------


def read_runs(path: str | Path, *, line: str | None = None) -> RunTable:
    """A table with one run per row, tab- or comma-separated, plain or gzipped.

    Columns of RUN_COLUMNS describe the run, every other column is a gene. line: the line of a table
    without a column `Cultivar`. Empty fields and NA are values not measured.

    Raises FileNotFoundError, or ValueError naming the file and line for: no tissue column; no line;
    a gene that has two columns; a row of another length; a field that is no finite number; no run.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, expected a table with one run per row")
    text = read_content(path).decode("utf-8")
    delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
    header, *rows = csv.reader(io.StringIO(text), delimiter=delimiter)
    rows = [(number, row) for number, row in enumerate(rows, start=2) if row]
    _check_header(path, header, rows)
    is_run = np.array([name in RUN_COLUMNS for name in header])
    run_columns = np.flatnonzero(is_run).tolist()
    runs = pd.DataFrame({header[i]: [row[i] for _, row in rows] for i in run_columns})
    if LINE_COLUMN not in runs:
        if line is None:
            raise ValueError(
                f"{path}: no column {LINE_COLUMN!r} and no line given; name the line of this table"
            )
        runs[LINE_COLUMN] = line
    genes = [name for name, run in zip(header, is_run, strict=True) if not run]
    gene_columns = np.flatnonzero(~is_run).tolist()
    values_RG = np.array(
        [_to_numbers([row[i] for i in gene_columns], genes, path, number) for number, row in rows]
    )
    return RunTable(runs, tuple(genes), values_RG, str(path))


def _check_header(path: Path, header: list[str], rows: list[tuple[int, list[str]]]) -> None:
    if TISSUE_COLUMN not in header:
        raise ValueError(
            f"{path}: no column {TISSUE_COLUMN!r}{suggest(TISSUE_COLUMN, header[:20])}; the first "
            f"columns are {', '.join(header[:5])}"
        )
    doubled = pd.Series(header).loc[lambda names: names.duplicated()].unique()
    if len(doubled):
        raise ValueError(
            f"{path}: {len(doubled)} columns stand twice, such as {doubled[0]!r}: two values for "
            "one gene; keep one of them"
        )
    if not rows or len(header) == sum(name in RUN_COLUMNS for name in header):
        raise ValueError(f"{path}: {len(rows)} runs of {len(header)} columns, expected runs, genes")
    for number, row in rows:
        if len(row) != len(header):
            raise ValueError(
                f"{path}, line {number}: {len(row)} fields, expected {len(header)} as in the header"
            )


def _to_numbers(fields: list[str], genes: list[str], path: Path, number: int) -> np.ndarray:
    """float64[G] of the fields of one line; NaN where nothing was measured."""
    filled = ["nan" if field.strip() in NOT_MEASURED else field for field in fields]
    try:
        values = np.array(filled, dtype=np.float64)
    except ValueError:
        values = np.array([])
    if len(values) and not np.isinf(values).any():
        return values
    for gene, field in zip(genes, filled, strict=True):
        try:
            finite = not np.isinf(float(field))
        except ValueError:
            finite = False
        if not finite:
            raise ValueError(
                f"{path}, line {number}: {field!r} for gene {gene}, expected a number, or an empty "
                "field where nothing was measured"
            )
    raise AssertionError("some field is no number")


# --- runs to tissues -----------------------------------------------------------------------


def mean_of_replicates(
    table: RunTable, *, renamed: Mapping[str, str] = RENAMED_TISSUES
) -> list[TissueTable]:
    """One table per line: the mean over the runs of each tissue, tissues in alphabetical order.

    renamed: tissue in the file -> tissue; two names that become one are averaged together. The mean
    is over the runs in which a gene was measured. Raises ValueError for a run without line or
    tissue.
    """
    runs = table.runs
    for column in (LINE_COLUMN, TISSUE_COLUMN):
        empty = np.flatnonzero(runs[column].str.strip() == "")
        if len(empty):
            raise ValueError(f"{table.source}: run {empty[0] + 1} has an empty {column}")
    tissue_R = runs[TISSUE_COLUMN].str.strip().replace(dict(renamed)).to_numpy(dtype=str)
    line_R = runs[LINE_COLUMN].str.strip().to_numpy(dtype=str)
    found = []
    for line in dict.fromkeys(line_R.tolist()):
        rows = np.flatnonzero(line_R == line)
        tissues, tissue_of_run = np.unique(tissue_R[rows], return_inverse=True)
        values_TG = np.stack(
            [_mean(table.values_RG[rows[tissue_of_run == t]]) for t in range(len(tissues))]
        )
        n_runs_T = np.bincount(tissue_of_run, minlength=len(tissues))
        found.append(
            TissueTable(
                line, table.genes, tuple(tissues.tolist()), values_TG.T, n_runs_T, table.source
            )
        )
    return found


def _mean(values_RG: np.ndarray) -> np.ndarray:
    """The mean of the measured values of every gene, NaN where there is none."""
    n_G = np.count_nonzero(~np.isnan(values_RG), axis=0)
    sums_G = np.nansum(values_RG, axis=0)
    return np.divide(sums_G, n_G, out=np.full(len(n_G), np.nan), where=n_G > 0)


def drop_pseudogenes(
    table: TissueTable, *, threshold: float = PSEUDOGENE_TPM
) -> tuple[TissueTable, pd.DataFrame]:
    """Without genes below `threshold` in every tissue, and the genes left out.

    All tissues of the table are asked, also those that are not used later (as in the released
    code): choose tissues afterwards. A tissue in which a gene was not measured does not count; a
    gene that was measured in none is left out too, with that reason.
    """
    highest_G = np.where(np.isnan(table.values_GT), -np.inf, table.values_GT).max(axis=1)
    lost_G = ~(highest_G >= threshold)
    reasons = [
        "not measured in any tissue" if np.isinf(h) else f"highest {h:.4g}, below {threshold:g}"
        for h in highest_G.tolist()
    ]
    return table.take_genes(~lost_G), table.skipped(lost_G, reasons)


def count_steps(steps: Mapping[str, Sequence[TissueTable]]) -> pd.DataFrame:
    """Genes after each step: step, line, n_genes, n_tissues, share_of_first (of the line)."""
    rows = []
    for step, tables in steps.items():
        for table in tables:
            rows.append((step, table.line, len(table.genes), len(table.tissues)))
    counts = pd.DataFrame(rows, columns=["step", "line", "n_genes", "n_tissues"])
    first = counts.groupby("line")["n_genes"].transform("first")
    return counts.assign(share_of_first=counts["n_genes"] / first)
