"""What commands write: tables and settings that appear together, and messages.

Made for `species`; `promoters` writes in the same way.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import argparse

SKIPPED, SETTINGS = ".skipped.tsv", ".json"  # beside every result
NAMES = ".names.csv"  # beside a .npy, see `tasks.embedding_files`
BINS, MATCHES = ".bins.tsv", ".species.tsv"  # beside bins
SUFFIXES = ("", SETTINGS, SKIPPED, NAMES, BINS, MATCHES)  # of all that a command may write
SHOWN = 10  # names in a message; all of them are in the table of skipped records
PROGRAM = "genomelm_utils.species"
_WRITTEN = ("out", "fasta_out", "cache")  # options that name what is written
_PACKAGES = ("genomelm", "torch", "transformers", "numpy", "scikit-learn")


def tell(text: str) -> None:
    """One line on standard error."""
    sys.stderr.write(f"{' '.join(text.split())}\n")


def tell_unlabelled(known_S: np.ndarray, truth: Path) -> None:
    """How many sequences are not in a score, if any."""
    if not known_S.all():
        tell(f"{(~known_S).sum()} of {len(known_S)} sequences are not in {truth} and not scored")


def missing_file(path: Path) -> str:
    """What is wrong with a path that is no file, for a message."""
    return "a folder" if path.is_dir() else "no such file"


def skipped_table(names: Sequence[str], reason: str) -> pd.DataFrame:
    """Records left out for one reason: name, reason."""
    return pd.DataFrame({"name": list(names), "reason": reason}, dtype=object)


def count_reasons(skipped: pd.DataFrame) -> str:
    """Records left out, by reason, with the first names: '2 empty record (a, b); 1 ...'."""
    parts = []
    for reason, group in skipped.groupby("reason", sort=False):
        shown = ", ".join(group["name"].head(SHOWN)) + (", ..." if len(group) > SHOWN else "")
        parts.append(f"{len(group)} {reason} ({shown})")
    return "; ".join(parts) or "no records"


class Output:
    """Files of one run, made in a hidden folder, that appear together when all is done.

    `path(suffix)` is where to write `<out><suffix>`.
    """

    def __init__(self, out: Path, folder: Path) -> None:
        self.out, self.folder, self.n_skipped = out, folder, 0

    def path(self, suffix: str = "") -> Path:
        """Where to write a file that will be called `<out><suffix>`."""
        return self.folder / f"{self.out.name}{suffix}"

    def write_table(self, table: pd.DataFrame, suffix: str = "") -> None:
        """A tab-separated table with a header."""
        table.to_csv(self.path(suffix), sep="\t", index=False, lineterminator="\n")

    def write_skipped(self, skipped: pd.DataFrame) -> None:
        """The table of records left out; on standard error they are counted and named."""
        self.n_skipped = len(skipped)
        self.write_table(skipped, SKIPPED)
        if len(skipped):
            tell(
                f"left out {len(skipped)} records: {count_reasons(skipped)} "
                f"(all in {self.out.name}{SKIPPED})"
            )

    def write_settings(
        self, given: "argparse.Namespace", program: str = PROGRAM, **found: Any
    ) -> None:
        """What was asked, of which files, with which versions, and what came out."""
        text = describe_run(given, program, **found, n_skipped=self.n_skipped)
        self.path(SETTINGS).write_text(text)


def describe_run(given: "argparse.Namespace", program: str = PROGRAM, **found: Any) -> str:
    """What was asked, of which files, with which versions, and what came out, as JSON."""
    asked = {name: value for name, value in vars(given).items() if name != "argv"}
    content = {
        "command": ["python", "-m", program, *given.argv],
        "settings": asked,
        "inputs": _hash_inputs(asked),
        "versions": _find_versions(),
        **found,
    }
    return json.dumps(content, indent=1, default=_as_json) + "\n"


def check_outputs(given: "argparse.Namespace", suffixes: Sequence[str] = SUFFIXES) -> None:
    """ValueError when the result, or a file beside it, would take the place of a file to read."""
    if given.out is None:
        return
    read = {path.resolve(): path for path in _named_inputs(vars(given))}
    for suffix in suffixes:
        path = given.out.with_name(given.out.name + suffix) if given.out.name else given.out
        if path.resolve() in read:
            raise ValueError(
                f"--out is {given.out}, but {read[path.resolve()]} is an input and would be "
                "overwritten; give --out another name"
            )


def check_new_folder(folder: Path) -> None:
    """ValueError when a result's folder is a file, or holds something."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        what = "is not empty" if folder.is_dir() else "is a file"
        raise ValueError(f"{folder} {what}; name a new folder to write to")


@contextmanager
def open_output(out: Path) -> Iterator[Output]:
    """Inside: an `Output`. Its files move to their names on leaving, the main one last.

    After an error or an interruption nothing is left, and an earlier result stands.
    """
    if out.is_dir():
        raise ValueError(f"--out is {out}, a folder; expected the name of a file")
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = out.parent / f".{out.name}.{os.getpid()}.partial"
    shutil.rmtree(folder, ignore_errors=True)  # of a process of this number that was killed
    folder.mkdir()
    try:
        yield Output(out, folder)
        made = sorted(folder.iterdir(), key=lambda path: path.name == out.name)
        for path in made:
            path.replace(out.parent / path.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _hash_inputs(asked: dict[str, Any]) -> dict[str, str]:
    """SHA-256 of every file that was named, and of every file of a model's folder."""
    hashes = {}
    for path in _named_inputs(asked):
        with path.open("rb") as file:
            hashes[str(path)] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes


def _named_inputs(asked: dict[str, Any]) -> list[Path]:
    """The files that are read: those named, the names beside embeddings, those of a model."""
    inputs = [value for name, value in asked.items() if name not in _WRITTEN]
    named = [path for value in inputs for path in np.atleast_1d(np.array(value, object))]
    read = [path for path in named if isinstance(path, Path)]
    read += [path.with_name(path.name + NAMES) for path in read if path.suffix == ".npy"]
    for name in ("model", "start", "tokenizer"):
        value = asked.get(name)
        if isinstance(value, Path) and value.is_dir():
            read += sorted(value.iterdir())
    return [path for path in read if path.is_file()]


def _find_versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):  # a tree that is used without being installed
            found[name] = version(name)
    return found


def _as_json(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else str(value)
