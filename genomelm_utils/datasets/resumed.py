"""Downloads that go on where they broke off, for pooch, and what went wrong in one line."""

import http
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genomelm_utils.datasets.registry import TIMEOUT_S
from genomelm_utils.sequences.fasta import is_gzip
from genomelm_utils.sequences.genome import hash_content

if TYPE_CHECKING:
    from requests import Response

RETRIES = 3
_WAIT_S = 1.0
_PIECE_BYTES = 1 << 20
_TRANSIENT = (408, 425, 429, 500, 502, 503, 504)  # Source: RFC 9110 section 15, RFC 6585, RFC 8470


def find_damage(path: Path) -> str:
    """What is wrong with a file of whose hash nothing is known; "" if it seems whole."""
    if not path.name.removesuffix(".part").endswith(".gz"):
        return "" if path.stat().st_size else "it is empty"
    if not is_gzip(path):
        with path.open("rb") as file:
            return f"it is no gzip file, it starts with {file.read(20)!r}"
    try:
        hash_content(path)
    except ValueError:
        return "the gzip file is truncated or damaged"
    return ""


@dataclass
class ResumedDownload:
    """A downloader for pooch that goes on where an earlier attempt, or an earlier run, ended.

    Beside the target, `.NAME.part` holds the bytes that came; `.NAME.part.json` what tells whether
    the file at the address is still the same (its entity tag, or time of change). Without either,
    a download starts anew.

    target: where the file will lie; retries: further attempts after one that brought no new bytes,
    1, 2, 3 s apart; check: refuse a file that does not seem whole (when no hash is known). Said
    afterwards: used (whether anything was downloaded), resumed (whether it began in the middle),
    unreachable (no connection, and no byte ever came).
    """

    target: Path
    retries: int = RETRIES
    check: bool = False
    used: bool = field(default=False, init=False)
    resumed: bool = field(default=False, init=False)
    unreachable: bool = field(default=False, init=False)

    @property
    def path(self) -> Path:
        return self.target.with_name(f".{self.target.name}.part")

    @property
    def _mark(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    def download(self, address: str, output: str, _pooch: Any) -> None:
        """Called by pooch: the whole file at `address` as `output`."""
        import requests
        from urllib3.exceptions import HTTPError

        self.used, self.unreachable = True, False
        n_failures, longest = 0, self._size()
        while True:
            try:
                self._receive(address)
                break
            except (requests.RequestException, HTTPError) as error:
                response = getattr(error, "response", None)
                if response is not None and response.status_code not in _TRANSIENT:
                    self.remove()
                    raise
                n_failures = 0 if self._size() > longest else n_failures + 1
                longest = max(longest, self._size())
                if n_failures > self.retries:
                    self.unreachable = response is None and not longest
                    raise
                time.sleep(n_failures * _WAIT_S)
        damage = find_damage(self.path) if self.check else ""
        if damage:
            self.remove()
            raise ValueError(f"{address}: {damage}; nothing was stored")
        self.path.replace(output)
        self.remove()

    def remove(self) -> None:
        """Forget the beginning."""
        self.path.unlink(missing_ok=True)
        self._mark.unlink(missing_ok=True)

    def _size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    def _receive(self, address: str) -> None:
        """One attempt: the file from where the beginning ends, or from zero."""
        import requests

        headers = {"Accept-Encoding": "identity"}
        have, mark = self._size(), self._read_mark(address)
        if have and mark:
            headers |= {"Range": f"bytes={have}-", "If-Range": mark}
        with requests.get(address, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
            if response.status_code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                if response.headers.get("Content-Range") == f"bytes */{have}":
                    self.resumed = True
                    return  # nothing was missing
                self.remove()
                raise requests.ConnectionError(f"{address}: no bytes from {have} on, starting anew")
            response.raise_for_status()
            begins = _first_byte(response)
            if begins not in (0, have):
                self.remove()
                raise requests.ConnectionError(f"{address}: sent from byte {begins}, not {have}")
            self.resumed = begins > 0
            self._write_mark(address, response)
            with self.path.open("ab" if begins else "wb") as file:
                for piece in response.raw.stream(_PIECE_BYTES, decode_content=False):
                    file.write(piece)
        length = response.headers.get("Content-Length")
        if length and self._size() != begins + int(length):
            raise requests.ConnectionError(
                f"{address}: the connection ended after {self._size():,} of "
                f"{begins + int(length):,} bytes"
            )

    def _read_mark(self, address: str) -> str | None:
        try:
            mark = json.loads(self._mark.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return mark["mark"] if mark["address"] == address else None

    def _write_mark(self, address: str, response: "Response") -> None:
        tag = response.headers.get("ETag", "")
        mark = tag if tag.startswith('"') else response.headers.get("Last-Modified")
        self._mark.write_text(json.dumps({"address": address, "mark": mark}))


def _first_byte(response: "Response") -> int:
    """Where the body of a response starts in the file. Source: RFC 9110, section 14.4."""
    if response.status_code != http.HTTPStatus.PARTIAL_CONTENT:
        return 0
    words = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")
    return int(words[0]) if words[0].isdigit() else -1


def explain_status(response: "Response") -> str:
    """An HTTP status: its number and its name."""
    return f"{response.status_code} {response.reason}"


def explain_error(error: Exception) -> str:
    """An error in one line; of an HTTP error the status."""
    response = getattr(error, "response", None)
    return explain_status(response) if response is not None else " ".join(str(error).split())
