"""Read counts and gene lengths to TPM: the step before the published tables.

Shape suffixes: R runs (samples), G genes.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from genomelm_utils.datasets.derive import read_content
from genomelm_utils.datasets.expression_tables import LINE_COLUMN, TISSUE_COLUMN, RunTable

TPM_SUM = 1e6
# Source: the manual of featureCounts (Subread 2.0), columns of its output before the samples.
_COUNT_COLUMNS = ("Geneid", "Chr", "Start", "End", "Strand", "Length")


def counts_to_tpm(counts_RG: np.ndarray, length_bp_G: np.ndarray) -> np.ndarray:
    """Transcripts per million, float64[R, G]: (c / len) / sum(c / len) * 1e6 in every run.

    counts_RG: reads per gene, 0 or more. length_bp_G: bases of exon of every gene, above 0.
    Raises ValueError for counts or lengths outside of that, and for a run without any read.

    Source: Li & Dewey 2011, BMC Bioinformatics 12:323.
    """
    counts_RG = np.asarray(counts_RG, dtype=np.float64)
    length_bp_G = np.asarray(length_bp_G, dtype=np.float64)
    for what, wrong in (
        ("count", ~(counts_RG >= 0) | np.isinf(counts_RG)),
        ("length", ~(length_bp_G > 0) | np.isinf(length_bp_G)),
    ):
        if wrong.any():
            place = tuple(np.argwhere(wrong)[0].tolist())
            value = (counts_RG if what == "count" else length_bp_G)[place]
            bound = "0 or more" if what == "count" else "above 0"
            raise ValueError(f"{what} at {place} is {value}, expected a number of {bound}")
    rates_RG = counts_RG / length_bp_G
    sums_R = rates_RG.sum(axis=-1, keepdims=True)
    if (sums_R == 0).any():
        raise ValueError(f"run {int(np.argmax(sums_R == 0))} has no read at all; leave it out")
    return rates_RG / sums_R * TPM_SUM


def read_counts(path: str | Path, runs: pd.DataFrame) -> RunTable:
    """TPM of every run of a featureCounts table (plain or gzipped).

    runs: what the samples are: columns run (a sample column of the file), Cultivar, organism_part.
    Only these runs are read, in this order. A first line that begins with `#` is skipped, as
    featureCounts writes one.

    Raises FileNotFoundError, or ValueError naming the file for missing columns or runs, text in a
    number column, a gene twice, and what `counts_to_tpm` refuses.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, expected counts of featureCounts")
    lines = read_content(path).decode("utf-8").splitlines()
    n_comments = int(bool(lines) and lines[0].startswith("#"))
    rows = [line.split("\t") for line in lines[n_comments:]]
    header, rows = (rows[0], rows[1:]) if rows else ([], [])
    wanted = [*_COUNT_COLUMNS[:1], *_COUNT_COLUMNS[-1:], *runs["run"]]
    missing = [name for name in wanted if name not in header]
    if missing:
        raise ValueError(
            f"{path}: no column {missing[0]!r}; found {', '.join(header[:10])}; expected "
            f"{', '.join(_COUNT_COLUMNS)}, then one column per run"
        )
    for number, row in enumerate(rows, start=n_comments + 2):
        if len(row) != len(header):
            raise ValueError(f"{path}, line {number}: {len(row)} fields, expected {len(header)}")
    columns = [header.index(name) for name in wanted]
    genes, *numbers = zip(*[[row[i] for i in columns] for row in rows], strict=True)
    doubled = pd.Series(genes).loc[lambda names: names.duplicated()]
    if len(doubled):
        raise ValueError(f"{path}: gene {doubled.iloc[0]!r} stands twice: two values for one gene")
    values = [
        _to_numbers(column, name, path, n_comments + 2)
        for column, name in zip(numbers, wanted[1:], strict=True)
    ]
    tpm_RG = counts_to_tpm(np.array(values[1:]), values[0])
    described = runs.rename(columns={"run": "Run"})[["Run", LINE_COLUMN, TISSUE_COLUMN]]
    return RunTable(described.reset_index(drop=True), tuple(genes), tpm_RG, str(path))


def _to_numbers(fields: tuple[str, ...], column: str, path: Path, first_line: int) -> np.ndarray:
    values = pd.to_numeric(pd.Series(fields), errors="coerce").to_numpy(dtype=np.float64)
    if np.isnan(values).any():
        row = int(np.argmax(np.isnan(values)))
        raise ValueError(
            f"{path}, line {row + first_line}: {fields[row]!r} in column {column!r}, "
            "expected a number"
        )
    return values
