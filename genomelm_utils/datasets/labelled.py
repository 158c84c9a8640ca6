"""Labelled sequences from a table: raw or k-merised, quoted or not, TSV or CSV, plain or gzip.

Shape suffixes: S sequences, L bases (of the longest sequence where lengths differ).
"""

import gzip
import io
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from genomelm_utils.datasets.derive import read_content
from genomelm_utils.sequences.alphabet import CODE_N, ENCODE_TABLE, INVALID, explain_character

NO_LABEL = -1
_SPACE, _NEWLINE = ord(" "), ord("\n")


def no_rows_skipped() -> pd.DataFrame:
    """An empty table of skipped rows: line, name, label (as it is written), reason."""
    return pd.DataFrame({"line": [], "name": [], "label": [], "reason": []})


@dataclass(frozen=True)
class LabelledSet:
    """Sequences with labels, as they stand in one table.

    `codes` are base codes: uint8[S, L] where all lengths are equal, otherwise a list of uint8
    arrays. `labels` int64[S], -1 = none. `names` say where a row comes from. `skipped` names the
    rows left out. `quoted`: the sequences stood in double quotes. `k`: word length of a k-merised
    table, 0 for raw sequences.
    """

    codes: np.ndarray | list[np.ndarray]
    labels: np.ndarray
    names: list[str]
    source: str
    skipped: pd.DataFrame = field(default_factory=no_rows_skipped)
    quoted: bool = False
    k: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths_bp(self) -> np.ndarray:
        """int64[S]."""
        if isinstance(self.codes, np.ndarray):
            return np.full(len(self.codes), self.codes.shape[1], dtype=np.int64)
        return np.array([len(codes) for codes in self.codes], dtype=np.int64)

    @property
    def class_counts(self) -> np.ndarray:
        """Sequences per class, int64[number of classes]."""
        return np.bincount(self.labels[self.labels != NO_LABEL])

    def take(self, index: np.ndarray) -> "LabelledSet":
        """The rows at `index` (or where a mask is true), in that order."""
        index = np.flatnonzero(index) if np.asarray(index).dtype == bool else np.asarray(index)
        codes = self.codes
        return replace(
            self,
            codes=codes[index] if isinstance(codes, np.ndarray) else [codes[i] for i in index],
            labels=self.labels[index],
            names=[self.names[i] for i in index],
        )


def read_labelled(
    path: Path | str,
    *,
    keep_quotes: bool = False,
    length_bp: int | None = None,
    need_labels: bool = True,
) -> LabelledSet:
    """The labelled sequences of a table with the columns `sequence` and `label`.

    The header tells tab from comma; further columns are ignored, but `name` or `id` names the
    rows. Case is ignored; rows without a sequence are skipped and listed in `.skipped`.

    Args:
        path: TSV or CSV, plain or gzip (told by content).
        keep_quotes: where the sequences stand in double quotes, put an N at both ends. Each N
            spoils exactly one k-mer, which then is an unknown token: what the reference reader
            makes of the quotes. Source: the released reader (DNABERT's DataProcessor).
        length_bp: the length every sequence must have; None accepts any, also mixed.
        need_labels: False reads tables without labels for prediction (labels are then -1).

    Raises:
        ValueError: columns missing (lists those found), a label that is no integer >= 0, a wrong
            length, k-mers that do not overlap, a character that is no base; names file and line.
    """
    path = Path(path)
    raw = _read_table_bytes(path)
    table = _parse_table(raw, path)
    table, skipped = _skip_empty(table, path)
    labels = _parse_labels(table, path, need_labels)
    flat, starts, k = decode_texts(table["sequence"].tolist(), table["line"].to_numpy(), str(path))
    codes = _shape(flat, starts, table["line"].to_numpy(), length_bp, path)
    quoted = b'"' in raw.split(b"\n", 2)[1]
    if keep_quotes and quoted:
        codes = mark_quotes(codes)
    return LabelledSet(codes, labels, table["name"].tolist(), str(path), skipped, quoted, k)


def mark_quotes(codes: np.ndarray | list[np.ndarray]) -> np.ndarray | list[np.ndarray]:
    """The sequences with an N at both ends, see `read_labelled(keep_quotes=True)`."""
    if isinstance(codes, np.ndarray):
        return np.pad(codes, ((0, 0), (1, 1)), constant_values=CODE_N)
    return [np.pad(one, 1, constant_values=CODE_N) for one in codes]


def decode_texts(
    texts: list[str], lines: np.ndarray, where: str
) -> tuple[np.ndarray, np.ndarray, int]:
    """Base codes of raw or k-merised texts: (uint8[total], starts int64[S + 1], k or 0).

    A text with a space is k-merised: overlapping words one base apart, joined by single spaces
    (`ACG CGT` is ACGT). The first base of every word is kept, and the whole last word.
    """
    data = np.frombuffer("".join(f"{text}\n" for text in texts).upper().encode("utf-8"), np.uint8)
    ends = np.flatnonzero(data == _NEWLINE)
    if len(ends) != len(texts):
        raise ValueError(f"{where}: a sequence holds a line break, expected one row per line")
    begins = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    spaces = np.flatnonzero(data == _SPACE)
    if not len(spaces):
        k, keep = 0, data != _NEWLINE
    else:
        k = int(spaces[0] - begins[np.searchsorted(ends, spaces[0])])
        keep = _kept_of_kmers(data, begins, ends, k, lines, where)
    counts = np.add.reduceat(keep, begins, dtype=np.int64) if len(begins) else begins
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    kept = data[keep]
    codes = ENCODE_TABLE[kept]
    if len(codes) and codes.max() == INVALID:
        at = int(np.argmax(codes == INVALID))
        row = int(np.searchsorted(starts, at, side="right")) - 1
        raise ValueError(
            f"{where}, line {lines[row]}: found {explain_character(kept[at])} at base "
            f"{at - starts[row]} (0-based) of the sequence, expected nucleotide letters"
        )
    return codes, starts, k


def _kept_of_kmers(
    data: np.ndarray, begins: np.ndarray, ends: np.ndarray, k: int, lines: np.ndarray, where: str
) -> np.ndarray:
    """Which bytes to keep of k-merised rows; ValueError where words do not overlap by k - 1."""
    row = np.repeat(np.arange(len(ends)), ends - begins + 1)
    offset = np.arange(len(data)) - begins[row]
    left = ends[row] - offset - begins[row]  # bytes to the end of the row; 0 at the line break
    phase = offset % (k + 1)
    wrong = (data == _SPACE) != (
        (phase == k) & (left > 0)
    )  # a space behind every word but the last
    wrong |= (left == 0) & (phase != k)  # a last word shorter than k
    repeated = (phase > 0) & (phase < k) & (left > k)
    at = np.flatnonzero(repeated)
    wrong[at] |= data[at] != data[at + k]
    if wrong.any():
        first = int(np.argmax(wrong))
        text = data[begins[row[first]] : ends[row[first]]].tobytes().decode("utf-8", "replace")
        near = int(offset[first])
        raise ValueError(
            f"{where}, line {lines[row[first]]}: inconsistent {k}-mers near "
            f"{text[max(near - k - 1, 0) : near + k + 2]!r}, expected words of {k} bases, each "
            "shifted by one base, with single spaces between"
        )
    return (left > 0) & ((phase == 0) | (left <= k))


def _read_table_bytes(path: Path) -> bytes:
    try:
        raw = read_content(path)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: truncated or damaged gzip file ({error})") from error
    if raw.count(b"\n") < 1:
        raise ValueError(f"{path}: expected a header line and rows, found {len(raw)} bytes")
    return raw


def _parse_table(raw: bytes, path: Path) -> pd.DataFrame:
    """Columns line, sequence, label (if any) and name, all text."""
    separator = "\t" if b"\t" in raw.split(b"\n", 1)[0] else ","
    try:
        table = pd.read_csv(
            io.BytesIO(raw),
            sep=separator,
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,
            encoding="utf-8-sig",
        )
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a table of equal columns ({error})") from error
    found = list(table.columns)
    table.columns = [str(column).strip().lower() for column in found]
    if "sequence" not in table or not isinstance(table.index, pd.RangeIndex):
        raise ValueError(
            f"{path}: expected the columns sequence and label, separated by tab or comma, found "
            f"{', '.join(map(str, found))} (separated by {'tab' if separator != ',' else 'comma'})"
        )
    table = table.fillna("")
    table["sequence"] = table["sequence"].str.strip()
    table["line"] = np.arange(len(table)) + 2
    naming = next((column for column in ("name", "id") if column in table), None)
    table["name"] = table[naming] if naming else [f"line {line}" for line in table["line"]]
    return table


def _skip_empty(table: pd.DataFrame, path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    empty = table["sequence"] == ""
    label = table["label"].str.strip() if "label" in table else ""
    skipped = table.assign(label=label, reason="no sequence")
    skipped = skipped.loc[empty, ["line", "name", "label", "reason"]]
    if empty.all():
        raise ValueError(f"{path}: no row has a sequence")
    return table[~empty], skipped.reset_index(drop=True)


def _parse_labels(table: pd.DataFrame, path: Path, need_labels: bool) -> np.ndarray:
    if "label" not in table:
        if not need_labels:
            return np.full(len(table), NO_LABEL, dtype=np.int64)
        raise ValueError(
            f"{path}: expected the columns sequence and label, found "
            f"{', '.join(column for column in table.columns if column != 'line')}"
        )
    text = table["label"].str.strip()
    bad = ~text.str.fullmatch(r"\d{1,9}")
    if bad.any():
        row = table[bad].iloc[0]
        raise ValueError(
            f"{path}, line {row['line']}: the label is {row['label']!r}, expected an integer "
            f"class 0, 1, 2, ... ({bad.sum()} such rows)"
        )
    return text.astype(np.int64).to_numpy()


def _shape(
    flat: np.ndarray, starts: np.ndarray, lines: np.ndarray, length_bp: int | None, path: Path
) -> np.ndarray | list[np.ndarray]:
    """uint8[S, L] where all lengths are equal, else a list; ValueError where that is asked for."""
    lengths = np.diff(starts)
    wrong = lengths != (length_bp or lengths[0])
    if length_bp and wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"{path}, line {lines[row]}: the sequence has {lengths[row]} bp, expected "
            f"{length_bp} bp in every row ({wrong.sum()} of {len(lengths)} rows differ)"
        )
    if wrong.any():
        return np.split(flat, starts[1:-1])
    return flat.reshape(len(lengths), -1)
