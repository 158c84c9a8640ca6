"""Token data sets read back: what is written here, and both CSV formats of genomeNLP's commands.

`create_dataset_bio` writes idx, feature, labels, input_ids, token_type_ids, attention_mask;
`kmerise_bio` a counter without a name first and input_str behind input_ids. Lists in CSV are what
numpy prints: `[  815   175 13916]`, over several lines where they are long.

Shapes: R rows, T tokens of all rows, C classes.
"""

import gzip
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from genomelm_utils.sequences.fasta import is_gzip, suggest

_NEEDED = ("feature", "labels", "input_ids")
_MARKS = str.maketrans("[],\n\r\t", "      ")
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")


@dataclass(frozen=True)
class TokenSet:
    """Labelled sequences with their tokens.

    names, features: str [R]. labels: int64[R], of `class_names`. ids: int32[T], end to end; row i
    has ids[offsets[i] : offsets[i + 1]], offsets int64[R + 1]. strings: str [T], the tokens, where
    the file has them, else empty. class_names: str [C]; numbers where the file has no names.
    """

    names: list[str]
    features: list[str]
    labels: np.ndarray
    ids: np.ndarray
    offsets: np.ndarray
    class_names: tuple[str, ...]
    strings: list[str]
    source: str

    def __len__(self) -> int:
        return len(self.labels)

    def row(self, i: int) -> np.ndarray:
        """int32, the token ids of a row."""
        return self.ids[self.offsets[i] : self.offsets[i + 1]]

    @property
    def n_tokens(self) -> np.ndarray:
        """int64[R]."""
        return np.diff(self.offsets)

    @property
    def class_counts(self) -> np.ndarray:
        """Rows of every class, int64[C]."""
        return np.bincount(self.labels, minlength=len(self.class_names))


def read_token_set(path: str | Path, class_names: Sequence[str] = ()) -> TokenSet:
    """A data set of any format: .csv (plain or gzipped), .json lines, .parquet, or a folder.

    class_names: what the labels 0, 1, ... are called, where the file does not say. Labels that are
        words get classes by the order of the alphabet.
    Raises: FileNotFoundError; ValueError for another kind of file, missing columns, labels outside
        of the classes, and lists that were cut when they were printed (`...`).
    """
    path = Path(path)
    if path.is_dir():
        return _read_arrow(path, class_names)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file or folder, expected a token data set")
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    readers = {".csv": _read_csv, ".json": _read_json, ".parquet": _read_arrow}
    if suffix not in readers:
        raise ValueError(f"{path}: expected a name in {', '.join(readers)}, or a folder")
    return readers[suffix](path, class_names)


def _read_csv(path: Path, class_names: Sequence[str]) -> TokenSet:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, compression="infer")
    except ValueError as error:
        raise ValueError(f"{path} is no table of equal columns: {error}") from error
    _check_columns(path, list(table.columns))
    ids, offsets = parse_numbers(table["input_ids"].tolist(), str(path))
    strings = []
    if "input_str" in table:
        strings = [token for cell in table["input_str"] for token in parse_words(cell)]
        if len(strings) != len(ids):
            raise ValueError(
                f"{path}: {len(strings)} token strings for {len(ids)} ids; make the file again"
            )
    names = table["idx"] if "idx" in table else table.index.astype(str)
    return _make(path, names, table["feature"], table["labels"], ids, offsets, class_names, strings)


def parse_numbers(cells: Sequence[str], where: str) -> tuple[np.ndarray, np.ndarray]:
    """(values, offsets) of lists written as `[1 2 3]` or `[1, 2, 3]`: int32[T], int64[R + 1].

    Raises: ValueError for a list that was cut (`...`), or holds something else.
    """
    plain = [cell.translate(_MARKS) for cell in cells]
    offsets = np.append(0, np.cumsum([len(cell.split()) for cell in plain])).astype(np.int64)
    joined = " ".join(plain)
    if "..." in joined:
        row = next(i for i, cell in enumerate(plain) if "..." in cell)
        raise ValueError(
            f"{where}: the list of row {row} was cut when it was printed ({cells[row][:60]!r}); "
            "make the data set again, as Parquet"
        )
    try:
        values = np.array(joined.split(), dtype=np.int64)
    except ValueError as error:
        raise ValueError(f"{where}: input_ids are no whole numbers: {error}") from error
    return values.astype(np.int32), offsets


def parse_words(cell: str) -> list[str]:
    """The words of a list written as `['AC' 'CG']` or `['AC', 'CG']`."""
    return [one or other for one, other in _QUOTED.findall(cell)]


def _read_json(path: Path, class_names: Sequence[str]) -> TokenSet:
    open_text = gzip.open if is_gzip(path) else open
    rows = []
    with open_text(path, "rt", encoding="utf-8") as file:
        for line, text in enumerate(file, 1):
            try:
                rows.append(json.loads(text))
            except ValueError as error:
                raise ValueError(f"{path}, line {line}: no JSON object ({error})") from error
    if not rows:
        raise ValueError(f"{path}: no rows")
    _check_columns(path, list(rows[0]))
    ids, offsets = _join([row["input_ids"] for row in rows])
    strings = [token for row in rows for token in row.get("input_str", ())]
    names = [row.get("idx", str(i)) for i, row in enumerate(rows)]
    features, labels = ([row[key] for row in rows] for key in ("feature", "labels"))
    return _make(path, names, features, labels, ids, offsets, class_names, strings)


def _join(lists: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.append(0, np.cumsum([len(one) for one in lists])).astype(np.int64)
    flat = (value for one in lists for value in one)
    return np.fromiter(flat, np.int32, int(offsets[-1])), offsets


def _read_arrow(path: Path, class_names: Sequence[str]) -> TokenSet:
    """Parquet, or a folder of `datasets`: columns come without a detour over Python's lists."""
    if path.is_dir():
        import datasets

        if not (path / "state.json").is_file():
            raise ValueError(f"{path}: no folder of a data set; name the part (such as train)")
        found = datasets.load_from_disk(str(path))
        # the library cannot slice a data set without rows
        table = found.with_format("arrow")[:] if len(found) else found.data.table
        names = getattr(found.features.get("labels"), "names", None)
    else:
        import pyarrow.parquet as pq

        table = pq.read_table(path)
        names = _class_names_of((table.schema.metadata or {}).get(b"huggingface"))
    _check_columns(path, table.column_names)
    column = table["input_ids"].combine_chunks()
    offsets = column.offsets.to_numpy().astype(np.int64) if len(table) else np.zeros(1, np.int64)
    offsets -= offsets[0]
    ids = column.flatten().to_numpy(zero_copy_only=False).astype(np.int32)
    strings = []
    if "input_str" in table.column_names:
        strings = table["input_str"].combine_chunks().flatten().to_pylist()
    idx = table["idx"].to_pylist() if "idx" in table.column_names else map(str, range(len(table)))
    features, labels = (table[name].to_pylist() for name in ("feature", "labels"))
    return _make(path, idx, features, labels, ids, offsets, class_names or names or (), strings)


def _class_names_of(metadata: bytes | None) -> tuple[str, ...]:
    if metadata is None:
        return ()
    features = json.loads(metadata).get("info", {}).get("features", {})
    return tuple(features.get("labels", {}).get("names", ()))


def _check_columns(path: Path, found: list[str]) -> None:
    for name in _NEEDED:
        if name not in found:
            raise ValueError(
                f"{path} has no column {name!r}{suggest(name, found)}, expected "
                f"{', '.join(_NEEDED)}; found: {', '.join(found)}"
            )


def _make(
    path: Path,
    names: Sequence[str],
    features: Sequence[str],
    labels: Sequence[object],
    ids: np.ndarray,
    offsets: np.ndarray,
    class_names: Sequence[str],
    strings: list[str],
) -> TokenSet:
    words = [str(label) for label in labels]
    if all(re.fullmatch(r"\d+", word) for word in words):
        numbers = np.array(words, dtype=np.int64)
        known = tuple(class_names) or tuple(map(str, range(int(numbers.max(initial=-1)) + 1)))
        if len(numbers) and numbers.max() >= len(known):
            raise ValueError(
                f"{path}: found the label {numbers.max()}, expected 0 to {len(known) - 1} "
                f"({', '.join(known)})"
            )
    else:
        known = tuple(class_names) or tuple(sorted(set(words)))
        place = {name: i for i, name in enumerate(known)}
        wrong = next((word for word in words if word not in place), None)
        if wrong is not None:
            raise ValueError(f"{path}: label {wrong!r} is none of: {', '.join(known)}")
        numbers = np.array([place[word] for word in words], dtype=np.int64)
    return TokenSet(list(names), list(features), numbers, ids, offsets, known, strings, str(path))


# --- token strings for ids -----------------------------------------------------------------


def add_token_strings(path: str | Path, out: str | Path, tokens: Sequence[str]) -> int:
    """Write a CSV data set again with the column input_str: the token of every id; how many rows.

    tokens: by id. One row is in memory at a time.
    Raises: as `read_token_set`; ValueError for an id that `tokens` does not have, or where `out` is
        the file itself.
    """
    import csv

    path, out = Path(path), Path(out)
    if out.resolve() == path.resolve():
        raise ValueError(f"{out} is the input itself; give the result another name")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, expected a token data set (CSV)")
    csv.field_size_limit(sys.maxsize)
    partial = out.with_name(out.name + ".partial")
    out.parent.mkdir(parents=True, exist_ok=True)
    n_rows = 0
    open_in, open_out = (gzip.open if zipped else open for zipped in _are_zipped(path, out))
    with open_in(path, "rt", newline="") as source, open_out(partial, "wt", newline="") as target:
        rows = csv.reader(source)
        names = next(rows, [])
        _check_columns(path, names)
        at = names.index("input_ids")
        writer = csv.writer(target, lineterminator="\n")
        kept = [i for i, name in enumerate(names) if name != "input_str"]
        writer.writerow([*(names[i] for i in kept), "input_str"])
        for row in rows:
            n_rows += 1
            words = _find_words(row[at], tokens, f"{path}, row {n_rows}")
            writer.writerow([*(row[i] for i in kept), f"[{' '.join(map(repr, words))}]"])
    partial.replace(out)
    return n_rows


def _are_zipped(path: Path, out: Path) -> Iterator[bool]:
    yield from (is_gzip(path), out.suffix == ".gz")


def _find_words(cell: str, tokens: Sequence[str], where: str) -> list[str]:
    ids, _ = parse_numbers([cell], where)
    if len(ids) and int(ids.max()) >= len(tokens):
        raise ValueError(
            f"{where}: id {ids.max()}, but the tokenizer has {len(tokens)} tokens; is it the one "
            "the data set was made with?"
        )
    return [tokens[i] for i in ids.tolist()]
