"""SuRE of four genomes: counts of fragments in two cell types, as bins or as means.

Input: per genome a table of fragments (chromosome, start, end, strand, the variants in it, and one
column of counts per sample). Source of the rules: Reddy et al. 2023 (bioRxiv 2023.02.24.529941),
code; van Arensbergen et al. 2019, Nat. Genet. 51:1160 (the assay; positions are 1-based, the end
included).
"""

from pathlib import Path

import numpy as np
import pandas as pd

from genomelm_utils.datasets.activity_splits import GC_BINS, gc_bins
from genomelm_utils.datasets.activity_task import (
    PARTS,
    ActivitySet,
    Fetch,
    TaskSpec,
    check_mode,
    make_set,
    read_columns,
)
from genomelm_utils.sequences.alphabet import N_BASES, complement, encode, reverse_complement

GENOMES = ("SuRE42_HG02601", "SuRE43_GM18983", "SuRE44_HG01241", "SuRE45_HG03464")
CELLS = ("K562", "HepG2")
BINS = ("0", "1-10", "11-20", "21-30", "31+")
BIN_WIDTH = 10
#: Rows per pair of bins in train, valid, test.
QUOTA = (30_000, 3_000, 3_000)
COLUMNS = ("chr", "start", "end", "strand", "SNP_ABS_POS", "SNP_SEQ")


def read_sure(path: str | Path) -> pd.DataFrame:
    """Columns of `COLUMNS`, and K562 and HepG2: mean counts over the samples of each."""
    table = read_columns(path, COLUMNS, "SuRE counts", dtype={"chr": str, "SNP_ABS_POS": str})
    samples = [c for c in table if c.startswith("SuRE")]
    of_hepg2 = [c for c in samples if "HEPG2" in c.upper()]
    of_k562 = [c for c in samples if c not in of_hepg2]
    if not of_hepg2 or not of_k562:
        raise ValueError(
            f"{path}: columns of counts are {samples}, expected 'SuRE...' with and without HEPG2"
        )
    return table[list(COLUMNS)].assign(
        K562=table[of_k562].mean(axis=1), HepG2=table[of_hepg2].mean(axis=1)
    )


def count_bin(mean_S: np.ndarray) -> np.ndarray:
    """Bin of each mean count, int64: 0 none, 1 to 10, 2 to 20, 3 to 30 (ends included), 4 more."""
    bins_S = np.ceil(np.asarray(mean_S, np.float64) / BIN_WIDTH).astype(np.int64)
    return np.minimum(bins_S, len(BINS) - 1)


def fragment_sequence(row, fetch: Fetch, variants: str = "corrected") -> np.ndarray | None:
    """uint8: a fragment on its strand with its variants written in; None with an ambiguous one.

    variants: positions are on the chromosome and letters on its plus strand, so on a minus-strand
    fragment the complement is written; 'reference' writes the letter itself there.
    Raises ValueError for a variant outside of the fragment.
    """
    check_mode("variants", variants)
    start = int(row.start) - 1
    codes = fetch(row.chr, start, int(row.end))
    minus = row.strand == "-"
    codes = reverse_complement(codes) if minus else codes.copy()
    text = "" if pd.isna(row.SNP_ABS_POS) else str(row.SNP_ABS_POS)
    places = [int(float(p)) for p in text.split(",") if p]
    letters = [] if pd.isna(row.SNP_SEQ) else [x for x in str(row.SNP_SEQ).split(",") if x]
    if len(places) != len(letters):
        raise ValueError(
            f"{row.chr}:{row.start}-{row.end} has {len(places)} variants and {len(letters)} letters"
        )
    for place, letter in zip(places, letters, strict=True):
        base = encode(letter, f"variant {place}")
        if len(base) != 1 or base[0] >= N_BASES:
            return None
        at = place - 1 - start
        if not 0 <= at < len(codes):
            raise ValueError(f"{row.chr}:{row.start}-{row.end} does not hold its variant {place}")
        at = len(codes) - 1 - at if minus else at
        codes[at] = complement(base)[0] if minus and variants == "corrected" else base[0]
    return codes


def sure_set(
    genome: str,
    fragments: pd.DataFrame,
    fetch: Fetch,
    *,
    kind: str = "classification",
    quota: tuple[int, int, int] = QUOTA,
    seed: int = 97,
    variants: str = "corrected",
    gc_of: str = "corrected",
) -> ActivitySet:
    """Fragments of one genome, drawn evenly over 25 pairs of bins with the genome's GC; columns
    chromosome, start, end, strand. Its head is its own: the task is named after the genome.

    kind: 'classification' (five bins per cell) or 'regression' (mean counts). gc_of: the GC that
    strata are made of is that of the sequence as it is used; 'reference': before variants.
    Fragments of different parts overlap freely; `split_set(.., 'chromosome')` parts them.
    Rows of the result are in the order of pairs of bins. Left out and counted: fragments with an
    ambiguous variant, those beyond the chromosome, and those that no quota asks for.
    """
    check_mode("gc_of", gc_of)
    if kind not in ("classification", "regression"):
        raise ValueError(f"kind is {kind!r}, expected classification or regression")
    codes, plain, kept = [], [], []
    n_ambiguous = n_outside = 0
    for i, row in enumerate(fragments.itertuples(index=False)):
        try:
            reference = fetch(row.chr, int(row.start) - 1, int(row.end))
        except ValueError:
            n_outside += 1
            continue
        found = fragment_sequence(row, fetch, variants)
        if found is None:
            n_ambiguous += 1
            continue
        codes.append(found)
        plain.append(reference)
        kept.append(i)
    table = fragments.iloc[kept].reset_index(drop=True)
    bins_S = gc_bins(codes if gc_of == "corrected" else plain)
    cell_S = count_bin(table["K562"]) * len(BINS) + count_bin(table["HepG2"])
    part_S = draw_quota(cell_S, bins_S, quota, np.random.default_rng(seed))
    order = np.flatnonzero(part_S != "")
    order = order[np.argsort(cell_S[order], kind="stable")]
    means_SC = table[list(CELLS)].to_numpy(np.float64)
    is_binned = kind == "classification"
    labels_SC = np.column_stack([count_bin(c) for c in means_SC.T]) if is_binned else means_SC
    name = genome if genome.startswith("SuRE_") else f"SuRE_{genome}"
    spec = TaskSpec(
        name, "binned" if is_binned else "regression", CELLS, classes=BINS if is_binned else ()
    )
    renamed = table[["chr", "start", "end", "strand"]].rename(columns={"chr": "chromosome"})
    skipped = {
        "ambiguous variant": n_ambiguous,
        "beyond the chromosome": n_outside,
        "above the quota of its bins": int((part_S == "").sum()),
    }
    chosen = renamed.iloc[order]
    made = [codes[i] for i in order]
    return make_set(spec, made, labels_SC[order], chosen, part_S[order], skipped)


def draw_quota(
    cell_S: np.ndarray, gc_bin_S: np.ndarray, quota: tuple[int, int, int], rng: np.random.Generator
) -> np.ndarray:
    """A part for every row, object [S], '' where the quota is full.

    Each cell gets of each GC bin its share among all rows times the quota; where rows are short the
    training part shrinks, and where they do not even fill the others all three get a third.
    """
    share_G = np.bincount(gc_bin_S, minlength=GC_BINS) / max(len(gc_bin_S), 1)
    part_S = np.full(len(cell_S), "", dtype=object)
    for cell in np.unique(cell_S):
        for gc_bin in np.unique(gc_bin_S[cell_S == cell]):
            rows = rng.permutation(np.flatnonzero((cell_S == cell) & (gc_bin_S == gc_bin)))
            sizes = deal_quota(len(rows), [round(share_G[gc_bin] * n) for n in quota])
            ends = np.cumsum(sizes)
            for name, begin, end in zip(PARTS, [0, *ends], ends, strict=False):
                part_S[rows[begin:end]] = name
    return part_S


def deal_quota(n: int, wanted: list[int]) -> tuple[int, int, int]:
    """(train, valid, test) of n rows when `wanted` are asked for (see `draw_quota`)."""
    train, valid, test = wanted
    if n >= train + valid + test:
        return train, valid, test
    if n >= valid + test:
        return n - valid - test, valid, test
    return n - 2 * (n // 3), n // 3, n // 3
