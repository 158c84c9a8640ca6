"""Expression of genes in many cell types as a task: three windows around each TSS.

Three published tables: Roadmap (57 epigenomes, RPKM by gene id), LL-100 (RSEM TPM by gene name),
CCLE/DepMap (log2(TPM + 1), cell lines in rows). Source of the rules: Reddy et al. 2023
(bioRxiv 2023.02.24.529941), code.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from genomelm_utils.datasets.activity_splits import TRAIN_CHROMOSOMES, split_by_chromosome
from genomelm_utils.datasets.activity_task import (
    ActivitySet,
    Fetch,
    TaskSpec,
    check_mode,
    make_set,
    read_columns,
)
from genomelm_utils.sequences.alphabet import reverse_complement

SOURCES = ("Roadmap", "LL100", "CCLE")
WINDOWS = ((-300, -50), (-100, 150), (100, 350))
TSS_COLUMNS = {
    "Gene stable ID": "gene_id",
    "Gene name": "gene_name",
    "Transcription start site (TSS)": "tss",
    "Strand": "strand",
    "Chromosome/scaffold name": "chromosome",
}


def read_tss(path: str | Path) -> pd.DataFrame:
    """Columns gene_id, gene_name, tss (1-based), strand, chromosome: one row per Ensembl id."""
    table = read_columns(path, list(TSS_COLUMNS), "an Ensembl table of genes", dtype=str)
    table = table[list(TSS_COLUMNS)].rename(columns=TSS_COLUMNS)
    table["tss"], table["strand"] = table["tss"].astype(int), table["strand"].astype(int)
    return table.drop_duplicates("gene_id").reset_index(drop=True)


def read_expression(source: str, path: str | Path, lines_path: str | Path | None = None):
    """(table of genes x cells on a linear scale, 'gene_id' or 'gene_name': what its index is).

    Rows of one gene are summed. lines_path: of CCLE, DepMap's table of cell lines (`DepMap_ID`,
    `StrippedCellLineName`). Raises ValueError for an unknown source or a table that lacks a column.
    """
    if source == "Roadmap":
        table = read_columns(path, ["gene_id"], "Roadmap's RPKM matrix", index_col=False)
        table = table.set_index("gene_id")
        # E000 is the universal reference, not an epigenome
        table = table[[c for c in table if re.fullmatch(r"E\d{3}", c) and c != "E000"]]
    elif source == "LL100":
        table = read_columns(path, [], "LL-100's RSEM TPM matrix", index_col=0)
        table = table.select_dtypes("number")  # beside the gene stand its transcripts
    elif source == "CCLE":
        if lines_path is None:
            raise ValueError("CCLE needs lines_path, DepMap's table of cell lines")
        lines = read_columns(lines_path, ["StrippedCellLineName"], "DepMap's table of cell lines")
        wide = read_columns(path, [], "DepMap's log2(TPM + 1) matrix", index_col=0)
        ids = lines["DepMap_ID"] if "DepMap_ID" in lines else lines["ModelID"]
        wide = wide.rename(index=dict(zip(ids, lines["StrippedCellLineName"], strict=True)))
        wide.columns = [re.sub(r" \(.*\)$", "", name) for name in wide.columns]
        table = (2.0**wide - 1).T
    else:
        raise ValueError(f"source is {source!r}, expected one of {', '.join(SOURCES)}")
    by = "gene_id" if source == "Roadmap" else "gene_name"
    return table.groupby(level=0).sum(), by


def expression_set(
    name: str,
    expression: pd.DataFrame,
    by: str,
    genes: pd.DataFrame,
    fetch: Fetch,
    *,
    windows: tuple[tuple[int, int], ...] = WINDOWS,
    coordinates: str = "corrected",
    scaling: str = "corrected",
) -> ActivitySet:
    """One row per gene and window; labels are log2(x + 1), z-scored per cell. Columns gene, window,
    chromosome; parts by chromosome; predictions of held-out rows are averaged over windows.

    Left out and counted: genes without a TSS, with a sum of less than 1 per cell, on chromosomes of
    no part, with a window that leaves its chromosome. scaling: mean and deviation 'corrected' over
    training genes, 'reference' over genes of all parts. coordinates: see `cut_window`.
    """
    check_mode("scaling", scaling)
    joined = genes.merge(expression, left_on=by, right_index=True, how="inner")
    cells = list(expression.columns)
    linear_GT = joined[cells].to_numpy(np.float64)
    expressed = linear_GT.sum(1) >= len(cells)
    part_G = split_by_chromosome(joined["chromosome"], train=TRAIN_CHROMOSOMES)
    inside = np.array([_fits(row, windows, fetch) for row in joined.itertuples()], dtype=bool)
    keep = expressed & (part_G != "") & inside
    skipped = {
        "no TSS for the gene": int((~expression.index.isin(joined[by])).sum()),
        "sum of expression below 1 per cell": int((~expressed).sum()),
        "chromosome in no part": int((expressed & (part_G == "")).sum()),
        "a window leaves the chromosome": int((expressed & (part_G != "") & ~inside).sum()),
    }
    joined, part_G = joined[keep], part_G[keep]
    label_GT = np.log2(linear_GT[keep] + 1)
    of = np.full(len(joined), True) if scaling == "reference" else part_G == "train"
    if not of.any():
        raise ValueError(
            f"{name}: no gene is left to scale by, expected some on chromosomes 1 to 22"
        )
    deviation_T = label_GT[of].std(0)
    label_GT = (label_GT - label_GT[of].mean(0)) / np.where(deviation_T > 0, deviation_T, 1)
    codes, columns = [], []
    for gene in joined.itertuples():
        for w, window in enumerate(windows):
            codes.append(cut_window(fetch, gene, window, coordinates))
            columns.append({"gene": gene.gene_id, "window": w, "chromosome": gene.chromosome})
    spec = TaskSpec(
        name,
        "regression",
        tuple(cells),
        average_by="gene",
        windows=windows,
        labels="z of log2(x+1)",
    )
    repeat = len(windows)
    return make_set(
        spec,
        codes,
        np.repeat(label_GT, repeat, axis=0),
        pd.DataFrame(columns),
        np.repeat(part_G, repeat),
        skipped,
    )


def cut_window(fetch: Fetch, gene, window: tuple[int, int], coordinates: str = "corrected"):
    """uint8: bases `window` (half-open, bp from the TSS base) on the gene's strand.

    gene: chromosome ('1' or 'chr1'), tss (1-based), strand (1 or -1). On the minus strand
    'reference' cuts one base further down the chromosome, where the released code cuts.
    """
    check_mode("coordinates", coordinates)
    chromosome, start, end = _place(gene, window)
    if gene.strand < 0 and coordinates == "reference":
        start, end = start - 1, end - 1
    codes = fetch(chromosome, start, end)
    return reverse_complement(codes) if gene.strand < 0 else codes


def _place(gene, window: tuple[int, int]) -> tuple[str, int, int]:
    tss = gene.tss - 1
    start, end = window
    if gene.strand < 0:
        start, end = 1 - end, 1 - start
    return f"chr{str(gene.chromosome).removeprefix('chr')}", tss + start, tss + end


def _fits(gene, windows, fetch: Fetch) -> bool:
    spans = [_place(gene, window) for window in windows]
    chromosome, low, high = spans[0][0], min(s[1] for s in spans), max(s[2] for s in spans)
    try:
        return len(fetch(chromosome, low - 1, high)) == high - low + 1
    except ValueError:
        return False
