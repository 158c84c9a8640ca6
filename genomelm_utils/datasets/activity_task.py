"""A task of promoter activity as data: what is declared about it, and its rows.

A `TaskSpec` says what is predicted and how it is judged; an `ActivitySet` holds the sequences (one
byte per base), the labels (NaN = not measured) and the part of every row. Nothing else in the
package knows one assay from another.

Shapes: S rows, L bases of a row, T outputs.
"""

import hashlib
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from genomelm_utils.sequences.alphabet import encode

KINDS = ("regression", "multilabel", "classification", "binned")
#: Kinds whose label is a class number: one of `classes` for every output.
CLASS_KINDS = ("classification", "binned")
PARTS = ("train", "valid", "test")
MODES = ("corrected", "reference")
REPLICATES = (1, 2)
#: (chromosome, start, end), 0-based half-open -> base codes; `genome.BaseStore.fetch` is one.
Fetch = Callable[[str, int, int], np.ndarray]


@dataclass(frozen=True)
class TaskSpec:
    """What a task is, apart from its rows.

    name: of the task and its head. kind: 'regression'; 'multilabel' (0 or 1 for each output);
    'classification' (one of `classes` for each output); 'binned' (the same, classes in order: bins
    of counts). outputs: their names. masked: labels may be NaN, which then count nowhere. headline:
    the outputs that means are over, empty = all. average_by: a column of the rows; predictions of
    validation and test rows that share it are averaged (windows of one gene). windows: relative to
    the TSS in bp, half-open. length_bp: of every sequence, 0 = any. labels: the rule in words.
    """

    name: str
    kind: str
    outputs: tuple[str, ...]
    classes: tuple[str, ...] = ()
    masked: bool = False
    headline: tuple[str, ...] = ()
    average_by: str = ""
    windows: tuple[tuple[int, int], ...] = ()
    length_bp: int = 0
    labels: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.name}: kind is {self.kind!r}, expected one of {_list(KINDS)}")
        if not self.outputs or len(set(self.outputs)) < len(self.outputs):
            raise ValueError(
                f"{self.name}: outputs are {list(self.outputs)}, expected at least one, each name "
                "once (two outputs of one name would overwrite each other's scores)"
            )
        if (self.kind in CLASS_KINDS) != (len(self.classes) > 1):
            raise ValueError(
                f"{self.name}: kind {self.kind!r} with classes {list(self.classes)}; expected two "
                f"or more classes for {_list(CLASS_KINDS)}, none for the others"
            )
        odd = sorted(set(self.headline) - set(self.outputs))
        if odd:
            raise ValueError(f"{self.name}: headline names {odd[0]!r}, which is no output")

    @property
    def head_outputs(self) -> list[str]:
        """Names of the numbers a head gives: the outputs, or every class of each (`K562:3`)."""
        if self.kind not in CLASS_KINDS:
            return list(self.outputs)
        return [f"{output}:{name}" for output in self.outputs for name in self.classes]

    @property
    def headline_columns(self) -> list[int]:
        """Columns of the outputs that means are over."""
        return [self.outputs.index(name) for name in self.headline or self.outputs]


@dataclass(frozen=True)
class ActivitySet:
    """Sequences with labels and parts.

    codes: uint8 arrays. labels_ST: float32 [S, T]; class numbers for classes, NaN = not measured.
    part_S: 'train', 'valid', 'test', or '' for rows that are in none. columns: whatever else is
    known of the rows (chromosome, class, group ...), one row each. skipped: reason, n. overlap: how
    much its parts share, from the split that made them.
    """

    spec: TaskSpec
    codes: list[np.ndarray]
    labels_ST: np.ndarray
    part_S: np.ndarray
    columns: pd.DataFrame
    skipped: pd.DataFrame = field(default_factory=lambda: skipped_table({}))
    overlap: pd.DataFrame = field(default_factory=pd.DataFrame)

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def length_S(self) -> np.ndarray:
        """Bases of each row, int64 [S]."""
        return np.array([len(one) for one in self.codes], dtype=np.int64)

    def rows(self, part: str) -> np.ndarray:
        """Row numbers of a part, int64; ValueError for an empty one."""
        found = np.flatnonzero(self.part_S == part)
        if not len(found):
            counts = {name: int((self.part_S == name).sum()) for name in PARTS}
            raise ValueError(
                f"{self.spec.name}: no row is in part {part!r} (rows per part: {counts}); give "
                "shares or chromosomes that leave some"
            )
        return found

    def take(self, rows: np.ndarray) -> "ActivitySet":
        """These rows only, in this order."""
        return replace(
            self,
            codes=[self.codes[row] for row in rows],
            labels_ST=self.labels_ST[rows],
            part_S=self.part_S[rows],
            columns=self.columns.iloc[rows].reset_index(drop=True),
        )

    def counts(self) -> pd.DataFrame:
        """Columns task, part, n_rows, and labels measured in the mean over outputs."""
        known_S = np.isfinite(self.labels_ST).mean(1)
        rows = [
            {
                "task": self.spec.name,
                "part": part,
                "n_rows": int((self.part_S == part).sum()),
                "measured_share": float(known_S[self.part_S == part].mean())
                if (self.part_S == part).any()
                else np.nan,
            }
            for part in PARTS
        ]
        return pd.DataFrame(rows)

    @cached_property
    def key(self) -> str:
        """SHA-256 of everything that a result depends on: spec, bases, labels, parts, groups."""
        digest = hashlib.sha256(json.dumps(asdict(self.spec), sort_keys=True).encode())
        for array in (self.length_S, *self.codes, self.labels_ST):
            digest.update(np.ascontiguousarray(array).tobytes())
        digest.update("\n".join(self.part_S.tolist()).encode())
        if self.spec.average_by:
            digest.update("\n".join(map(str, self.columns[self.spec.average_by])).encode())
        return digest.hexdigest()


def make_set(
    spec: TaskSpec,
    sequences: Sequence[str] | Sequence[np.ndarray],
    labels_ST: np.ndarray,
    columns: Mapping[str, Any] | pd.DataFrame | None = None,
    part_S: Sequence[str] | None = None,
    skipped: Mapping[str, int] | None = None,
) -> ActivitySet:
    """A set from texts or base codes; parts are empty unless given.

    Raises ValueError for letters that are no IUPAC code (the row is named), numbers of rows or
    outputs that differ, another length than the spec's, infinite labels, NaN in a task that is not
    masked, class numbers out of range.
    """
    codes = [
        encode(one, f"{spec.name}, row {i} (0-based)") if isinstance(one, str) else one
        for i, one in enumerate(sequences)
    ]
    labels_ST = np.asarray(labels_ST, dtype=np.float32)
    labels_ST = labels_ST[:, None] if labels_ST.ndim == 1 else labels_ST
    if columns is None:
        table = pd.DataFrame(index=pd.RangeIndex(len(codes)))
    else:
        table = pd.DataFrame(columns).reset_index(drop=True)
    parts = np.full(len(codes), "", dtype=object) if part_S is None else np.asarray(part_S, object)
    made = ActivitySet(spec, codes, labels_ST, parts, table, skipped_table(skipped or {}))
    _check(made)
    return made


def check_ready(data: ActivitySet) -> None:
    """ValueError unless the set can be trained on and judged: no part is empty, and no output is
    constant or unmeasured among training rows."""
    for part in PARTS:
        data.rows(part)
    train_ST = data.labels_ST[data.rows("train")]
    for output, column in zip(data.spec.outputs, train_ST.T, strict=True):
        known = np.unique(column[np.isfinite(column)])
        if len(known) < 2:
            found = f"is {known[0]:g} in every training row" if len(known) else "was never measured"
            raise ValueError(
                f"{data.spec.name}: label {output!r} {found}, expected at least two values; leave "
                "that column out"
            )


def replicate_columns(outputs: Sequence[str], replicates_RST: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of the rows in which a set keeps its two replicates: replicate_<output>_<1 or 2>."""
    return {
        f"replicate_{output}_{r}": values_ST[:, t]
        for r, values_ST in zip(REPLICATES, replicates_RST, strict=True)
        for t, output in enumerate(outputs)
    }


def replicate_values(data: ActivitySet, rule: str = "corrected") -> np.ndarray | None:
    """float64 [R, S, T]: the two replicates of every output, as `replicate_columns` names them.

    None for a set that has them not.

    rule: 'reference' adds 1 to what the logarithm to base 2 was taken of, as one release of Reddy
    et al. did, which flattens what is below 1.
    """
    check_mode("rule", rule)
    outputs = data.spec.outputs
    names = [f"replicate_{output}_{r}" for r in REPLICATES for output in outputs]
    if not set(names) <= set(data.columns):
        return None
    found_SN = data.columns[names].to_numpy(np.float64)
    found_RST = found_SN.reshape(-1, len(REPLICATES), len(outputs)).swapaxes(0, 1)
    return np.log2(2**found_RST + 1) if rule == "reference" else found_RST


def skipped_table(counts: Mapping[str, int]) -> pd.DataFrame:
    """Columns reason, n; reasons that left nothing out are not in it."""
    kept = {reason: int(n) for reason, n in counts.items() if n}
    return pd.DataFrame({"reason": list(kept), "n": list(kept.values())})


def read_columns(
    path: str | Path, columns: Sequence[str], what: str, *, sep: str | None = None, **options: Any
) -> pd.DataFrame:
    """A table (plain or gzipped by its name; CSV or tabs by its name) that has these columns.

    Raises FileNotFoundError, or ValueError that names the file, `what` it should be and the columns
    that are missing.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, expected {what}")
    if sep is None:
        sep = "," if path.name.removesuffix(".gz").endswith(".csv") else "\t"
    try:
        table = pd.read_csv(path, sep=sep, **options)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no table ({error}); expected {what}") from error
    missing = [name for name in columns if name not in table]
    if missing:
        raise ValueError(
            f"{path}: no column {missing[0]!r}, found {_list(map(str, table.columns[:12]))}; "
            f"expected {what} with the columns {_list(columns)}"
        )
    return table


def need_package(package: str, path: str | Path, what: str) -> ModuleType:
    """The package, which only this kind of file needs."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f"{path}: reading {what} needs {package}, which is not installed; "
            f"pip install -e '.[assays]', or pip install {package}"
        ) from error


def check_mode(what: str, mode: str) -> None:
    """ValueError unless 'corrected' or 'reference'."""
    if mode not in MODES:
        raise ValueError(f"{what} is {mode!r}, expected one of {_list(MODES)}")


def _check(data: ActivitySet) -> None:
    spec, n = data.spec, len(data.codes)
    if not n:
        raise ValueError(f"{spec.name}: no row is left, expected at least one")
    shapes = data.labels_ST.shape, len(data.part_S), len(data.columns)
    if shapes != ((n, len(spec.outputs)), n, n):
        raise ValueError(
            f"{spec.name}: {n} sequences, labels of shape {list(shapes[0])}, {shapes[1]} parts and "
            f"{shapes[2]} rows of columns; expected {n} of each and {len(spec.outputs)} outputs"
        )
    lengths_S = data.length_S
    wrong = lengths_S != spec.length_bp if spec.length_bp else lengths_S == 0
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"{spec.name}, row {row} (0-based): {lengths_S[row]} bases, expected "
            f"{spec.length_bp or 'at least 1'}"
        )
    unknown = sorted(set(data.part_S) - {*PARTS, ""})
    if unknown:
        raise ValueError(f"{spec.name}: part {unknown[0]!r}, expected one of {_list(PARTS)}, or ''")
    if np.isinf(data.labels_ST).any():
        row, t = np.argwhere(np.isinf(data.labels_ST))[0]
        raise ValueError(f"{spec.name}, row {row}: {spec.outputs[t]} is infinite")
    missing_ST = np.isnan(data.labels_ST)
    if missing_ST.any() and not spec.masked:
        row, t = np.argwhere(missing_ST)[0]
        raise ValueError(
            f"{spec.name}, row {row} (0-based): {spec.outputs[t]} is NaN ({missing_ST.sum()} "
            "labels), but the task is not masked; declare masked=True, or leave them out"
        )
    n_classes = 2 if spec.kind == "multilabel" else len(spec.classes)
    if n_classes:
        known = data.labels_ST[~missing_ST]
        odd = known[(known != np.floor(known)) | (known < 0) | (known >= n_classes)]
        if len(odd):
            raise ValueError(
                f"{spec.name}: a label is {odd[0]:g}, expected class numbers 0 to {n_classes - 1}"
            )


def _list(names) -> str:
    return ", ".join(names)
