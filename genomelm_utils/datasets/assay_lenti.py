"""lentiMPRA of three cell lines: the published workbooks, labels, parts.

Source of the rules: Reddy et al. 2023 (bioRxiv 2023.02.24.529941), code; the assay: Agarwal et al.
2025, Nature 639:411.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from genomelm_utils.datasets.activity_splits import (
    SEX_CHROMOSOMES,
    TRAIN_CHROMOSOMES,
    first_copies,
    split_by_chromosome,
)
from genomelm_utils.datasets.activity_task import (
    ActivitySet,
    TaskSpec,
    check_mode,
    make_set,
    need_package,
)
from genomelm_utils.sequences.alphabet import decode, encode, reverse_complement

LENTI_BP, ADAPTOR_BP = 200, 15
LENTI_CELLS = ("K562", "HepG2", "WTC11")
#: Workbooks, without their ending.
POSITIONS, EXPERIMENTS = "large_scale_positions", "large_scale_exps"
DESIGNED, DESIGNED_EXPERIMENTS = "designed_sequences", "designed_sequences_exps"
SEQUENCE = "230nt sequence (15nt 5' adaptor - 200nt element - 15nt 3' adaptor)"
CHROMOSOME, REVERSE = "chr.hg38", "reverse [log2(rna/dna)]"
_TITLE_ROWS = 10  # above the names of columns, at most


def read_lenti(folder: str | Path) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """(cell -> its sheet, the joint library), in the columns that `lenti_set` takes.

    folder: the four published workbooks, .xlsx: large_scale_positions (sheets '<cell>
    large-scale'), large_scale_exps ('<cell>_summary_data', '<cell>_forward_reverse'),
    designed_sequences ('joint library'), designed_sequences_exps ('all_cell_types_summary').
    Rows are joined by `name`; where a sheet leaves the '_F' of names out (WTC11), it is added.
    Raises: ImportError without openpyxl; FileNotFoundError; ValueError for a sheet or a column that
    is missing.
    """
    folder = Path(folder)
    sheets = {}
    for cell in LENTI_CELLS:
        places = _read_sheet(folder, POSITIONS, f"{cell} large-scale", (CHROMOSOME, SEQUENCE))
        forward = _read_sheet(folder, EXPERIMENTS, f"{cell}_summary_data", ("mean",))
        both = _read_sheet(folder, EXPERIMENTS, f"{cell}_forward_reverse", (REVERSE,))
        if not both["name"].isin(places["name"]).any():
            both["name"] += "_F"
        joined = places.merge(forward, on="name", how="left").merge(both, on="name", how="left")
        sheets[cell] = _as_table(joined, ["mean", REVERSE])
    activity = [f"{cell} [log2(rna/dna)]" for cell in LENTI_CELLS]
    places = _read_sheet(folder, DESIGNED, "joint library", (CHROMOSOME, SEQUENCE))
    values = _read_sheet(folder, DESIGNED_EXPERIMENTS, "all_cell_types_summary", activity)
    joint = _as_table(values.merge(places, on="name"), activity)
    return sheets, joint.rename(columns=dict(zip(activity, LENTI_CELLS, strict=True)))


def lenti_set(
    sheets: Mapping[str, pd.DataFrame],
    joint: pd.DataFrame | None = None,
    *,
    seed: int = 97,
    pairs: str = "corrected",
) -> ActivitySet:
    """lentiMPRA of three cells, missing cells masked; parts by chromosome.

    sheets: cell -> columns sequence (230 bases with adaptors), chromosome ('' = none), mean, and
    where measured both ways, 'reverse [log2(rna/dna)]', whose rows give the reverse complement too.
    joint: sequence, chromosome and one column per cell. Rows without a chromosome are dealt 70 %
    train, 20 % test, 10 % valid at random, both orientations of an element as one; 'reference'
    deals every row by itself, so that the two may be parted.
    """
    check_mode("pairs", pairs)
    tables = []
    for cell, sheet in sheets.items():
        if cell not in LENTI_CELLS:
            raise ValueError(f"cell is {cell!r}, expected one of {', '.join(LENTI_CELLS)}")
        forward = sheet[["sequence", "chromosome"]].assign(**{cell: sheet["mean"]})
        tables.append(forward.assign(sequence=[_strip(s) for s in sheet["sequence"]]))
        if "reverse [log2(rna/dna)]" in sheet:
            turned = forward.assign(
                sequence=[_strip(s, reverse=True) for s in sheet["sequence"]],
                **{cell: sheet["reverse [log2(rna/dna)]"]},
            )
            tables.append(turned.dropna(subset=[cell]))
    if joint is not None:
        columns = ["sequence", "chromosome", *LENTI_CELLS]
        tables.append(joint[columns].assign(sequence=[_strip(s) for s in joint["sequence"]]))
    stacked = pd.concat(tables, ignore_index=True)
    stacked["chromosome"] = stacked["chromosome"].fillna("").astype(str)
    for cell in LENTI_CELLS:
        stacked[cell] = stacked.get(cell, np.nan)
    merged = stacked.groupby("sequence", sort=False).agg(
        {"chromosome": "first", **dict.fromkeys(LENTI_CELLS, "mean")}
    )
    merged = merged.reset_index()
    measured = merged[list(LENTI_CELLS)].notna().any(axis=1)
    merged = merged[measured].reset_index(drop=True)
    codes = [encode(text, f"lentiMPRA, row {i}") for i, text in enumerate(merged["sequence"])]
    part_S = _lenti_parts(merged["chromosome"], codes, seed, pairs)
    spec = TaskSpec(
        "lentiMPRA", "regression", LENTI_CELLS, masked=True, length_bp=LENTI_BP, labels="mean"
    )
    skipped = {"measured in no cell": int((~measured).sum())}
    return make_set(spec, codes, merged[list(LENTI_CELLS)], merged[["chromosome"]], part_S, skipped)


def _read_sheet(folder: Path, book: str, sheet: str, columns) -> pd.DataFrame:
    """name and these columns of a sheet, whose names may stand below a title."""
    path = folder / f"{book}.xlsx"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file, expected lentiMPRA's workbook with the sheet {sheet!r}"
        )
    need_package("openpyxl", path, "a workbook")
    with pd.ExcelFile(path) as opened:
        if sheet not in opened.sheet_names:
            raise ValueError(f"{path}: no sheet {sheet!r}, found {', '.join(opened.sheet_names)}")
        top = opened.parse(sheet, header=None, nrows=_TITLE_ROWS)
        named = [row for row in range(len(top)) if "name" in set(top.iloc[row])]
        table = opened.parse(sheet, header=named[0] if named else 0)
    missing = [column for column in ("name", *columns) if column not in table]
    if missing:
        raise ValueError(
            f"{path}, sheet {sheet!r}: no column {missing[0]!r}, found {list(table)[:12]}"
        )
    return table[["name", *columns]].astype({"name": str})


def _as_table(joined: pd.DataFrame, values: list[str]) -> pd.DataFrame:
    """sequence, chromosome (as 'chr1'; '' for none), and the values."""
    place = joined[CHROMOSOME].map(_chromosome)
    return joined[values].assign(sequence=joined[SEQUENCE], chromosome=place)


def _chromosome(value: object) -> str:
    """'chr7' of 'chr7', '7', 7 and 7.0; '' where there is none."""
    if pd.isna(value):
        return ""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f"chr{text.removeprefix('chr')}"


def _lenti_parts(chromosome: pd.Series, codes: list, seed: int, pairs: str) -> np.ndarray:
    special = chromosome.str.removeprefix("chr")
    train = (*TRAIN_CHROMOSOMES, *SEX_CHROMOSOMES)
    part_S = split_by_chromosome(chromosome)
    known = special.isin((*train, "2", "9", "10", "13", "20", "21", "4", "17")).to_numpy()
    part_S[~known & (special != "").to_numpy()] = "train"  # alternative contigs
    without = np.flatnonzero((special == "").to_numpy())
    first_S = np.arange(len(codes)) if pairs == "reference" else first_copies(codes)
    draw_S = np.random.default_rng(seed).random(len(codes))[first_S]
    part_S[without] = np.select(
        [draw_S[without] < 0.7, draw_S[without] < 0.9], ["train", "test"], "valid"
    )
    return part_S


def _strip(text: str, reverse: bool = False) -> str:
    """The 200 bases between the adaptors; turned, if asked for."""
    if len(text) != LENTI_BP + 2 * ADAPTOR_BP:
        raise ValueError(f"a lentiMPRA sequence has {len(text)} bases, expected 230 with adaptors")
    inner = text[ADAPTOR_BP:-ADAPTOR_BP].upper()
    return decode(reverse_complement(encode(inner))) if reverse else inner
