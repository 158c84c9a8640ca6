"""Promoters and expression of the same genes, joined by id into one `ExpressionSet`.

Shape suffixes: S promoters, G genes, T tissues.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from genomelm_utils.datasets.expression_set import ExpressionSet, make_genes
from genomelm_utils.datasets.expression_tables import TissueTable
from genomelm_utils.sequences.alphabet import decode
from genomelm_utils.sequences.fasta import read_fasta, suggest

logger = logging.getLogger(__name__)

NAME_MARK = "::"  # between gene and place in the names of promoters: GENE::CHR:START-END(STRAND)
MISSING_VALUES = ("corrected", "reference")


def read_promoters(path: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Promoters of a FASTA file: (columns gene_id, name, sequence; skipped name, reason).

    gene_id is what stands before `::` in the name. Sequences are upper-cased (soft-masked bases
    would fall apart into one token each). Empty records are skipped, by name. Raises what
    `read_fasta` raises.
    """
    records = read_fasta(path)
    codes = np.split(records.codes, records.starts[1:-1])
    table = pd.DataFrame({"name": records.names, "sequence": [decode(one) for one in codes]})
    table.insert(0, "gene_id", table["name"].str.partition(NAME_MARK)[0])
    return table, records.skipped


def join_promoters(
    tables: Sequence[TissueTable],
    promoters: pd.DataFrame,
    tissues: Sequence[str],
    *,
    unit: str = "TPM",
    missing: str = "corrected",
) -> tuple[ExpressionSet, pd.DataFrame]:
    """One set of all lines, and the genes left out (line, gene_id, reason).

    promoters: columns gene_id and sequence, optionally gap_bp and name (both kept). tissues: in
    the order wanted. A tissue that a line does not have is NaN there. missing: `corrected` keeps
    rows with NaN, for losses that mask them; `reference` drops every row with a missing value, as
    the released `04-process-genex-nam.py` does, and with it whole lines.

    Left out, by name: genes without a promoter, promoters without a gene in the tables, promoters
    without a base. Rows follow the tables, and inside of a table its genes.

    Raises ValueError for a tissue that no table has, a line with two tables, two promoters for one
    gene, and when nothing is left.
    """
    if missing not in MISSING_VALUES:
        raise ValueError(f"missing is {missing!r}, expected one of {', '.join(MISSING_VALUES)}")
    _check_tables(tables, tissues)
    full = promoters["sequence"].fillna("").astype(str).str.len() > 0
    usable = promoters[full]
    doubled = usable.loc[usable["gene_id"].duplicated(), "gene_id"]
    if len(doubled):
        raise ValueError(
            f"{len(doubled)} genes have two promoters, such as {doubled.iloc[0]!r}; give one each"
        )
    skipped = [_skip("", promoters.loc[~full, "gene_id"], "promoter without a base")]
    wide = pd.concat([_select(table, tissues) for table in tables], ignore_index=True)
    known = wide["gene_id"].isin(usable["gene_id"])
    for line, rows in wide[~known].groupby("line", sort=False):
        skipped.append(_skip(line, rows["gene_id"], "no promoter"))
    alone = ~usable["gene_id"].isin(wide["gene_id"])
    skipped.append(_skip("", usable.loc[alone, "gene_id"], "promoter without expression"))
    joined = wide[known].merge(usable, on="gene_id", how="left", validate="many_to_one")
    lost = joined[list(tissues)].isna().any(axis=1) & (missing == "reference")
    for line, rows in joined[lost].groupby("line", sort=False):
        skipped.append(_skip(line, rows["gene_id"], "a tissue is missing"))
    joined = joined[~lost].reset_index(drop=True)
    if not len(joined):
        raise ValueError(
            f"no gene of {len(wide)} is left: {int((~known).sum())} have no promoter (such as "
            f"{wide['gene_id'].iloc[0]!r} against {promoters['gene_id'].iloc[0]!r}), "
            f"{int(lost.sum())} lack a tissue"
        )
    gaps = joined.get("gap_bp")
    genes = make_genes(joined["gene_id"], joined["line"], joined["sequence"], gap_bp=gaps)
    if "name" in joined:
        genes["name"] = joined["name"].astype(str)
    tpm_ST = joined[list(tissues)].to_numpy(dtype=np.float32)
    rows = pd.concat(skipped, ignore_index=True).astype(object)
    return ExpressionSet(genes, tuple(tissues), tpm_ST, unit), rows


def tissue_coverage(tables: Sequence[TissueTable]) -> pd.DataFrame:
    """Runs behind every tissue of every line: columns line, tissue, n_runs (0: it is missing)."""
    counts = {t.line: dict(zip(t.tissues, t.n_runs_T.tolist(), strict=True)) for t in tables}
    tissues = sorted({name for of_line in counts.values() for name in of_line})
    rows = [
        (line, name, of_line.get(name, 0)) for line, of_line in counts.items() for name in tissues
    ]
    return pd.DataFrame(rows, columns=["line", "tissue", "n_runs"])


def _check_tables(tables: Sequence[TissueTable], tissues: Sequence[str]) -> None:
    known = sorted({name for table in tables for name in table.tissues})
    for name in tissues:
        if name not in known:
            raise ValueError(
                f"no line has tissue {name!r}{suggest(name, known)}; tissues here: "
                f"{', '.join(known)}"
            )
    lines = pd.Series([table.line for table in tables])
    if lines.duplicated().any():
        raise ValueError(
            f"line {lines[lines.duplicated()].iloc[0]!r} has two tables: two values for one gene; "
            "join its runs into one table first"
        )
    for table in tables:
        absent = [name for name in tissues if name not in table.tissues]
        if absent:
            logger.warning("line %s has no %s: not measured", table.line, ", ".join(absent))


def _select(table: TissueTable, tissues: Sequence[str]) -> pd.DataFrame:
    """Columns line, gene_id and one per tissue, NaN for those the line does not have."""
    columns = {
        name: table.values_GT[:, table.tissues.index(name)] if name in table.tissues else np.nan
        for name in tissues
    }
    return pd.DataFrame({"line": table.line, "gene_id": list(table.genes)} | columns)


def _skip(line: str, genes: pd.Series, reason: str) -> pd.DataFrame:
    if len(genes):
        where = f"line {line}" if line else "promoters"
        logger.warning("%s: left out %d (%s), such as %s", where, len(genes), reason, genes.iloc[0])
    return pd.DataFrame({"line": line, "gene_id": genes.to_numpy(), "reason": reason})
