"""How deep each contig was sequenced in each sample, from the tables that mappers write.

Shapes: S contigs, N samples.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

METABAT = ("contigName", "contigLen", "totalAvgDepth")  # its first columns
VARIANCE = "-var"  # of a sample's depth along the contig, in the column after it
SHOWN = 5


class Coverage(NamedTuple):
    """Mean depth of contigs, float64 [S, N], with the names of contigs and samples."""

    contigs: list[str]
    samples: list[str]
    depth_SN: np.ndarray
    path: Path

    def of(self, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """(depths of those that are in the table, in the order of the names, [found, N]; which
        are, bool).

        Errors: ValueError when the table has none of the names.
        """
        row_of = {name: row for row, name in enumerate(self.contigs)}
        rows = np.array([row_of.get(name, -1) for name in names], dtype=np.int64)
        if not (rows >= 0).any():
            raise ValueError(
                f"{self.path} has none of the {len(names)} contigs: it names "
                f"{self.contigs[0]!r}, the sequences are named like {names[0]!r}"
            )
        return self.depth_SN[rows[rows >= 0]], rows >= 0


def read_coverage(path: str | Path) -> Coverage:
    """A depth file of MetaBAT2, or a table with a contig and one column of depths per sample.

    Both are tab-separated, plain or compressed, with a header. MetaBAT2's
    (`jgi_summarize_bam_contig_depths`) is known by its first three columns; lengths, totals and
    variances are not used.
    Errors: FileNotFoundError; ValueError naming line and column of what is no depth, for a contig
    that stands twice, and for a table without samples or without contigs.
    """
    path = Path(path)
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        raise FileNotFoundError(f"{path}: {what}, expected a table of coverage")
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, index_col=False)
    except ValueError as error:
        raise ValueError(f"{path} is no tab-separated table: {error}") from error
    columns = [str(name) for name in table.columns]
    first = METABAT if tuple(columns[:3]) == METABAT else columns[:1]
    samples = [name for name in columns[len(first) :] if not _is_variance(name, columns)]
    if not samples or not len(table):
        raise ValueError(
            f"{path}: found {len(table)} lines of the columns {', '.join(columns[:SHOWN])}; "
            "expected a header and tab-separated columns: a contig, then one depth per sample (or "
            "a depth file of MetaBAT2)"
        )
    if all(_is_number(name) for name in samples):
        raise ValueError(
            f"{path}: the first line holds depths, expected a header: names of samples"
        )
    contigs = table[columns[0]].str.strip()
    doubled = contigs[contigs.duplicated()]
    if len(doubled):
        raise ValueError(f"{path}: {doubled.iloc[0]!r} stands in more than one line")
    return Coverage(contigs.tolist(), samples, _read_depths(table[samples], path), path)


def _is_variance(name: str, columns: Sequence[str]) -> bool:
    return name.endswith(VARIANCE) and name.removesuffix(VARIANCE) in columns


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_depths(table: pd.DataFrame, path: Path) -> np.ndarray:
    depth_SN = table.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    bad = np.argwhere(~np.isfinite(depth_SN) | (depth_SN < 0))
    if len(bad):
        row, column = bad[0]
        raise ValueError(
            f"{path}: {len(bad)} depths are no numbers of 0 or more; the first is "
            f"{table.iat[row, column]!r} in line {row + 2}, column {table.columns[column]!r}"
        )
    return depth_SN
