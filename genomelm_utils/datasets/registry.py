"""Data files by name: where they lie, whether they are the right ones, and how to get them.

`data/registry.tsv` names every file with the hash of its *uncompressed* content. A file is looked
for in `GENOMELM_DATA`, then in `data/raw`; what is in neither is downloaded to `data/raw` (and
derived from downloaded sources where nobody publishes it), verified, and stored read-only.
"""

import csv
import difflib
import gzip
import hashlib
import json
import logging
import os
import tempfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from genomelm_utils import paths
from genomelm_utils.datasets import derive
from genomelm_utils.sequences.genome import hash_content

logger = logging.getLogger(__name__)

COLUMNS = ("name", "content_sha256", "bytes", "sources", "licence", "transform", "species", "what")
NOT_REPRODUCIBLE = "derived:not reproducible here"
DOWNLOAD_RETRIES = 3  # further attempts after a failed one, 1, 2, 3 s apart
TIMEOUT_S = 60


@dataclass(frozen=True)
class DataFile:
    """One row of the registry.

    `sources` are addresses, or names of other rows; `transform` is `copy` or `gzip` (the content
    is the source's own) or `derived:<function of datasets.derive>`. `n_bytes` is the size on disk.
    """

    name: str
    content_sha256: str
    n_bytes: int
    sources: tuple[str, ...]
    licence: str
    transform: str
    species: str
    what: str


def load_registry() -> dict[str, DataFile]:
    """All rows of `data/registry.tsv` by name."""
    return _parse_registry(paths.registry_file())


@lru_cache(maxsize=4)
def _parse_registry(path: Path) -> dict[str, DataFile]:
    with path.open(newline="") as file:
        reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise ValueError(f"{path}: expected the columns {COLUMNS}, found {reader.fieldnames}")
        rows = [
            DataFile(
                name=row["name"],
                content_sha256=row["content_sha256"],
                n_bytes=int(row["bytes"]),
                sources=tuple(row["sources"].split()),
                licence=row["licence"],
                transform=row["transform"],
                species=row["species"],
                what=row["what"],
            )
            for row in reader
        ]
    return {row.name: row for row in rows}


def find_entry(name: str) -> DataFile:
    """The registry's row of a name; ValueError with the nearest names otherwise."""
    registry = load_registry()
    if name not in registry:
        raise ValueError(f"{name!r} is no file of {paths.registry_file()}{_did_you_mean(name)}")
    return registry[name]


def find_file(name: str, data_dir: Path | None = None) -> Path | None:
    """Where the file of a registry name lies, unverified, or None: nothing is downloaded.

    `data_dir` overrides `GENOMELM_DATA`. A folder that does not exist is a FileNotFoundError: it
    is never meant, and downloading everything instead would hide it.
    """
    folder = data_dir or paths.data_dir()
    if folder and not folder.is_dir():
        raise FileNotFoundError(
            f"the data folder {folder} (GENOMELM_DATA) does not exist: correct it, or unset it to "
            f"download to {paths.raw_dir()}"
        )
    candidates = [parent / name for parent in (folder, paths.raw_dir()) if parent]
    return next((path for path in candidates if path.is_file()), None)


def missing_files(names: Iterable[str], data_dir: Path | None = None) -> list[str]:
    """The registry names of which no file is at hand."""
    return [name for name in names if find_file(find_entry(name).name, data_dir) is None]


def fetch_file(name: str, data_dir: Path | None = None, download: bool = True) -> Path:
    """The verified file of a registry name, downloaded or derived when it is not at hand.

    Raises FileNotFoundError when it is absent and cannot be had (offline, not at the address, or
    `download` is False), naming the address; ValueError when a file has the wrong content.
    """
    return fetch_files([name], data_dir, download)[name]


def fetch_files(
    names: Iterable[str], data_dir: Path | None = None, download: bool = True
) -> dict[str, Path]:
    """The verified files of several registry names; see `fetch_file`.

    Without `download` all that is missing is listed in one error.
    """
    entries = [find_entry(name) for name in names]
    absent = [entry for entry in entries if find_file(entry.name, data_dir) is None]
    if absent and not download:
        raise FileNotFoundError(_explain_missing(absent, "not at hand"))
    return {entry.name: _fetch(entry, data_dir) for entry in entries}


def content_sha256(path: Path) -> str:
    """The SHA-256 of a file's uncompressed content, remembered by path, size and time of change.

    The memory (a file in `data/interim`, safe to delete) is what lets a plan look at hundreds of
    files without reading them. A truncated gzip file is a ValueError.
    """
    path = path.resolve()
    status = path.stat()
    known = _read_memory().get(str(path))
    if known and known[:2] == [status.st_size, status.st_mtime_ns]:
        return known[2]
    found = hash_content(path)
    _remember(path, [status.st_size, status.st_mtime_ns, found])
    return found


def _fetch(entry: DataFile, data_dir: Path | None) -> Path:
    path = find_file(entry.name, data_dir)
    if path is None:
        return _obtain(entry, data_dir)
    found = content_sha256(path)
    if found != entry.content_sha256:
        raise ValueError(
            f"{path}: the content's SHA-256 is {found}, expected {entry.content_sha256} "
            f"({paths.registry_file()}, {entry.name}). The file is damaged or another version: "
            f"remove it, so that it is fetched again, or replace it ({' '.join(entry.sources)})"
        )
    return path


def _obtain(entry: DataFile, data_dir: Path | None) -> Path:
    """Download or derive a file into `data/raw`; nothing is left behind unless it is right."""
    kind, _, function = entry.transform.partition(":")
    sources = {}
    if entry.transform == NOT_REPRODUCIBLE:
        raise FileNotFoundError(
            _explain_missing([entry], "it was derived elsewhere and cannot be downloaded")
        )
    if kind == "derived":
        sources = {source: _obtain_source(source, entry, data_dir) for source in entry.sources}
        logger.info("deriving %s (%s)", entry.name, function)
        content = derive.DERIVED_FILES[entry.name](sources)
    else:
        content = _download(entry.sources[0], entry)
    found = hashlib.sha256(content).hexdigest()
    if found != entry.content_sha256:
        for source in sources.values():  # so that another try does not meet a damaged source again
            if source.is_relative_to(_sources_dir()):
                source.unlink()
        raise ValueError(
            f"{entry.name}: {' '.join(entry.sources)} gave content ({len(content)} bytes) with "
            f"SHA-256 {found}, expected {entry.content_sha256}: nothing was stored. Try again "
            "later, or set GENOMELM_DATA to a folder that holds the file"
        )
    return _store(paths.raw_dir() / entry.name, content)


def _obtain_source(source: str, entry: DataFile, data_dir: Path | None) -> Path:
    """A source of a derived file: another registry file, or a download kept beside the raw files.

    Downloads need no hash of their own: what is derived from them is verified.
    """
    if source in load_registry():
        return _fetch(find_entry(source), data_dir)
    path = _sources_dir() / source.partition("://")[2]
    return path if path.is_file() else _store(path, _download(source, entry))


def _sources_dir() -> Path:
    return paths.interim_dir() / "sources"


def _download(address: str, entry: DataFile) -> bytes:
    """The uncompressed content at an address, after some retries."""
    import pooch
    from requests.exceptions import RequestException

    logger.info("downloading %s from %s", entry.name, address)
    with tempfile.TemporaryDirectory(prefix="genomelm-") as folder:
        downloader = pooch.HTTPDownloader(progressbar=False, timeout=TIMEOUT_S)
        retriever = pooch.create(
            path=folder,
            base_url="",
            registry={"part": None},
            urls={"part": address},
            retry_if_failed=DOWNLOAD_RETRIES,
        )
        try:
            part = retriever.fetch("part", downloader=downloader)
            return derive.read_content(Path(part))
        except (RequestException, EOFError, zlib.error, gzip.BadGzipFile) as error:
            reason = f"the download from {address} failed ({error})"
            raise FileNotFoundError(_explain_missing([entry], reason)) from error


def _store(path: Path, content: bytes) -> Path:
    """Write content under its final name in one step, read-only, compressed if the name says so."""
    data = gzip.compress(content, 9, mtime=0) if path.suffix == ".gz" else content
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=".part-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(part).chmod(0o444)
        Path(part).replace(path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
    return path


def _memory_file() -> Path:
    return paths.interim_dir() / "content_sha256.json"


def _read_memory() -> dict[str, list]:
    try:
        return json.loads(_memory_file().read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        logger.warning("%s is damaged: hashes are computed again", _memory_file())
        return {}


def _remember(path: Path, record: list) -> None:
    """Add one record; two processes at once may lose one, which costs hashing a file again."""
    text = json.dumps(_read_memory() | {str(path): record}, indent=0)
    try:
        memory = _memory_file()
        memory.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=memory.parent, prefix=".part-")
        with os.fdopen(handle, "w") as file:
            file.write(text)
        Path(part).replace(memory)
    except OSError as error:
        logger.warning("cannot remember the hash of %s (%s): it is computed again", path, error)


def _explain_missing(entries: list[DataFile], reason: str) -> str:
    lines = [
        f"  {entry.name} ({entry.n_bytes / 1e6:.2f} MB) from {' '.join(entry.sources)}"
        for entry in entries
    ]
    return (
        f"{len(entries)} data file(s) missing, {reason}:\n" + "\n".join(lines) + "\n"
        f"Looked in GENOMELM_DATA ({paths.data_dir() or 'not set'}) and {paths.raw_dir()}. Set "
        "GENOMELM_DATA (or --data-dir) to a folder that holds them, or connect to the network"
    )


def _did_you_mean(name: str) -> str:
    near = difflib.get_close_matches(name, load_registry(), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else ""
