"""Downloads from link tables against a server on this machine that serves well and badly."""

import gzip
import hashlib
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest

from genomelm_utils.datasets import genome_downloads, resumed
from genomelm_utils.datasets.genome_downloads import check_links, download_genomes

CONTENT = b">c1\n" + bytes(range(65, 91)) * 400 + b"\n"
PACKED = gzip.compress(CONTENT, mtime=0) + b"\0" * 40_000  # zeros after a gzip file are allowed
HALF = len(PACKED) // 2
SHA = f"sha256:{hashlib.sha256(PACKED).hexdigest()}"
MD5 = f"md5:{hashlib.md5(PACKED).hexdigest()}"
CLOSED = "http://127.0.0.1:9"  # the discard service: nothing listens there


class Handler(BaseHTTPRequestHandler):
    """The first part of a path says how the file is served; `seen` lists method, path, range."""

    seen: list[tuple[str, str, str | None]] = []

    def do_HEAD(self):
        how = self.path.split("/")[1]
        self.seen.append(("HEAD", self.path, None))
        if how in ("gone", "nohead"):
            self.send_error(404 if how == "gone" else 405)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(PACKED)))
        self.end_headers()

    def do_GET(self):
        how = self.path.split("/")[1]
        asked = self.headers.get("Range")
        n_before = sum(path == self.path for method, path, _ in self.seen if method == "GET")
        self.seen.append(("GET", self.path, asked))
        if how == "gone":
            self.send_error(404)
        elif (how, n_before) in (("busy", 0), ("leaves", 1)):
            self.send_error(503)
        elif how == "html":
            self.send_body(b"<html>please log in</html>")
        elif how == "damaged":
            self.send_body(gzip.compress(CONTENT)[:-9])
        elif how == "other":
            self.send_body(gzip.compress(b"another content"))
        elif how == "stuck":
            self.send_body(PACKED, stop=HALF, tag=None)
        elif how == "changes":  # the beginning that came first is of an older file
            old = n_before == 0
            body = b"x" * len(PACKED) if old else PACKED
            self.send_body(body, asked, HALF if old else None, '"old"' if old else '"new"')
        elif how == "liar":  # the same tag, but the file has changed
            body = b"x" * len(PACKED) if n_before == 0 else PACKED
            self.send_body(body, asked, HALF if n_before == 0 else None)
        elif how in ("cut", "leaves", "norange"):
            stop = HALF if n_before == 0 else None
            self.send_body(PACKED, asked if how != "norange" else None, stop)
        elif how == "drips":  # every answer brings another 10,000 bytes
            self.send_body(PACKED, asked, 10_000)
        else:
            self.send_body(PACKED, asked)

    def send_body(self, body, asked=None, stop=None, tag='"v1"'):
        begin = 0
        if asked and self.headers.get("If-Range") == tag:
            begin = int(asked.removeprefix("bytes=").rstrip("-"))
        if begin >= len(body):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(body)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - begin))
        self.send_header("Content-Encoding", "gzip")  # as some servers say of .gz files
        if tag:
            self.send_header("ETag", tag)
        self.end_headers()
        self.wfile.write(body[begin:] if stop is None else body[begin : begin + stop])

    def log_message(self, *args):
        """Keep the test's output clean."""


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(resumed, "_WAIT_S", 0.0)
    Handler.seen = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def make_links(server: str, how: dict[str, tuple[str, str]]) -> pd.DataFrame:
    rows = [
        (name, f"{server}/{genome}/{name}.fa.gz", f"{server}/{annotation}/{name}.gff3.gz")
        for name, (genome, annotation) in how.items()
    ]
    return pd.DataFrame(rows, columns=["name", "gene_link", "annot_link"])


def one(server, how: str) -> pd.DataFrame:
    """A table whose genome is served in this way; the annotation is good."""
    return make_links(server, {"zea": (how, "good")})


def first(report) -> dict:
    return report.table.iloc[0].to_dict()


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_one_dead_link_never_stops_the_rest(server, tmp_path, caplog):
    how = {"a": ("good", "good"), "b": ("gone", "good"), "c": ("good", "html")}
    links = make_links(server, how | {"d": ("damaged", "gone")})
    links.loc[len(links)] = ["e", f"{CLOSED}/e.fa.gz", f"{server}/good/e.gff3.gz"]
    with caplog.at_level(logging.WARNING):
        report = download_genomes(links, tmp_path, retries=1)
    table = report.table
    assert table["name"].tolist() == ["a", "a", "b", "b", "c", "c", "d", "d", "e", "e"]
    assert table["kind"].tolist() == ["genome", "annotation"] * 5
    assert table["status"].tolist() == [
        *("downloaded", "downloaded", "dead", "downloaded", "downloaded", "wrong"),
        *("wrong", "dead", "dead", "downloaded"),
    ]
    reasons = table["reason"].tolist()
    assert reasons[2] == reasons[7] == "404 Not Found"
    assert "it is no gzip file, it starts with b'<html>please log in" in reasons[5]
    assert "gzip file is truncated or damaged; nothing was stored" in reasons[6]
    assert "refused" in reasons[8]
    good = table[table["path"] != ""]
    assert all(Path(path).read_bytes() == PACKED for path in good["path"])
    assert all(Path(path).stat().st_mode & 0o222 == 0 for path in good["path"])
    assert set(good["hash"]) == {SHA}
    assert set(good["bytes"]) == {len(PACKED)}
    assert report.complete().values.tolist() == [
        ["a", str(tmp_path / "a" / "a.fa.gz"), str(tmp_path / "a" / "a.gff3.gz")]
    ]
    assert len(report.failed) == 5
    lines = report.explain().splitlines()
    assert lines[0] == "5 downloaded, 3 dead, 2 wrong"
    assert lines[1] == f"  b, genome: dead: {server}/gone/b.fa.gz: 404 Not Found"
    assert f"b, genome: {server}/gone/b.fa.gz: 404 Not Found" in caplog.text
    assert names_in(tmp_path) == {Path(path).name for path in good["path"]} | {"checksums.tsv"}


def test_a_dead_link_is_asked_once_and_a_busy_server_again(server, tmp_path):
    download_genomes(one(server, "gone"), tmp_path)
    assert [seen[1].split("/")[1] for seen in Handler.seen].count("gone") == 1
    report = download_genomes(one(server, "busy"), tmp_path, retries=1)
    assert first(report)["status"] == "downloaded"
    Handler.seen = []
    report = download_genomes(make_links(server, {"b": ("busy", "good")}), tmp_path, retries=0)
    assert first(report)["reason"] == "503 Service Unavailable"


def test_a_server_that_cannot_be_reached_is_not_waited_for_again(server, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(resumed.time, "sleep", waits.append)
    monkeypatch.setattr(resumed, "_WAIT_S", 1.0)
    links = make_links(CLOSED, dict.fromkeys("abc", ("x", "y")))
    report = download_genomes(links, tmp_path, retries=2)
    assert set(report.table["status"]) == {"dead"}
    assert waits == [1.0, 2.0]  # of the first file only
    assert names_in(tmp_path) == set()


@pytest.mark.parametrize("known", [None, SHA, MD5])
def test_a_broken_download_goes_on_where_it_ended(server, tmp_path, known):
    links = one(server, "cut")
    known = {links["gene_link"][0]: known} if known else {}
    row = first(download_genomes(links, tmp_path, known=known))
    assert row["status"] == "resumed"
    assert Path(row["path"]).read_bytes() == PACKED
    ranges = [seen[2] for seen in Handler.seen if "/cut/" in seen[1]]
    assert ranges == [None, f"bytes={HALF}-"]


def test_a_later_run_goes_on_too(server, tmp_path):
    links = one(server, "leaves")
    row = first(download_genomes(links, tmp_path, retries=0))
    assert (row["status"], row["path"]) == ("dead", "")
    assert "zea.fa.gz" not in names_in(tmp_path)
    assert (tmp_path / "zea" / ".zea.fa.gz.part").read_bytes() == PACKED[:HALF]
    row = first(download_genomes(links, tmp_path, retries=0))
    assert row["status"] == "resumed"
    assert Path(row["path"]).read_bytes() == PACKED
    assert Handler.seen[-1][2] == f"bytes={HALF}-"
    assert names_in(tmp_path) == {"zea.fa.gz", "zea.gff3.gz", "checksums.tsv"}


def test_a_whole_part_needs_no_more_bytes(server, tmp_path):
    links = one(server, "leaves")
    download_genomes(links, tmp_path, retries=0)
    (tmp_path / "zea" / ".zea.fa.gz.part").write_bytes(PACKED)
    row = first(download_genomes(links, tmp_path, retries=0))
    assert row["status"] == "resumed"
    assert Path(row["path"]).read_bytes() == PACKED


def test_progress_is_not_counted_as_failure(server, tmp_path):
    row = first(download_genomes(one(server, "drips"), tmp_path, retries=0))
    assert row["status"] == "resumed"
    assert Path(row["path"]).read_bytes() == PACKED


@pytest.mark.parametrize("how", ["norange", "changes"])
def test_what_cannot_be_resumed_starts_anew(server, tmp_path, how):
    row = first(download_genomes(one(server, how), tmp_path))
    assert row["status"] == "downloaded"
    assert Path(row["path"]).read_bytes() == PACKED


@pytest.mark.parametrize("known", [None, SHA])
def test_a_wrong_beginning_is_thrown_away(server, tmp_path, known):
    links = one(server, "liar")
    known = {links["gene_link"][0]: known} if known else {}
    row = first(download_genomes(links, tmp_path, known=known))
    assert row["status"] == "downloaded"
    assert Path(row["path"]).read_bytes() == PACKED


def test_a_server_that_always_breaks_off_is_dead(server, tmp_path):
    row = first(download_genomes(one(server, "stuck"), tmp_path, retries=2))
    assert row["status"] == "dead"
    assert len([seen for seen in Handler.seen if "/stuck/" in seen[1]]) == 4  # one had progress
    assert "zea.fa.gz" not in names_in(tmp_path)


def test_a_hash_is_recorded_at_first_use_and_holds(server, tmp_path):
    links = one(server, "good")
    row = first(download_genomes(links, tmp_path))
    assert (row["hash"], row["origin"]) == (SHA, "first use")
    assert (tmp_path / "checksums.tsv").read_text().splitlines() == [
        "address\thash\tbytes\torigin",
        f"{links['gene_link'][0]}\t{SHA}\t{len(PACKED)}\tfirst use",
        f"{links['annot_link'][0]}\t{SHA}\t{len(PACKED)}\tfirst use",
    ]
    n_requests = len(Handler.seen)
    report = download_genomes(links, tmp_path)
    assert report.table["status"].tolist() == ["at hand"] * 2
    assert len(Handler.seen) == n_requests
    path = Path(row["path"])
    path.chmod(0o644)
    path.write_bytes(gzip.compress(b"changed here"))
    assert first(download_genomes(links, tmp_path))["status"] == "downloaded"
    assert path.read_bytes() == PACKED


def test_another_file_at_the_address_is_refused(server, tmp_path):
    links = one(server, "other")
    address = links["gene_link"][0]
    row = first(download_genomes(links, tmp_path, known={address: SHA}))
    assert (row["status"], row["path"]) == ("wrong", "")
    assert "does not match the known hash" in row["reason"]
    assert "zea.fa.gz" not in names_in(tmp_path)
    assert address not in genome_downloads.read_checksums(tmp_path / "checksums.tsv")
    target = tmp_path / "zea" / "zea.fa.gz"
    target.write_bytes(b"what was there")
    row = first(download_genomes(links, tmp_path, known={address: MD5}))
    assert row["status"] == "wrong"
    assert "is at hand, with another hash" in row["reason"]
    assert target.read_bytes() == b"what was there"


def test_files_put_there_by_hand_are_taken_if_they_are_whole(server, tmp_path):
    folder = tmp_path / "zea"
    folder.mkdir()
    (folder / "zea.fa.gz").write_bytes(PACKED)
    (folder / "zea.gff3.gz").write_bytes(gzip.compress(CONTENT)[:-9])
    table = download_genomes(one(server, "good"), tmp_path).table
    assert table["status"].tolist() == ["at hand", "wrong"]
    assert table["origin"][0] == "first use"
    assert "truncated or damaged: remove it" in table["reason"][1]
    assert Handler.seen == []


def test_links_are_checked_without_downloading(server, caplog):
    links = make_links(server, {"a": ("good", "gone"), "b": ("nohead", "good")})
    links.loc[len(links)] = ["c", f"{CLOSED}/c.fa.gz", f"{server}/good/c.gff3.gz"]
    with caplog.at_level(logging.WARNING):
        table = check_links(links)
    assert table["status"].tolist() == ["alive", "dead", "alive", "alive", "dead", "alive"]
    assert table["bytes"].tolist()[0] == len(PACKED)
    assert table["reason"][1] == "404 Not Found"
    assert "refused" in table["reason"][4]
    assert "a, annotation" in caplog.text
    assert [seen[0] for seen in Handler.seen].count("GET") == 1  # where HEAD is refused


def test_md5_lists_are_read(tmp_path):
    path = tmp_path / "md5checksums.txt"
    digest = MD5.removeprefix("md5:")
    path.write_text(f"{digest}  ./x_genomic.fna.gz\n{digest.upper()} *x.gff.gz\n\n")
    assert genome_downloads.read_md5sums(path, "https://h/x/") == {
        "https://h/x/x_genomic.fna.gz": MD5,
        "https://h/x/x.gff.gz": MD5,
    }
    path.write_text(f"{digest}  a\n123 45 file\n")
    with pytest.raises(ValueError, match="line 2: expected an MD5"):
        genome_downloads.read_md5sums(path, "https://h/x")


def test_a_foreign_checksum_table_is_refused(server, tmp_path):
    (tmp_path / "checksums.tsv").write_text("file\tmd5\n")
    with pytest.raises(ValueError, match=r"checksums\.tsv: expected the columns address, hash"):
        download_genomes(one(server, "good"), tmp_path)
    assert Handler.seen == []
