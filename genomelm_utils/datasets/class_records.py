"""Labelled records to make a data set of: FASTA files of one class each, or a table of texts.

Both can be read again and again, a record at a time. Shapes: C classes.
"""

import csv
import gzip
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from genomelm_utils.sequences.fasta import is_gzip, suggest
from genomelm_utils.sequences.letters import Kind, LetterStream

logger = logging.getLogger(__name__)

TEXT = "text"  # the kind of what is no sequence
# Source: genomeNLP, `create_dataset_bio`: of the first and the second file
CLASS_NAMES = ("NEGATIVE", "POSITIVE")
_COMMA = "__"  # stands for a comma in a name. Source: the released code


class Record(NamedTuple):
    """One labelled record. file: where it stands. label: its class, from 0."""

    file: str
    name: str
    label: int
    text: str


class FastaClasses:
    """The records of FASTA files, of one class per file; in upper case, unless `case` says else.

    paths: one per class name, in that order; two files may have the same class. class_names: words
        (classes 0, 1, ... as they come) or whole numbers, which then are the classes.
    kind: as in `sequences.letters.LetterStream`, and the same for all files.
    A comma in a name becomes `__`.

    Raises: ValueError when there are not as many class names as files, fewer than two classes, or
    files of different kinds; as `LetterStream`.

    class_names: of class 0, 1, ... n_records, skipped: of the last reading.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        class_names: Sequence[str] = CLASS_NAMES,
        *,
        kind: str = "auto",
        case: str = "upper",
        min_classes: int = 2,
    ) -> None:
        if len(paths) != len(class_names):
            raise ValueError(
                f"{len(class_names)} labels ({', '.join(map(str, class_names))}) for {len(paths)} "
                "files, expected one each"
            )
        given = [str(name) for name in class_names]
        self.class_names = tuple(dict.fromkeys(given))
        if len(self.class_names) < min_classes:
            raise ValueError(
                f"all {len(paths)} files are of class {self.class_names[0]!r}, expected "
                f"{min_classes} classes at least"
            )
        if all(name.isdecimal() for name in given):
            self.class_names = tuple(map(str, range(max(map(int, given)) + 1)))
        self._streams = [LetterStream(path, kind=kind, case=case) for path in paths]
        self._labels = [self.class_names.index(name) for name in given]
        found = {stream.kind.name for stream in self._streams}
        if len(found) > 1:
            each = ", ".join(f"{one.path.name} is {one.kind.name}" for one in self._streams)
            raise ValueError(f"files of different kinds ({each}): name the kind, or leave some out")
        self.kind: Kind = self._streams[0].kind

    @property
    def paths(self) -> list[Path]:
        """The files."""
        return [stream.path for stream in self._streams]

    @property
    def skipped(self) -> pd.DataFrame:
        """Empty records: columns file, name, reason."""
        parts = [one.skipped.assign(file=one.path.name) for one in self._streams]
        return pd.concat(parts, ignore_index=True)[["file", "name", "reason"]]

    def __iter__(self) -> Iterator[Record]:
        for stream, label in zip(self._streams, self._labels, strict=True):
            for window in stream:
                name = window.header.replace(",", _COMMA)
                yield Record(stream.path.name, name, label, window.text)


class TextTable:
    """The rows of a table of texts (CSV or TSV, plain or gzipped), their classes sorted by name.

    title, labels, content: names of the columns to take. Words that look like missing values ("NA",
    "null") are texts like others. Rows without content are left out and named in `skipped`.

    Raises: FileNotFoundError; ValueError for a missing column (it names those there are), a row
    without a label, fewer than two classes, or no row.
    """

    kind = Kind(TEXT, "a table")

    def __init__(self, path: str | Path, title: str, labels: str, content: str) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"{self.path}: no such file, expected a table of texts")
        self._columns = (title, labels, content)
        self._skipped: list[tuple[str, str, str]] = []
        found: dict[str, None] = {}
        for line, (_, label, _) in self._rows():
            if not label:
                raise ValueError(f"{self.path}, line {line}: no label in the column {labels!r}")
            found[label] = None
        self.class_names = tuple(sorted(found))
        if len(self.class_names) < 2:
            raise ValueError(
                f"{self.path}: all rows have the label {', '.join(self.class_names)!r}, expected "
                "two classes at least"
            )

    @property
    def paths(self) -> list[Path]:
        """The file."""
        return [self.path]

    @property
    def skipped(self) -> pd.DataFrame:
        """Rows without content: columns file, name, reason."""
        return pd.DataFrame(self._skipped, columns=["file", "name", "reason"])

    def __iter__(self) -> Iterator[Record]:
        self._skipped = []
        label_of = {name: i for i, name in enumerate(self.class_names)}
        for line, (title, label, content) in self._rows():
            if not content.strip():
                where = (self.path.name, title or f"line {line}", "no content")
                self._skipped.append(where)
                continue
            yield Record(self.path.name, title, label_of[label], content)
        if self._skipped:
            logger.warning("%s: left out %d rows: no content", self.path, len(self._skipped))

    def _rows(self) -> Iterator[tuple[int, tuple[str, str, str]]]:
        csv.field_size_limit(sys.maxsize)
        open_text = gzip.open if is_gzip(self.path) else open
        with open_text(self.path, "rt", encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            reader = csv.reader(file, delimiter="\t" if "\t" in head else ",")
            names = next(csv.reader([head], delimiter="\t" if "\t" in head else ","), [])
            places = [self._find_column(name, names) for name in self._columns]
            n_rows = 0
            for row in reader:
                if not row:
                    continue
                n_rows += 1
                line = reader.line_num + 1
                if len(row) != len(names):
                    raise ValueError(
                        f"{self.path}, line {line}: {len(row)} columns, expected {len(names)}"
                    )
                yield line, tuple(row[i] for i in places)
            if not n_rows:
                raise ValueError(f"{self.path}: the table has no rows")

    def _find_column(self, name: str, names: list[str]) -> int:
        if name not in names:
            raise ValueError(
                f"{self.path} has no column {name!r}{suggest(name, names)}; found: "
                f"{', '.join(names)}"
            )
        return names.index(name)
