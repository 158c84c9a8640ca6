"""Finding, verifying and downloading data files, against a server on this machine."""

import gzip
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from genomelm_utils import paths
from genomelm_utils.datasets import registry

GOOD = b">s1\nACGTACGT\n"
NAMES = {
    "a/plain.fa": "good",
    "a/packed.fa.gz": "good",
    "a/from_gz.fa.gz": "good.gz",
    "a/wrong.fa": "wrong",
    "a/truncated.fa": "truncated",
    "a/truncated.fa.gz": "truncated.gz",
    "a/gone.fa": "gone",
    "a/offline.fa": None,
}
CLOSED_PORT = "http://127.0.0.1:9"  # the discard service: nothing listens there


class Handler(BaseHTTPRequestHandler):
    """Serves GOOD in good and bad ways, and counts."""

    requests: list[str] = []
    flaky_failures = 0

    def do_GET(self):
        what = self.path.strip("/")
        self.requests.append(what)
        if what == "gone" or (what == "good" and Handler.flaky_failures):
            Handler.flaky_failures = max(0, Handler.flaky_failures - 1)
            self.send_error(404 if what == "gone" else 503)
            return
        body = gzip.compress(GOOD) if what.endswith(".gz") else GOOD
        length = len(body)
        if what == "wrong":
            body, length = b"<html>", 6
        if what.startswith("truncated"):
            body = body[:-9]
            length = len(body) if what.endswith(".gz") else length
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Keep the test's output clean."""


@pytest.fixture
def server():
    Handler.requests, Handler.flaky_failures = [], 0
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


@pytest.fixture
def place(tmp_path, monkeypatch, server):
    """A project folder of its own, whose registry points to the test server."""
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.delenv("GENOMELM_DATA", raising=False)
    monkeypatch.setattr(registry, "DOWNLOAD_RETRIES", 0)
    lines = ["\t".join(registry.COLUMNS)]
    for name, what in NAMES.items():
        address = f"{server}/{what}" if what else f"{CLOSED_PORT}/x"
        digest = hashlib.sha256(GOOD).hexdigest()
        lines.append("\t".join([name, digest, "13", address, "MIT", "copy", "", "test"]))
    lines.append(
        f"a/derived.tsv\t{'0' * 64}\t1\ta/plain.fa\tMIT\t{registry.NOT_REPRODUCIBLE}\t\ttest"
    )
    paths.registry_file().parent.mkdir()
    paths.registry_file().write_text("\n".join(lines) + "\n")
    return tmp_path


def left_behind(place):
    return [path for path in paths.raw_dir().rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", ["a/plain.fa", "a/packed.fa.gz", "a/from_gz.fa.gz"])
def test_download_verifies_and_stores_read_only(place, name):
    path = registry.fetch_file(name)
    assert path == paths.raw_dir() / name
    assert path.stat().st_mode & 0o222 == 0
    content = gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
    assert content == GOOD
    assert left_behind(place) == [path]
    n_requests = len(Handler.requests)
    assert registry.fetch_file(name) == path
    assert len(Handler.requests) == n_requests


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("a/wrong.fa", ValueError, "expected .* nothing was stored"),
        ("a/truncated.fa", FileNotFoundError, "download from .*truncated failed"),
        ("a/truncated.fa.gz", FileNotFoundError, "download from .*truncated.gz failed"),
        ("a/gone.fa", FileNotFoundError, "404"),
        ("a/offline.fa", FileNotFoundError, "offline.fa .* from http://127.*Set GENOMELM_DATA"),
        ("a/derived.tsv", FileNotFoundError, "derived elsewhere.*\n.*\n.*GENOMELM_DATA"),
    ],
)
def test_bad_download_says_so_and_leaves_nothing(place, name, error, says):
    with pytest.raises(error, match=f"(?s){says}"):
        registry.fetch_file(name)
    assert left_behind(place) == []


def test_a_failed_download_is_tried_again(place, monkeypatch):
    monkeypatch.setattr(registry, "DOWNLOAD_RETRIES", 1)
    Handler.flaky_failures = 1
    assert registry.fetch_file("a/plain.fa").read_bytes() == GOOD
    assert Handler.requests == ["good", "good"]


def test_files_at_hand_come_first_and_are_verified(place, tmp_path, monkeypatch):
    folder = tmp_path / "at_hand"
    (folder / "a").mkdir(parents=True)
    monkeypatch.setenv("GENOMELM_DATA", str(folder))
    (folder / "a" / "packed.fa.gz").write_bytes(gzip.compress(GOOD))
    assert registry.fetch_file("a/packed.fa.gz") == folder / "a" / "packed.fa.gz"
    (folder / "a" / "plain.fa").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"SHA-256 is .*, expected .*remove it"):
        registry.fetch_file("a/plain.fa")
    (folder / "a" / "from_gz.fa.gz").write_bytes(gzip.compress(GOOD)[:-9])
    with pytest.raises(ValueError, match="truncated or damaged gzip"):
        registry.fetch_file("a/from_gz.fa.gz")
    assert Handler.requests == []


def test_missing_files_are_listed_together(place):
    names = ["a/plain.fa", "a/packed.fa.gz"]
    assert registry.missing_files(names) == names
    with pytest.raises(FileNotFoundError, match=r"(?s)2 data file.*plain\.fa.*packed\.fa\.gz"):
        registry.fetch_files(names, download=False)
    registry.fetch_file("a/plain.fa")
    assert registry.missing_files(names) == names[1:]
    assert Handler.requests == ["good"]


def test_data_folder_that_does_not_exist_is_an_error(place, monkeypatch):
    monkeypatch.setenv("GENOMELM_DATA", str(place / "nowhere"))
    with pytest.raises(FileNotFoundError, match="does not exist"):
        registry.fetch_file("a/plain.fa")


def test_an_unknown_name_is_answered_with_the_nearest(place):
    with pytest.raises(ValueError, match=r"did you mean a/plain\.fa"):
        registry.fetch_file("a/plain.fasta")


def test_hash_is_remembered_until_the_file_changes(place, monkeypatch):
    path = registry.fetch_file("a/packed.fa.gz")
    calls = []
    real = registry.hash_content
    monkeypatch.setattr(registry, "hash_content", lambda p: calls.append(p) or real(p))
    assert registry.content_sha256(path) == hashlib.sha256(GOOD).hexdigest()
    assert registry.content_sha256(path) == hashlib.sha256(GOOD).hexdigest()
    n_first = len(calls)
    path.chmod(0o644)
    path.write_bytes(gzip.compress(b"changed"))
    assert registry.content_sha256(path) == hashlib.sha256(b"changed").hexdigest()
    assert len(calls) == n_first + 1
    (paths.interim_dir() / "content_sha256.json").write_text("{")
    assert registry.content_sha256(path) == hashlib.sha256(b"changed").hexdigest()


def test_sources_of_a_derived_file_are_fetched_and_thrown_away_when_wrong(
    place, server, monkeypatch
):
    made = b"made of " + GOOD
    name = "a/made.txt"
    lines = paths.registry_file().read_text()
    sources = f"a/plain.fa {server}/good"
    good_row = f"{name}\t{hashlib.sha256(made).hexdigest()}\t1\t{sources}\tMIT\tderived:f\t\tx\n"
    functions = {name: lambda sources: b"wrong"}
    monkeypatch.setattr(registry.derive, "DERIVED_FILES", functions)
    paths.registry_file().write_text(lines + good_row)
    registry._parse_registry.cache_clear()
    with pytest.raises(ValueError, match="gave content"):
        registry.fetch_file(name)
    assert not [p for p in registry._sources_dir().rglob("*") if p.is_file()]
    functions[name] = lambda sources: b"made of " + list(sources.values())[1].read_bytes()
    assert registry.fetch_file(name).read_bytes() == made


def test_shipped_registry_is_whole():
    entries = registry.load_registry().values()
    assert len(entries) == len({entry.name for entry in entries}) > 100
    for entry in entries:
        assert len(entry.content_sha256) == 64
        assert entry.sources
        assert entry.licence
        for source in entry.sources:
            assert source.startswith("https://") or source in registry.load_registry()
        assert entry.transform in ("copy", "gzip") or entry.transform.startswith("derived:")


def test_files_at_hand_have_the_registered_content(data_dir):
    names = [name for name in registry.load_registry() if name.startswith("classification/gene")]
    assert set(registry.fetch_files(names, data_dir, download=False)) == set(names)
