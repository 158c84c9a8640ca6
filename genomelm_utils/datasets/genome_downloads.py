"""Genomes and annotations from link tables: verified, resumed, and a report of what is dead.

Files come through pooch, which stores nothing whose hash is wrong; what a broken connection left is
kept beside the file and goes on from there. One dead link never stops the others: every file has a
row in the report. The released code did none of this (no status check, no resume, no checksum).

A hash is known (given, or read from the provider's md5 list), or it is recorded at the first
download ("trust on first use") and has to be the same from then on.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pandas as pd

from genomelm_utils.datasets.genome_links import check_table
from genomelm_utils.datasets.registry import TIMEOUT_S
from genomelm_utils.datasets.resumed import (
    RETRIES,
    ResumedDownload,
    explain_error,
    explain_status,
    find_damage,
)

logger = logging.getLogger(__name__)

KINDS = {"genome": "gene_link", "annotation": "annot_link"}
CHECKSUMS = "checksums.tsv"  # in the folder of the downloads
CHECKSUM_COLUMNS = ("address", "hash", "bytes", "origin")
KNOWN, FIRST_USE = "known", "first use"  # origins of a hash
AT_HAND, DOWNLOADED, RESUMED, DEAD, WRONG = "at hand", "downloaded", "resumed", "dead", "wrong"
REPORT_COLUMNS = ("name", "kind", "address", "status", "path", "bytes", "hash", "origin", "reason")


@dataclass(frozen=True)
class Downloads:
    """What became of every file of a link table.

    table: two rows per genome: name, kind (genome or annotation), address, status (`at hand`,
    `downloaded`, `resumed`; `dead`: it could not be had; `wrong`: it came, with a wrong hash or
    damaged), path (str, "" without a file), bytes (Int64), hash (`sha256:...`), origin of the hash
    (`known` or `first use`), reason (why there is no file).
    """

    table: pd.DataFrame

    @property
    def failed(self) -> pd.DataFrame:
        """The rows without a file: dead links and wrong files."""
        return self.table[self.table["path"] == ""].reset_index(drop=True)

    def complete(self) -> pd.DataFrame:
        """Genomes that have both files: name, genome, annotation (paths)."""
        good = self.table[self.table["path"] != ""]
        wide = good.pivot(index="name", columns="kind", values="path").reindex(columns=list(KINDS))
        names = [name for name in self.table["name"].unique() if name in wide.dropna().index]
        return wide.loc[names].rename_axis(columns=None).reset_index()

    def explain(self) -> str:
        """How many files there are by status, and a line for every one that is missing."""
        counts = self.table["status"].value_counts()
        lines = [", ".join(f"{n} {status}" for status, n in counts.items())]
        for row in self.failed.itertuples():
            lines.append(f"  {row.name}, {row.kind}: {row.status}: {row.address}: {row.reason}")
        return "\n".join(lines)


def check_links(links: pd.DataFrame) -> pd.DataFrame:
    """Whether the files of a link table are there, without downloading them.

    One row per file: name, kind, address, status (`alive` or `dead`), bytes (Int64, <NA> where the
    server does not say), reason.
    """
    import requests

    check_table(links, "links")
    rows = []
    for name, kind, address in _iter_files(links):
        try:
            n_bytes, reason = _ask(address)
        except requests.RequestException as error:
            n_bytes, reason = None, explain_error(error)
        rows.append((name, kind, address, "dead" if reason else "alive", n_bytes, reason))
    columns = ["name", "kind", "address", "status", "bytes", "reason"]
    table = pd.DataFrame(rows, columns=columns).astype({"bytes": "Int64"})
    _warn_dead(table[table["status"] == "dead"])
    return table


def download_genomes(
    links: pd.DataFrame,
    folder: str | Path,
    *,
    known: Mapping[str, str] | None = None,
    retries: int = RETRIES,
) -> Downloads:
    """The files of a link table under `folder/<name>/`, and a report with a row for each.

    known: hashes by address, as pooch writes them (`sha256:...`, `md5:...`; see `read_md5sums`).
    A file without one is trusted at its first download if it is whole (a gzip file is read to its
    end); its SHA-256 goes into `folder/checksums.tsv` and must be the same ever after. A file at
    hand whose hash is wrong is fetched again, and replaced only by a right one. retries: further
    attempts after one that brought no new bytes.

    Files are read-only. What is missing is named in the log and in the report; nothing is raised
    for it. Raises ValueError for a link table or a checksum table that cannot be used.
    """
    check_table(links, "links")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    checksums = read_checksums(folder / CHECKSUMS)
    for address, value in (known or {}).items():
        checksums[address] = {"hash": value, "bytes": None, "origin": KNOWN}
    rows, unreachable = [], set()
    with _quiet_pooch():
        for name, kind, address in _iter_files(links):
            target = folder / name / unquote(urlsplit(address).path.rsplit("/", 1)[-1])
            host = urlsplit(address).netloc
            part = ResumedDownload(target, 0 if host in unreachable else retries)
            row = _fetch(address, part, checksums.get(address))
            if part.unreachable:  # the next file there is tried once: no network means no waiting
                unreachable.add(host)
            rows.append({"name": name, "kind": kind, "address": address, **row})
            if row["path"]:
                checksums[address] = {key: row[key] for key in ("hash", "bytes", "origin")}
                _write_checksums(folder / CHECKSUMS, checksums)
    table = pd.DataFrame(rows, columns=list(REPORT_COLUMNS)).astype({"bytes": "Int64"})
    downloads = Downloads(table)
    _warn_dead(downloads.failed)
    return downloads


def read_checksums(path: str | Path) -> dict[str, dict[str, Any]]:
    """Hash, bytes and origin by address, from the table beside downloads; empty without one."""
    path = Path(path)
    if not path.is_file():
        return {}
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    if tuple(table.columns) != CHECKSUM_COLUMNS:
        raise ValueError(
            f"{path}: expected the columns {', '.join(CHECKSUM_COLUMNS)}, found "
            f"{', '.join(table.columns)}; move it away to trust the files anew"
        )
    return {
        row.address: {"hash": row.hash, "bytes": int(row.bytes), "origin": row.origin}
        for row in table.itertuples()
    }


def read_md5sums(path: str | Path, folder_address: str) -> dict[str, str]:
    """Known hashes by address from a list as `md5sum` writes it, of files at `folder_address`.

    NCBI's `md5checksums.txt` and MaizeGDB's `<assembly>.md5` are such lists.
    """
    path = Path(path)
    found = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if not line.strip():
            continue
        digest, _, name = line.partition(" ")
        name = name.strip().lstrip("*").removeprefix("./")
        if len(digest) != 32 or set(digest.lower()) - set("0123456789abcdef") or not name:
            raise ValueError(
                f"{path}, line {number}: expected an MD5 (32 hexadecimal digits), blanks and the "
                f"name of a file; found {line[:60]!r}"
            )
        found[f"{folder_address.rstrip('/')}/{name}"] = f"md5:{digest.lower()}"
    return found


def _iter_files(links: pd.DataFrame) -> Iterator[tuple[str, str, str]]:
    for row in links.to_dict("records"):
        for kind, column in KINDS.items():
            yield row["name"], kind, row[column]


def _ask(address: str) -> tuple[int | None, str]:
    """Size of a file, and why it cannot be had ("" if it can), from the headers alone."""
    import requests

    options = {"timeout": TIMEOUT_S, "headers": {"Accept-Encoding": "identity"}}
    response = requests.head(address, allow_redirects=True, **options)
    if response.status_code in (403, 405, 501):  # servers that refuse to be asked
        response = requests.get(address, stream=True, **options)
        response.close()
    length = response.headers.get("Content-Length")
    return (int(length) if length else None), "" if response.ok else explain_status(response)


def _fetch(address: str, part: ResumedDownload, recorded: dict[str, Any] | None) -> dict[str, Any]:
    """One row of the report, without name, kind and address."""
    import pooch
    import requests
    from urllib3.exceptions import HTTPError

    expected, target = recorded["hash"] if recorded else None, part.target
    failed = {"path": "", "bytes": None, "hash": expected or "", "origin": ""}
    if target.is_file() and expected is None:
        damage = find_damage(target)
        if damage:
            reason = f"{target} is at hand, but {damage}: remove it, so that it is fetched again"
            return {"status": WRONG, "reason": reason, **failed}
    part.check = expected is None
    options = {"fname": target.name, "path": target.parent, "downloader": part.download}
    try:
        try:
            path = Path(pooch.retrieve(address, expected, **options))
        except ValueError:
            if not part.resumed:
                raise  # else the beginning was of another version: once more, from zero
            path = Path(pooch.retrieve(address, expected, **options))
    except (requests.RequestException, HTTPError, ValueError) as error:
        status = DEAD if isinstance(error, requests.RequestException | HTTPError) else WRONG
        other = f" ({target} is at hand, with another hash)" if target.is_file() else ""
        return {"status": status, "reason": f"{explain_error(error)}{other}", **failed}
    path.chmod(0o444)
    status = (RESUMED if part.resumed else DOWNLOADED) if part.used else AT_HAND
    return {
        "status": status,
        "path": str(path),
        "bytes": path.stat().st_size,
        "hash": expected or f"sha256:{pooch.file_hash(str(path))}",
        "origin": recorded["origin"] if recorded else FIRST_USE,
        "reason": "",
    }


def _write_checksums(path: Path, checksums: dict[str, dict[str, Any]]) -> None:
    """The hashes of files that were had, sorted by address, replaced in one step."""
    rows = [
        {"address": address, **entry}
        for address, entry in sorted(checksums.items())
        if entry["bytes"] is not None
    ]
    partial = path.with_name(path.name + ".partial")
    table = pd.DataFrame(rows, columns=list(CHECKSUM_COLUMNS))
    table.to_csv(partial, sep="\t", index=False, lineterminator="\n")
    partial.replace(path)


def _warn_dead(failed: pd.DataFrame) -> None:
    for row in failed.itertuples():
        logger.warning("%s, %s: %s: %s", row.name, row.kind, row.address, row.reason)


@contextmanager
def _quiet_pooch() -> Iterator[None]:
    """Inside, pooch does not advise on the standard error to copy hashes by hand."""
    import pooch

    log = pooch.get_logger()
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)
