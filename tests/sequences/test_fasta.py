"""FASTA reading: what is kept, what is refused, and equality with pyfaidx on real files."""

import gzip
import shutil
import subprocess
import sys

import numpy as np
import pytest

from genomelm_utils.sequences import fasta
from genomelm_utils.sequences.alphabet import decode
from genomelm_utils.sequences.fasta import fetch_regions, read_fasta, write_fasta

MIXED = b"\n>one first record\nACGT\nacgtNN\n\n>two\r\nrYn\r\nAC\r\n>three\tx\nNNNN\n>four\nu U\ng"


@pytest.fixture
def write(tmp_path):
    def write_bytes(content: bytes, name: str = "x.fa"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write_bytes


def as_dict(records) -> dict[str, str]:
    pieces = np.split(records.codes, records.starts[1:-1])
    return {name: decode(codes) for name, codes in zip(records.names, pieces, strict=True)}


def naive_fasta(content: bytes) -> tuple[dict[str, str], list[list[int]]]:
    """Upper-case text per record and the maximal lower-case intervals, base by base."""
    texts, soft, total = {}, [], 0
    for line in content.decode().splitlines():
        if line.startswith(">"):
            name = line[1:].split()[0]
            texts[name] = ""
            start = total
            continue
        for letter in "".join(line.split()):
            texts[name] += letter.upper().replace("U", "T")
            if letter.islower():
                if soft and soft[-1][1] == total and soft[-1][0] >= start:
                    soft[-1][1] += 1
                else:
                    soft.append([total, total + 1])
            total += 1
    return texts, soft


def test_mixed_file_by_hand(write):
    records = read_fasta(write(MIXED))
    assert as_dict(records) == {"one": "ACGTACGTNN", "two": "RYNAC", "three": "NNNN", "four": "TTG"}
    assert records.starts.tolist() == [0, 10, 15, 19, 22]
    assert records.soft.tolist() == [[4, 8], [10, 11], [12, 13], [19, 20], [21, 22]]
    assert records.runs().tolist() == [[0, 8], [13, 15], [19, 22]]
    assert len(records.skipped) == 0


def test_gzip_is_told_by_content(write):
    plain = read_fasta(write(MIXED))
    zipped = read_fasta(write(gzip.compress(MIXED, mtime=0), "no_hint.fa"))
    misnamed = read_fasta(write(MIXED, "plain.fa.gz"))
    for other in (zipped, misnamed):
        assert other.names == plain.names
        assert np.array_equal(other.codes, plain.codes)
        assert np.array_equal(other.soft, plain.soft)


@pytest.mark.parametrize("chunk_bytes", [1, 5, 16, 40, 1 << 20])
def test_chunks_do_not_show(write, rng, monkeypatch, chunk_bytes):
    lines = []
    for i in range(40):
        lines.append(f">r{i} {'x' * int(rng.integers(0, 60))}")
        letters = rng.choice(list("ACGTacgtNnU"), int(rng.integers(1, 90)))
        letters[10:40] = [letter.lower() for letter in letters[10:40]]
        text = "".join(letters)
        lines += [text[j : j + 17] for j in range(0, len(text), 17)]
    content = "\n".join(lines).encode()
    monkeypatch.setattr(fasta, "_CHUNK_BYTES", chunk_bytes)
    records = read_fasta(write(content))
    texts, soft = naive_fasta(content)
    assert as_dict(records) == texts
    assert records.soft.tolist() == soft


def test_soft_intervals_are_cut_between_records(write):
    records = read_fasta(write(b">a\nACgt\n>b\nacGT\n"))
    assert records.soft.tolist() == [[2, 4], [4, 6]]


def test_empty_records_are_skipped_and_named(write, caplog):
    records = read_fasta(write(b">a\n>b\nAC\n>c\n\n>d\nG\n>e"))
    assert as_dict(records) == {"b": "AC", "d": "G"}
    assert records.starts.tolist() == [0, 2, 3]
    assert records.skipped["name"].tolist() == ["a", "c", "e"]
    assert set(records.skipped["reason"]) == {"empty record"}
    assert "left out 3 empty records: a, c, e" in caplog.text


def test_n_only_record_is_kept_without_runs(write):
    records = read_fasta(write(b">gap\nNNNN\n"))
    assert records.names == ["gap"]
    assert records.runs().shape == (0, 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"\n\n  \n", "empty"),
        (b"ACGT\n", "not a FASTA file: expected '>'.*ACGT"),
        (b"@read\nACGT\n+\nIIII\n", "not a FASTA file"),
        (b">a\nAC\nGT-A\n", r"line 3: record 'a' holds '-' .*gap.* at base 4 \(0-based\)"),
        (b">a\nAC\n>b\nMKV*\n", r"line 4: record 'b' holds '\*' .*protein.* at base 3"),
        (b">a\nAC\n>b\nAC1T\n", "line 4: record 'b' holds '1' at base 2"),
        (b">a\nAC>b\n", "line 2: record 'a' holds '>' at base 2"),
        (b">a\nAC\n> \nGT\n", "line 3: record 2 has no name"),
        (b">a x\nAC\n>b\nGT\n>a y\nC\n", "two records are named 'a', at lines 1 and 5"),
        (b">a\n>b\n", "no record holds any base"),
        (gzip.compress(b">a\nACGTACGT\n", mtime=0)[:-9], "truncated or damaged gzip"),
        (gzip.compress(b">a\nACGTACGT\n", mtime=0)[:14], "truncated or damaged gzip"),
        (gzip.compress(b">a\nACGT\n", mtime=0) + b"garbage", "truncated or damaged gzip"),
    ],
)
def test_bad_files_say_what_and_where(write, content, message):
    path = write(content)
    with pytest.raises(ValueError, match=message) as error:
        read_fasta(path)
    assert str(path) in str(error.value)


def test_bad_character_in_a_later_chunk(write, monkeypatch):
    monkeypatch.setattr(fasta, "_CHUNK_BYTES", 8)
    with pytest.raises(ValueError, match="line 5: record 'b' holds '!' at base 6"):
        read_fasta(write(b">a\nACGTACGT\n>b\nACGTA\nC!\n>c\nA\n"))


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file, expected a FASTA"):
        read_fasta(tmp_path / "none.fa")


@pytest.mark.parametrize("name", ["x.fa", "x.fa.gz"])
def test_written_records_read_back(tmp_path, rng, name):
    names = [f"r{i}" for i in range(6)]
    sequences = [rng.integers(0, 15, n, dtype=np.uint8) for n in (1, 79, 80, 81, 160, 500)]
    write_fasta(tmp_path / name, names, sequences)
    first = (tmp_path / name).read_bytes()
    records = read_fasta(tmp_path / name)
    assert records.names == names
    assert np.array_equal(records.codes, np.concatenate(sequences))
    write_fasta(tmp_path / name, names, sequences)
    assert (tmp_path / name).read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_write_lines(tmp_path):
    write_fasta(tmp_path / "x.fa", ["a"], [np.array([0, 1, 2, 3, 14], np.uint8)], width=3)
    assert (tmp_path / "x.fa").read_text() == ">a\nACG\nTN\n"


def test_regions_by_coordinates(write):
    path = write(b">one\nACGTA\nCGTNN\n>two\nggcc\n")
    found = fetch_regions(path, [("one", 3, 9), ("two", 0, 4), ("one", 2, 2)])
    assert [decode(codes) for codes in found] == ["TACGTN", "GGCC", ""]
    assert [p.name for p in path.parent.iterdir()] == ["x.fa"]
    with pytest.raises(ValueError, match=r"region two:1-5 .*<= 4, the length"):
        fetch_regions(path, [("two", 1, 5)])
    with pytest.raises(ValueError, match="no record 'tow'; did you mean 'two'"):
        fetch_regions(path, [("tow", 1, 2)])
    with pytest.raises(FileNotFoundError):
        fetch_regions(path.with_name("y.fa"), [])


def test_regions_of_a_gzipped_file_are_refused_clearly(write):
    path = write(gzip.compress(b">a\nACGT\n", mtime=0), "x.fa.gz")
    with pytest.raises(ValueError, match="gzipped file cannot be read by coordinates"):
        fetch_regions(path, [("a", 0, 2)])


def test_lines_of_several_lengths_have_no_coordinates(write):
    path = write(b">a\nACGT\nAC\nACGT\n")
    with pytest.raises(ValueError, match=r"cannot be read by coordinates .*one length"):
        fetch_regions(path, [("a", 0, 2)])


def test_import_needs_no_numba():
    code = "import sys, genomelm_utils.sequences.fasta as f; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "name",
    [
        "genomes/yeast/Saccharomyces_cerevisiae.R64-1-1.dna.toplevel.fa.gz",
        "genomes/bacteria/Escherichia_coli_K12_MG1655__GCF_000005845.2.fna.gz",
        "genomes/human/GRCh38_chr9_1_1000000.fa.gz",
    ],
)
def test_equals_pyfaidx_on_real_files(data_dir, tmp_path, name):
    import pyfaidx

    plain = tmp_path / "genome.fa"
    with gzip.open(data_dir / name) as source, plain.open("wb") as target:
        shutil.copyfileobj(source, target)
    records = read_fasta(data_dir / name)
    with pyfaidx.Fasta(str(plain), as_raw=True) as expected:
        assert records.names == list(expected.keys())
        texts = [str(expected[name][:]) for name in records.names]
    joined = "".join(texts)
    assert decode(records.codes) == joined.upper()
    assert np.diff(records.starts).tolist() == [len(text) for text in texts]
    lower = np.zeros(len(joined), bool)
    for begin, end in records.soft:
        lower[begin:end] = True
    letters = np.frombuffer(joined.encode(), np.uint8)
    assert np.array_equal(lower, (letters & 32) != 0)
    name = records.names[0]
    assert (
        decode(fetch_regions(plain, [(name, 20_000, 20_100)])[0]) == texts[0][20_000:20_100].upper()
    )
