"""Bad files through the real notebook 01: the message, and that the earlier run stands.

What each reader says about each kind of bad file is tested beside the reader
(`sequences/test_fasta.py`, `datasets/test_labelled.py`); here a file that was good goes bad.
"""

import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from genomelm_utils.datasets.labelled import read_labelled
from genomelm_utils.sequences.genome import build_store, open_store

REPOSITORY = Path(__file__).resolve().parents[1]
GOOD = b">one\nACGTACGTNNacgt\n>two\nTTGACA\n"

BAD_FASTA = {
    "no FASTA": (b"ACGT\n", "not a FASTA file: expected '>'"),
    "FASTQ": (b"@read\nACGT\n+\nIIII\n", "not a FASTA file"),
    "empty": (b"", "empty"),
    "protein": (b">a\nMKV*\n", r"record 'a' holds '\*'"),
    "truncated gzip": (gzip.compress(GOOD * 50)[:-9], "truncated or damaged gzip"),
    "duplicate names": (b">a\nAC\n>a\nGT\n", "two records are named 'a'"),
    "only empty records": (b">a\n>b\n", "no record holds any base"),
}
KEPT_FASTA = {
    "lower case": (b">a\nacgtnn\n", ["a"], [[0, 4]]),
    "CRLF": (b">a\r\nACGT\r\n>b\r\nGG\r\n", ["a", "b"], [[0, 4], [4, 6]]),
    "IUPAC": (b">a\nACRYGT\n", ["a"], [[0, 2], [4, 6]]),
    "N-only": (b">a\nNNNN\n", ["a"], []),
    "empty record": (b">a\n>b\nACGT\n", ["b"], [[0, 4]]),
}


@pytest.fixture
def store(tmp_path):
    """A good store, and the bytes of its files."""
    (tmp_path / "good.fa").write_bytes(GOOD)
    built = build_store(tmp_path / "good.fa", tmp_path / "store")
    return built.folder, {path.name: path.read_bytes() for path in built.folder.iterdir()}


@pytest.mark.parametrize("what", BAD_FASTA)
def test_a_bad_fasta_leaves_the_store_that_was_there(store, tmp_path, what):
    folder, before = store
    content, message = BAD_FASTA[what]
    path = tmp_path / "bad.fa"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        build_store([tmp_path / "good.fa", path], folder)
    assert str(path) in str(caught.value)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert {path.name for path in tmp_path.iterdir()} == {"good.fa", "bad.fa", "store"}
    assert open_store(folder).records["name"].tolist() == ["one", "two"]


@pytest.mark.parametrize("what", KEPT_FASTA)
def test_an_odd_fasta_is_read(tmp_path, what):
    content, names, runs = KEPT_FASTA[what]
    (tmp_path / "odd.fa").write_bytes(content)
    built = build_store(tmp_path / "odd.fa", tmp_path / "store")
    assert built.records["name"].tolist() == names
    assert built.runs.tolist() == runs
    skipped = [name for source in built.info["sources"] for name in source["skipped"]]
    assert skipped == (["a"] if what == "empty record" else [])


def test_only_n_ends_in_a_sentence_where_words_are_counted(tmp_path):
    from genomelm_utils.pretraining import pmi
    from genomelm_utils.pretraining.ngrams import count_ngrams

    (tmp_path / "n.fa").write_bytes(b">a\nNNNNNNNNNNNN\n")
    store = build_store(tmp_path / "n.fa", tmp_path / "store")
    counts = count_ngrams(store.codes, store.runs, n_max=6)
    for mode in pmi.MODES:
        with pytest.raises(ValueError, match=r"no word of 6 bases was counted.*all N\?"):
            pmi.ranking(counts, 6, mode=mode)


def test_a_bad_table_is_not_changed(tmp_path):
    """Reading leaves a user's file as it is, whatever is wrong with it."""
    for text in ("seq\tlabel\nACG\t1\n", "sequence\tlabel\nACG\tx\n"):
        path = tmp_path / "mine.tsv"
        path.write_text(text)
        with pytest.raises(ValueError, match=r"mine\.tsv"):
            read_labelled(path)
        assert path.read_text() == text


# --- the whole way -------------------------------------------------------------------------------


class Mine:
    """A project with the real notebook 01, reading one file of the user's."""

    def __init__(self, root: Path, kind: str, name: str, good: bytes) -> None:
        self.root, self.file = root, root / name
        for folder in ("notebooks", "params"):
            (root / folder).mkdir()
        shutil.copy(REPOSITORY / "notebooks" / "01_data.ipynb", root / "notebooks")
        text = f"01_data: {{runs: {{mine: {{kind: {kind}, files: [{name}]}}}}}}\n"
        (root / "params" / "mine.yaml").write_text(text)
        self.file.write_bytes(good)

    def run(self) -> subprocess.CompletedProcess:
        environment = {**os.environ, "GENOMELM_ROOT": str(self.root)}
        environment.pop("GENOMELM_DATA", None)
        command = [sys.executable, str(REPOSITORY / "run_all.py"), "run", "--profile", "mine"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def results(self) -> dict[str, bytes]:
        folder = self.root / "data" / "runs" / "mine" / "01_data" / "mine"
        files = (path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def random_fasta() -> bytes:
    codes = np.random.default_rng(1).integers(0, 4, 30_000)
    return b">chr1\n" + b"".join(b"ACGT"[c : c + 1] for c in codes) + b"\n"


TABLE = b"sequence\tlabel\nACGTACGA\t0\nTTTTCCCA\t1\nAAGGAAGG\t0\nGAGAGAGC\t1\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name", "good", "bad"),
    [
        (
            "genome",
            "mine.fa",
            random_fasta(),
            {
                gzip.compress(random_fasta())[:-50]: "truncated or damaged gzip",
            },
        ),
        (
            "tables",
            "mine.tsv",
            TABLE,
            {
                TABLE.replace(
                    b"\t1", b"\tpromoter"
                ): "the label is 'promoter', expected an integer",
            },
        ),
    ],
    ids=["FASTA", "table"],
)
def test_a_file_that_goes_bad_is_told_and_the_earlier_run_stands(tmp_path, kind, name, good, bad):
    project = Mine(tmp_path, kind, name, good)
    first = project.run()
    assert first.returncode == 0, first.stdout + first.stderr
    before = project.results()
    assert "receipt.json" in before
    for content, message in bad.items():
        project.file.write_bytes(content)
        done = project.run()
        assert done.returncode in (1, 2), done.stdout
        last = done.stderr.strip().splitlines()
        assert message in done.stderr
        assert str(project.file) in done.stderr
        assert "Traceback" not in done.stderr
        if done.returncode == 1:
            assert last[-3].startswith("FAILED 01_data/mine at cell")
            assert message in last[-2]
            assert last[-1].startswith("resume: python run_all.py run --profile mine")
        assert project.results() == before, message
    project.file.write_bytes(good)
    again = project.run()
    assert again.returncode == 0
    assert "all 1 runs are up to date" in again.stdout


@pytest.mark.slow
def test_a_table_of_mixed_lengths_is_read_and_its_lengths_are_in_the_table(tmp_path):
    mixed = TABLE.replace(b"AAGGAAGG", b"AAGG")
    project = Mine(tmp_path, "tables", "mine.tsv", mixed)
    done = project.run()
    assert done.returncode == 0, done.stdout + done.stderr
    header, row = project.results()["tables/sets.csv"].decode().splitlines()
    found = dict(zip(header.split(","), row.split(","), strict=True))
    assert (found["length_min_bp"], found["length_max_bp"]) == ("4", "8")
