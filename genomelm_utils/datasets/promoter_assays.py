"""Every task of promoter activity by name, published or a table of one's own.

`ASSAYS` says of each published task what it predicts, how its parts are made and which loader reads
its raw files. A table with a sequence column and label columns needs no code: `read_table_task`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from genomelm_utils.datasets import assay_samples
from genomelm_utils.datasets.activity_splits import split_set
from genomelm_utils.datasets.activity_task import (
    CLASS_KINDS,
    PARTS,
    ActivitySet,
    TaskSpec,
    make_set,
    read_columns,
)


@dataclass(frozen=True)
class Assay:
    """A published task. kind, outputs, length_bp (0: any): see `TaskSpec`, outputs in words where
    the files decide. split, column: the rule of `split_set` and its column. loader: module and
    function that reads it. heads: how many, each a task of its own."""

    kind: str
    outputs: str
    length_bp: int
    split: str
    column: str
    loader: str
    heads: int = 1
    masked: bool = False


_CELLS = "JURKAT, K562, THP1"
_SORTED = "assay_fluorescence.read_fluorescence"
_RNASEQ, _SURE = "assay_rnaseq.expression_set", "assay_sure.sure_set"
_CHIP = "assay_chipseq.chipseq_set"
_MALINOIS = "assay_mpra.malinois_set"
_STRATUM = ("stratum", "cell_specific_class")
_GIVEN = ("given", "")
#: Source: Reddy et al. 2023 (bioRxiv 2023.02.24.529941), code; the loaders name the assays.
ASSAYS: dict[str, Assay] = {
    "FluorescenceData": Assay("regression", _CELLS, 250, *_STRATUM, _SORTED),
    "FluorescenceData_DE": Assay("regression", _CELLS, 250, *_STRATUM, _SORTED),
    **{
        f"FluorescenceData_{cell}": Assay("regression", cell, 250, *_STRATUM, _SORTED)
        for cell in ("JURKAT", "K562", "THP1")
    },
    "FluorescenceData_classification": Assay("multilabel", _CELLS, 250, *_STRATUM, _SORTED),
    "LL100": Assay("regression", "cell lines of the table", 250, *_GIVEN, _RNASEQ),
    "CCLE": Assay("regression", "cell lines of the table", 250, *_GIVEN, _RNASEQ),
    "Roadmap": Assay("regression", "57 epigenomes", 250, *_GIVEN, _RNASEQ),
    "ENCODETFChIPSeq": Assay("multilabel", "up to 1,645 tracks", 600, *_GIVEN, _CHIP, masked=True),
    "Sharpr_MPRA": Assay(
        "regression", "12 of 2 cells and 2 promoters", 145, *_GIVEN, "assay_mpra.read_sharpr"
    ),
    "SuRE_classification": Assay("binned", "K562, HepG2", 0, *_GIVEN, _SURE, heads=4),
    "SuRE_regression": Assay("regression", "K562, HepG2", 0, *_GIVEN, _SURE, heads=4),
    "lentiMPRA": Assay(
        "regression", "K562, HepG2, WTC11", 200, *_GIVEN, "assay_lenti.lenti_set", masked=True
    ),
    "STARRSeq": Assay("regression", "K562, HepG2", 0, *_GIVEN, "assay_mpra.starr_set", masked=True),
    "Malinois_MPRA": Assay("regression", "5 cells", 200, *_GIVEN, _MALINOIS, masked=True),
    "Malinois_MPRA_subsampled_15000": Assay("regression", "5 cells", 200, *_GIVEN, _MALINOIS),
}
#: Names that stand for several tasks.
TASK_SETS = {"RNASeq": ("LL100", "CCLE", "Roadmap")}


def expand_tasks(names: Sequence[str]) -> list[str]:
    """Task names with sets spelled out ('RNASeq' is three), each once; ValueError for unknown."""
    found: list[str] = []
    for name in names:
        for one in TASK_SETS.get(name, (name,)):
            if one not in ASSAYS:
                raise ValueError(
                    f"unknown task {one!r}, expected one of {', '.join([*ASSAYS, *TASK_SETS])}"
                )
            if one not in found:
                found.append(one)
    return found


def assay_table() -> pd.DataFrame:
    """One row per published task: task, kind, outputs, length_bp, split, heads, masked, loader."""
    rows = [{"task": name, **vars(assay)} for name, assay in ASSAYS.items()]
    return pd.DataFrame(rows).drop(columns="column")


def read_table_task(
    table: pd.DataFrame | str | Path,
    *,
    name: str,
    labels: Sequence[str],
    sequence: str = "sequence",
    kind: str = "regression",
    classes: Sequence[str] = (),
    masked: bool = False,
    split: str = "cluster",
    split_column: str = "",
    length_bp: int = 0,
    seed: int = 0,
    **options: Any,
) -> ActivitySet:
    """A task from a table of one's own (CSV, TSV, Parquet or a DataFrame), split and measured.

    labels: its label columns; for classes, names of `classes`. split: 'column' (`split_column`
    holds train, valid or test), or a rule of `split_set` with `split_column` and options.
    Raises ValueError for columns that are missing, labels that are no numbers, and what `make_set`
    and `split_set` raise.
    """
    if not isinstance(table, pd.DataFrame):
        path = Path(table)
        what = f"a table with {sequence} and {', '.join(labels)}"
        table = (
            pd.read_parquet(path)
            if path.suffix == ".parquet"
            else read_columns(path, [sequence], what)
        )
    by_column = split == "column"
    needed = [sequence, *labels, *([split_column] if split_column else [])]
    missing = [column for column in needed if column not in table]
    if missing or (by_column and not split_column):
        raise ValueError(
            f"{name}: no column {missing[0] if missing else 'given for the split'!r}, found "
            f"{', '.join(map(str, table.columns))}"
        )
    spec = TaskSpec(
        name, kind, tuple(labels), classes=tuple(classes), masked=masked, length_bp=length_bp
    )
    values = [_numbers(table[label], label, spec) for label in labels]
    parts = None
    if by_column:
        parts = table[split_column].astype(str).replace({"val": "valid", "validation": "valid"})
        odd = sorted(set(parts) - {*PARTS, ""})
        if odd:
            raise ValueError(
                f"{name}: {split_column} holds {odd[0]!r}, expected one of {', '.join(PARTS)}"
            )
    rest = table.drop(columns=[sequence, *labels])
    texts = table[sequence].astype(str).tolist()
    data = make_set(spec, texts, np.column_stack(values), rest, parts)
    rule = "given" if by_column else split
    return split_set(data, rule, seed=seed, column=split_column, **options)


def load_sample(
    name: str,
    locate: assay_samples.Locate,
    *,
    species: str = "",
    split: str = "group",
    seed: int = 0,
) -> ActivitySet:
    """One of the sets at hand (`assay_samples.FILES`), split and measured."""
    data = assay_samples.read_sample(name, locate, species)
    return split_set(data, split, seed=seed, column="group" if split == "group" else "")


def _numbers(column: pd.Series, label: str, spec: TaskSpec) -> np.ndarray:
    """float64 [S] of a label column: numbers, or class names as their places in `classes`."""
    if spec.kind in CLASS_KINDS and not pd.api.types.is_numeric_dtype(column):
        place = {name: i for i, name in enumerate(spec.classes)}
        odd = sorted(set(column.dropna().astype(str)) - set(place))
        if odd:
            raise ValueError(
                f"{spec.name}: {label} holds {odd[0]!r}, expected one of {', '.join(spec.classes)}"
            )
        return column.astype(object).map(place).to_numpy(np.float64)
    try:
        return pd.to_numeric(column).to_numpy(np.float64)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{spec.name}: label {label} is no column of numbers ({error})") from error
