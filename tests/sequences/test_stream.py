import bz2
import gzip
import logging

import numpy as np
import pytest

from genomelm_utils.sequences.alphabet import decode
from genomelm_utils.sequences.fasta import read_fasta, write_fasta
from genomelm_utils.sequences.stream import RecordStream, iter_records

FASTA = b">a first contig\nACGT\nac\n>b\r\nNNRYA\r\n\r\n>c\nGG\n"
FASTQ = b"@a 1:N:0\nACGTac\n+\nIIIIII\n@b\nNNRYA\n+b\nIIIII\n@c\nGG\n+\n>@\n"
EXPECTED = {"a": "ACGTAC", "b": "NNRYA", "c": "GG"}


def read_all(path, **options) -> dict[str, str]:
    return {
        name: decode(codes)
        for block in iter_records(path, **options)
        for name, codes in zip(block.names, block.codes, strict=True)
    }


def write(folder, data: bytes, name: str = "x.dat"):
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
@pytest.mark.parametrize("text", [FASTA, FASTQ])
@pytest.mark.parametrize("name", ["x.fa", "x.fastq", "x.txt"])
def test_format_and_compression_are_told_by_content_not_by_name(tmp_path, pack, text, name):
    assert read_all(write(tmp_path, pack(text), name)) == EXPECTED


def test_same_records_as_the_reader_of_whole_files(tmp_path, rng):
    path = tmp_path / "many.fa"
    codes = [rng.integers(0, 15, n, dtype=np.uint8) for n in rng.integers(1, 300, 200)]
    write_fasta(path, [f"r{i}" for i in range(200)], codes)
    whole = read_fasta(path)
    kept = {
        name: decode(whole.codes[start:end])
        for name, start, end in zip(whole.names, whole.starts, whole.starts[1:], strict=False)
        if whole.codes[start:end].min() < 4
    }
    assert read_all(path) == kept


def test_blocks_are_bounded_in_bases_and_in_records_and_lose_nothing(tmp_path, rng):
    path = tmp_path / "many.fa"
    lengths = rng.integers(1, 100, 300)
    write_fasta(path, [f"r{i}" for i in range(300)], [np.zeros(n, np.uint8) for n in lengths])
    blocks = list(iter_records(path, block_bases=500, block_records=9))
    assert max(block.n_bases for block in blocks) < 500 + 100
    assert max(len(block) for block in blocks) == 9
    assert [len(codes) for block in blocks for codes in block.codes] == lengths.tolist()
    assert [name for block in blocks for name in block.names] == [f"r{i}" for i in range(300)]


def test_a_stream_read_twice_gives_the_same_and_counts(tmp_path):
    stream = RecordStream(write(tmp_path, FASTA))
    first, second = ([block.names for block in stream] for _ in range(2))
    assert first == second == [["a", "b", "c"]]
    assert (stream.n_records, stream.n_bases, stream.format) == (3, 13, "fasta")


def test_empty_n_only_and_short_records_are_counted_and_named(tmp_path, caplog):
    data = b">a\nACGT\n>empty\n>ns\nNNNN\nnn\n>short\nAC\n>b\nACGTN\n"
    stream = RecordStream(write(tmp_path, data), min_bp=3)
    with caplog.at_level(logging.WARNING):
        assert [block.names for block in stream] == [["a", "b"]]
    assert dict(stream.skipped.to_numpy().tolist()) == {
        "empty": "empty record",
        "ns": "no definite base (N only)",
        "short": "shorter than 3 bp",
    }
    assert "left out 1 records" in caplog.text and "ns" in caplog.text


@pytest.mark.parametrize("block_records", [1, 2, 100])
def test_a_repeated_name_is_an_error_also_across_blocks(tmp_path, block_records):
    path = write(tmp_path, b">a 1\nACGT\n>b\nAC\n>c\nAC\n>a 2\nGG\n")
    with pytest.raises(ValueError, match=r"two records are named 'a', the 1\. and the 4\."):
        read_all(path, block_records=block_records)


def test_equal_hashes_of_different_names_are_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr("genomelm_utils.sequences.stream.hash", lambda name: 7, raising=False)
    assert read_all(write(tmp_path, FASTA)) == EXPECTED


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"name,sequence\na,ACGT\n", "not a sequence file: expected '>'.*or '@'"),
        (b">a\nACGT\n>\nAC\n", "record 2 has no name"),
        (b">a\nACGT\n>b\nAC-T\n", r"record 'b' holds '-' \(an alignment gap.*at base 2"),
        (b">a\nMKVLAA\n", "is this a protein sequence"),
        (b"@a\nACGT\n+\nIII\n", "qualities differ"),
        (b"@a\nACGT\n+\n", "[Pp]remature end"),
        (b">a\n>b\nNN\n", "nothing to read: 1 empty record, 1 no definite base"),
    ],
)
def test_bad_files_are_clear_errors_that_name_the_file(tmp_path, data, message):
    path = write(tmp_path, data)
    with pytest.raises(ValueError, match=message) as error:
        read_all(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("text", [FASTA, FASTQ])
def test_truncated_and_damaged_gzip(tmp_path, text):
    whole = gzip.compress(text)
    for data in (whole[:-9], whole[:30] + b"\xff\xff\xff" + whole[33:]):
        with pytest.raises(ValueError, match=r"truncated or damaged|[Pp]remature"):
            read_all(write(tmp_path, data))


def test_absent_file_and_impossible_bounds(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no such file, expected FASTA or FASTQ"):
        RecordStream(tmp_path / "none.fa")
    with pytest.raises(ValueError, match="expected at least 1"):
        RecordStream(write(tmp_path, FASTA), block_bases=0)


def test_blanks_inside_lines_do_not_count(tmp_path):
    assert read_all(write(tmp_path, b">a\nAC GT\tA \n>b\nGG\n")) == {"a": "ACGTA", "b": "GG"}


def test_real_contigs_and_reads(data_dir):
    for path in (data_dir / "species").rglob("*.f*a*"):
        stream = RecordStream(path)
        n = sum(len(block) for block in stream)
        assert n == stream.n_records > 0
