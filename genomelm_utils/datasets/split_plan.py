"""Which rows records give, and which part of a data set each row belongs to.

Switches, `corrected` or `reference` (as the released code of genomeNLP does):

    split        reference deals rows at random, so that a sequence lands in training and its other
                 strand, its copy or its next chunk in test; corrected deals sequences, by class,
                 with all that is made of them
    complement   reference swaps S and W and makes N of B, D, H and V

Shapes: S records, R rows.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from genomelm_utils.datasets.class_records import TEXT, Record
from genomelm_utils.datasets.record_groups import WORD, group_records
from genomelm_utils.sequences.letters import Kind, reverse_complement_text
from genomelm_utils.sequences.splits import split_stratified

MODES = ("corrected", "reference")
PARTS = ("train", "test", "valid")
SHARES = {"train": 0.90, "test": 0.05, "valid": 0.05}  # Source: genomeNLP
CHUNK = "__PARTIAL_SEQ_CHUNK_{}"  # Source: genomeNLP
REVERSE = "__RC"  # Source: genomeNLP


@dataclass(frozen=True)
class Cut:
    """What rows are made of a record. chunk: letters of a row, None for whole records.
    both_strands: a row of the other strand behind every row. complement: the switch."""

    chunk: int | None = None
    both_strands: bool = False
    complement: str = "corrected"

    def __post_init__(self) -> None:
        if self.chunk is not None and self.chunk < 1:
            raise ValueError(f"chunk is {self.chunk}, expected 1 or more letters")
        _check_mode("complement", self.complement)

    def count(self, n_letters: int) -> int:
        """How many rows a record of so many letters gives."""
        return -(-n_letters // (self.chunk or n_letters)) * (1 + self.both_strands)

    def rows(self, record: Record, kind: Kind) -> Iterator[tuple[str, str]]:
        """(name, letters) of every row, a chunk's other strand behind it."""
        size = self.chunk or len(record.text)
        for i, begin in enumerate(range(0, len(record.text), size)):
            name = record.name + (CHUNK.format(i) if self.chunk else "")
            text = record.text[begin : begin + size]
            yield name, text
            if self.both_strands:
                yield name + REVERSE, reverse_complement_text(text, kind.name, self.complement)


def choose_strands(kind: Kind, asked: bool | None) -> bool:
    """Whether rows of the other strand are added: by default for DNA and RNA.

    Raises: ValueError where they are asked for and there is none.
    """
    if asked and (kind.name == TEXT or not kind.has_strands):
        raise ValueError(
            f"the input is {kind.name} ({kind.why}), which has no reverse complement: leave it out"
        )
    return (kind.name != TEXT and kind.has_strands) if asked is None else asked


@dataclass(frozen=True)
class SplitPlan:
    """records: a row per record: file, name, label, group, part (of its rows; `several` where they
    differ), n_rows, n_letters. part_R: int8[R], of `PARTS`. conflicts: groups in more than one
    class. warnings: what to tell."""

    records: pd.DataFrame
    part_R: np.ndarray
    conflicts: int
    warnings: tuple[str, ...]

    def count(self, class_names: Sequence[str]) -> pd.DataFrame:
        """Columns part, label, n_rows."""
        label_R = np.repeat(self.records["label"].to_numpy(), self.records["n_rows"].to_numpy())
        rows = [
            {
                "part": part,
                "label": name,
                "n_rows": int(((self.part_R == i) & (label_R == j)).sum()),
            }
            for i, part in enumerate(PARTS)
            for j, name in enumerate(class_names)
        ]
        return pd.DataFrame(rows)


def plan_split(
    records: Iterable[Record],
    kind: Kind,
    cut: Cut,
    *,
    shares: Mapping[str, float] = SHARES,
    split: str = "corrected",
    groups: str = "sequence",
    word: int = WORD,
    shuffle: bool = True,
    seed: int,
) -> SplitPlan:
    """Which part every row belongs to; reads the records once.

    shares: of train, test and valid; they sum to 1, any of them may be 0. groups, word: what stays
    together, see `record_groups.group_records`. shuffle: of `reference` only, False takes rows in
    their order. The same input and seed give the same plan.

    Raises: ValueError for shares, modes or chunks out of range, or a class without records.
    """
    _check_mode("split", split)
    shares = check_shares(shares)
    table, group_S = group_records(records, kind, groups, word, split == "reference")
    table["n_rows"] = [cut.count(n) for n in table["n_letters"].tolist()]
    counts_S, label_S = table["n_rows"].to_numpy(np.int64), table["label"].to_numpy()
    rng = np.random.default_rng(seed)
    if split == "reference":
        parts = split_like_genomenlp(int(counts_S.sum()), shares, rng if shuffle else None)
    else:
        rows = np.repeat(group_S, counts_S), np.repeat(label_S, counts_S)
        parts = split_stratified(*rows, shares, rng)
    part_R = np.empty(int(counts_S.sum()), np.int8)
    for i, name in enumerate(PARTS):
        part_R[parts[name]] = i
    table["group"] = group_S
    table["part"] = _name_parts(part_R, counts_S)
    n_labels = table.groupby("group")["label"].nunique()
    columns = ["file", "name", "label", "group", "part", "n_rows", "n_letters"]
    conflicts = int((n_labels > 1).sum())
    warnings = tuple(_find_faults(part_R, np.repeat(label_S, counts_S), shares, conflicts))
    return SplitPlan(table[columns], part_R, conflicts, warnings)


def check_shares(shares: Mapping[str, float]) -> dict[str, float]:
    """The shares of train, test and valid, in that order; ValueError unless they sum to 1."""
    values = {name: float(shares.get(name, 0.0)) for name in PARTS}
    unknown = set(shares) - set(PARTS)
    total = sum(values.values())
    if unknown or min(values.values()) < 0 or not math.isclose(total, 1, abs_tol=1e-9):
        raise ValueError(
            f"shares are {dict(shares)}, expected {', '.join(PARTS)} from 0 to 1 that sum to 1"
            f" (they sum to {total:g})"
        )
    if values["train"] == 0:
        raise ValueError("the share of train is 0, expected something to train on")
    return values


def split_like_genomenlp(
    n: int, shares: Mapping[str, float], rng: np.random.Generator | None
) -> dict[str, np.ndarray]:
    """Rows 0..n-1 in parts of the sizes the released code gives, at random or in order.

    ceil((1 - train) n) rows do not train; of these ceil(rest (1 - test / (test + valid))) are
    `test`, so that test and valid have each other's share where these differ. Without valid all of
    them are test.
    """
    rest = math.ceil(n * (1 - shares["train"]))
    held_out = shares["test"] + shares["valid"]
    n_test = math.ceil(rest * (1 - shares["test"] / held_out)) if shares["valid"] else rest
    order = np.arange(n) if rng is None else rng.permutation(n)
    train, test, valid = np.split(order, [n - rest, n - rest + n_test])
    return {"train": np.sort(train), "test": np.sort(test), "valid": np.sort(valid)}


def _name_parts(part_R: np.ndarray, counts_S: np.ndarray) -> list[str]:
    begins = np.cumsum(counts_S) - counts_S
    low, high = (f.reduceat(part_R, begins) for f in (np.minimum, np.maximum))
    return [
        PARTS[a] if a == b else "several" for a, b in zip(low.tolist(), high.tolist(), strict=True)
    ]


def _find_faults(
    part_R: np.ndarray, label_R: np.ndarray, shares: Mapping[str, float], conflicts: int
) -> Iterator[str]:
    if conflicts:
        yield f"{conflicts} groups hold sequences of more than one class; each stays whole"
    n_labels = len(np.unique(label_R))
    for i, name in enumerate(PARTS):
        found = len(np.unique(label_R[part_R == i]))
        if shares[name] and found < n_labels:
            yield f"{name} has rows of {found} of {n_labels} classes: there are too few groups"


def _check_mode(name: str, mode: str) -> None:
    if mode not in MODES:
        raise ValueError(f"{name} is {mode!r}, expected one of: {', '.join(MODES)}")
