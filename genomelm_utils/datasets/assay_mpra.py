"""Massively parallel reporter assays: Sharpr, STARR-seq, and Malinois' training data.

Source of the rules: Reddy et al. 2023 (bioRxiv 2023.02.24.529941), code; the assays: Ernst et al.
2016, Nat. Biotechnol. 34:1180 (Sharpr); Lee et al. 2020, Genome Biol. 21:298 (STARRpeaker); Gosai
et al. 2024, Nature 634:1211 (Malinois). lentiMPRA is in `assay_lenti`.
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path

import numpy as np
import pandas as pd

from genomelm_utils.datasets.activity_splits import (
    MALINOIS_TEST,
    MALINOIS_VALID,
    SEX_CHROMOSOMES,
    TRAIN_CHROMOSOMES,
    split_by_chromosome,
)
from genomelm_utils.datasets.activity_task import (
    ActivitySet,
    Fetch,
    TaskSpec,
    check_mode,
    make_set,
    need_package,
    read_columns,
)
from genomelm_utils.sequences.alphabet import encode

SHARPR_BP, MALINOIS_BP = 145, 200
SHARPR_OUTPUTS = tuple(
    f"{cell}_{promoter}_{replicate}"
    for cell in ("K562", "HepG2")
    for promoter in ("minP", "SV40P")
    for replicate in ("rep1", "rep2", "avg")
)
STARR_CELLS = ("K562", "HepG2")
MALINOIS_CELLS = ("K562", "HepG2", "GM12878", "SK-N-SH", "A549")
MISSING = -100_000  # how the released code writes a missing label


def read_sharpr(paths: Mapping[str, str | Path]) -> ActivitySet:
    """Twelve outputs of 145-bp sequences; means are over the four averages of replicates.

    paths: part -> HDF5 file with X/sequence [n, 145, 4] (A, C, G, T) and Y/output [n, 12]; or the
    same arrays in an .npz file. In the released code two outputs have the same name.
    """
    codes, labels, parts = [], [], []
    for part, path in paths.items():
        hot, values = _read_arrays(Path(path), ("X/sequence", "Y/output"))
        if hot.shape[1:] != (SHARPR_BP, 4) or values.shape != (len(hot), len(SHARPR_OUTPUTS)):
            raise ValueError(
                f"{path}: arrays of shape {hot.shape} and {values.shape}, expected [n, "
                f"{SHARPR_BP}, 4] and [n, {len(SHARPR_OUTPUTS)}]"
            )
        known = hot.sum(-1) > 0
        codes += list(np.where(known, hot.argmax(-1), encode("N")[0]).astype(np.uint8))
        labels.append(values)
        parts += [part] * len(hot)
    spec = TaskSpec(
        *("Sharpr_MPRA", "regression", SHARPR_OUTPUTS),
        headline=tuple(name for name in SHARPR_OUTPUTS if name.endswith("_avg")),
        length_bp=SHARPR_BP,
    )
    return make_set(spec, codes, np.concatenate(labels), part_S=parts)


def starr_set(
    peaks: Mapping[str, pd.DataFrame], fetch: Fetch, *, coordinates: str = "corrected"
) -> ActivitySet:
    """Fold changes of STARRpeaker's final peaks, missing cells masked; parts by chromosome.

    peaks: cell -> columns chromosome, start, end, fold_change (`read_starr`). Peaks of two cells at
    the same place are one row. coordinates: 'reference' takes BED starts for 1-based. Peaks that
    leave their chromosome are left out and counted.
    """
    check_mode("coordinates", coordinates)
    keys = ["chromosome", "start", "end"]
    odd = sorted(set(peaks) - set(STARR_CELLS))
    if odd:
        raise ValueError(f"cell is {odd[0]!r}, expected one of {', '.join(STARR_CELLS)}")
    renamed = [table.rename(columns={"fold_change": cell}) for cell, table in peaks.items()]
    joined = reduce(lambda a, b: a.merge(b, on=keys, how="outer"), renamed)
    shift = 1 if coordinates == "reference" else 0
    codes, kept = [], []
    for i, row in enumerate(joined.itertuples()):
        try:
            codes.append(fetch(row.chromosome, row.start - shift, row.end - shift))
            kept.append(i)
        except ValueError:
            continue
    table = joined.iloc[kept].reset_index(drop=True)
    for cell in STARR_CELLS:
        table[cell] = table.get(cell, np.nan)
    train = (*TRAIN_CHROMOSOMES, *SEX_CHROMOSOMES)
    part_S = split_by_chromosome(table["chromosome"], train=train)
    spec = TaskSpec("STARRSeq", "regression", STARR_CELLS, masked=True, labels="fold change")
    skipped = {"leaves its chromosome": len(joined) - len(kept)}
    return make_set(spec, codes, table[list(STARR_CELLS)], table[keys], part_S, skipped)


def read_starr(path: str | Path) -> pd.DataFrame:
    """Columns chromosome, start (0-based), end, fold_change of STARRpeaker's peak.final.bed."""
    table = pd.read_csv(path, sep="\t", header=None, comment="#")
    if table.shape[1] < 7:
        raise ValueError(
            f"{path}: {table.shape[1]} columns, expected a final peak file of STARRpeaker: "
            "chromosome, start, end, name, score, strand, fold change, ..."
        )
    table = table[[0, 1, 2, 6]]
    return table.set_axis(["chromosome", "start", "end", "fold_change"], axis=1)


def malinois_set(
    counts: Mapping[str, Sequence[pd.DataFrame]],
    *,
    n_subsample: int = 0,
    seed: int = 97,
) -> ActivitySet:
    """Activity in five cells, missing ones masked; tests on chromosomes 7 and 13.

    counts: cell -> tables with columns ID, sequence, log2FoldChange (element quantifications of
    MPRAmodel); a cell's values are averaged by ID and sequence. Of 200-bp sequences; the chromosome
    is the ID up to ':', so designed ones are training rows. n_subsample: that many rows measured in
    all five cells, in proportion to chromosomes. Values of `MISSING` count as not measured.
    """
    means, n_without = [], 0
    for cell, tables in counts.items():
        if cell not in MALINOIS_CELLS:
            raise ValueError(f"cell is {cell!r}, expected one of {', '.join(MALINOIS_CELLS)}")
        stacked = pd.concat(tables)
        n_without += int(stacked["sequence"].isna().sum())
        value = stacked.groupby(["ID", "sequence"], sort=False)["log2FoldChange"].mean()
        means.append(value.replace(MISSING, np.nan).rename(cell))
    joined = pd.concat(means, axis=1).reset_index()
    for cell in MALINOIS_CELLS:
        joined[cell] = joined.get(cell, np.nan)
    right = joined["sequence"].str.len() == MALINOIS_BP
    measured = joined[list(MALINOIS_CELLS)].notna()
    table = joined[right & measured.any(axis=1)].reset_index(drop=True)
    name = "Malinois_MPRA"
    if n_subsample:
        complete = table.dropna(subset=list(MALINOIS_CELLS)).reset_index(drop=True)
        table = _subsample(complete, n_subsample, np.random.default_rng(seed))
        name = f"{name}_subsampled_{n_subsample}"
    chromosome = table["ID"].str.split(":").str[0]
    part_S = split_by_chromosome(chromosome, test=MALINOIS_TEST, valid=MALINOIS_VALID)
    spec = TaskSpec(
        name, "regression", MALINOIS_CELLS, masked=not n_subsample, length_bp=MALINOIS_BP
    )
    columns = {"ID": table["ID"], "chromosome": chromosome}
    skipped = {
        "no sequence for the element's ID": n_without,
        f"not of {MALINOIS_BP} bases": int((~right).sum()),
        "measured in no cell": int((right & ~measured.any(axis=1)).sum()),
    }
    values = table[list(MALINOIS_CELLS)]
    return make_set(spec, table["sequence"].tolist(), values, columns, part_S, skipped)


def read_malinois(
    tables: Mapping[str, Sequence[str | Path]], references: Mapping[str, Sequence[str | Path]]
) -> dict[str, list[pd.DataFrame]]:
    """Cell -> tables as `malinois_set` takes them, a sequence beside every element.

    tables: cell -> MPRAmodel's element quantifications (columns ID, log2FoldChange; values that are
    not finite are not measured). references: cell -> FASTA files of its elements, whose whole
    header is the ID. Elements without a sequence have none in the result, and are counted there.
    """
    import dnaio

    what = "MPRAmodel's element quantifications"
    found = {}
    for cell, files in tables.items():
        sequence_of = {}
        for path in references[cell]:
            with dnaio.open(path) as records:
                sequence_of |= {one.name.strip(): one.sequence.upper() for one in records}
        found[cell] = []
        for path in files:
            table = read_columns(path, ["ID", "log2FoldChange"], what, sep="\t")
            table = table[np.isfinite(table["log2FoldChange"])]
            sequence = table["ID"].map(sequence_of)
            found[cell].append(table[["ID", "log2FoldChange"]].assign(sequence=sequence))
    return found


def _subsample(table: pd.DataFrame, n: int, rng: np.random.Generator) -> pd.DataFrame:
    """n rows: floor(n x share) of every chromosome, then any others until there are n."""
    if n > len(table):
        raise ValueError(f"{n} rows are asked for, but only {len(table)} are measured in all cells")
    chromosome_S = table["ID"].str.split(":").str[0].to_numpy()
    chosen = []
    for name in np.unique(chromosome_S):
        rows = np.flatnonzero(chromosome_S == name)
        chosen += rng.choice(rows, n * len(rows) // len(table), replace=False).tolist()
    rest = np.setdiff1d(np.arange(len(table)), chosen)
    chosen += rng.choice(rest, n - len(chosen), replace=False).tolist()
    return table.iloc[np.sort(chosen)].reset_index(drop=True)


def _read_arrays(path: Path, names: Sequence[str]) -> list[np.ndarray]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, expected HDF5 (or .npz) of Sharpr-MPRA")
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            return [file[name] for name in names]
    with need_package("h5py", path, "HDF5").File(path) as file:
        return [np.asarray(file[name]) for name in names]
