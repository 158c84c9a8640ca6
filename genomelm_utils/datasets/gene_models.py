"""Gene ids of one annotation in another: cross-reference files of gene models.

A file has one row per gene of one annotation; the cell for the other annotation may hold several
ids with commas between them, or none. Shape suffixes: G genes, P pairs of ids.
"""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from genomelm_utils.datasets.derive import read_content
from genomelm_utils.datasets.expression_tables import TissueTable
from genomelm_utils.sequences.fasta import suggest

logger = logging.getLogger(__name__)

NO_GENE = ("", "NA", "None", "nan", "-")  # cells of cross-reference files without an id


def read_gene_models(path: str | Path, *, from_column: str, to_column: str) -> pd.DataFrame:
    """Pairs of gene ids from a cross-reference file: columns from_id and to_id, no pair twice.

    Tab- or comma-separated (by the first line), plain or gzipped; lists of ids in either column are
    taken apart, cells without an id give no pair. In a comma-separated file lists must be quoted.

    Raises FileNotFoundError, or ValueError for a column that is not there and for a file without
    pairs.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, expected a table of gene models")
    separator = "\t" if b"\t" in read_content(path).partition(b"\n")[0] else ","
    table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
    for name in (from_column, to_column):
        if name not in table:
            raise ValueError(
                f"{path}: no column {name!r}{suggest(name, table.columns)}; found "
                f"{', '.join(table.columns)}"
            )
    pairs = pd.DataFrame({"from_id": table[from_column], "to_id": table[to_column]})
    for name in pairs:
        pairs[name] = pairs[name].str.split(",")
        pairs = pairs.explode(name, ignore_index=True)
        pairs[name] = pairs[name].str.strip()
    empty = pairs["from_id"].isin(NO_GENE) | pairs["to_id"].isin(NO_GENE)
    pairs = pairs[~empty].drop_duplicates(ignore_index=True)
    if not len(pairs):
        raise ValueError(f"{path}: no pair of ids in {from_column!r} and {to_column!r}")
    return pairs


def rename_genes(table: TissueTable, pairs: pd.DataFrame) -> tuple[TissueTable, pd.DataFrame]:
    """The same table under the ids `to_id`, and what is left out (line, gene_id, reason).

    A gene that became several is copied to each of them, as in the released code. Left out, by
    name: genes without an id in the other annotation, and new ids that would get two values because
    several genes were merged into them (their sum would be one guess, either of them another).
    """
    known = pairs[pairs["from_id"].isin(table.genes)]
    sources = known.groupby("to_id")["from_id"].agg(list)
    merged = sources[sources.map(len) > 1]
    row_of = {gene: row for row, gene in enumerate(table.genes)}
    kept = known[~known["to_id"].isin(merged.index)]
    kept = kept.assign(row=kept["from_id"].map(row_of)).sort_values(["row", "to_id"], kind="stable")
    renamed = table.take_genes(kept["row"].to_numpy(dtype=np.int64))
    renamed = replace(renamed, genes=tuple(kept["to_id"]))
    unknown_G = ~np.isin(np.array(table.genes, dtype=object), known["from_id"].to_numpy(object))
    skipped = table.skipped(unknown_G, "no id in the other annotation")
    reasons = ["two values: " + ", ".join(genes) for genes in merged]
    doubled = pd.DataFrame({"line": table.line, "gene_id": merged.index, "reason": reasons})
    if len(doubled):
        logger.warning(
            "line %s: left out %d ids with two values, such as %s",
            *(table.line, len(doubled), doubled["gene_id"].iloc[0]),
        )
    return renamed, pd.concat([skipped, doubled.astype(object)], ignore_index=True)
