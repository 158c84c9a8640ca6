"""Pair files: what is written is read back, mapped not loaded, and bad lines are named."""

import gzip
import tracemalloc

import numpy as np
import pytest

from genomelm_utils.datasets import species_pair_files
from genomelm_utils.datasets.species import simulate_genome_set
from genomelm_utils.datasets.species_pair_files import (
    open_pairs,
    read_pairs_csv,
    write_pairs_csv,
)
from genomelm_utils.datasets.species_pairs import NO_SPECIES, PairSampler
from genomelm_utils.sequences.alphabet import decode
from genomelm_utils.sequences.simulate_species import simulate_species


@pytest.fixture(scope="module")
def sampler(tmp_path_factory):
    simulated = simulate_species(np.random.default_rng(3), n_species=4, bases_per_species=8000)
    genomes = simulate_genome_set(simulated, tmp_path_factory.mktemp("set"), n_train=2, seed=1)
    return PairSampler(genomes, "train", lengths_bp=[50, 300], seed=2)


def read(tmp_path, text, **options):
    (tmp_path / "pairs.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_pairs_csv(tmp_path / "pairs.csv", tmp_path / "pairs", **options)


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.csv.gz"])
@pytest.mark.parametrize("block", [64, 1 << 22])
def test_what_is_written_is_read_back(sampler, tmp_path, monkeypatch, name, block):
    monkeypatch.setattr(species_pair_files, "_BLOCK_BYTES", block)
    monkeypatch.setattr(species_pair_files, "_WRITE_PAIRS", 7)
    write_pairs_csv(tmp_path / name, sampler, 20)
    opener = gzip.open if name.endswith("gz") else open
    with opener(tmp_path / name, "rt") as file:
        lines = file.read().splitlines()
    expected = sampler.pairs(0, 0, 20)
    assert lines == [
        f"{decode(a)},{decode(b)}" for a, b in zip(expected.first, expected.second, strict=True)
    ]
    found = read_pairs_csv(tmp_path / name, tmp_path / "pairs")
    assert len(found) == 20
    for row in range(20):
        assert [decode(codes) for codes in found.pair(row)] == lines[row].split(",")
    assert isinstance(found.codes, np.memmap)
    assert not list(tmp_path.glob("*.partial"))


def test_reading_and_dealing_hold_a_few_blocks_only(tmp_path, monkeypatch):
    monkeypatch.setattr(species_pair_files, "_BLOCK_BYTES", 1 << 15)
    text = f"{'ACGT' * 2500},{'GGCA' * 2500}\n" * 500  # 10 MB
    (tmp_path / "pairs.csv").write_text(text)
    tracemalloc.start()
    found = read_pairs_csv(tmp_path / "pairs.csv", tmp_path / "pairs")
    found.pairs(0, 0, 8)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == 500
    assert peak < len(text) / 5


def test_pairs_are_shuffled_by_epoch_and_dealt_once(tmp_path):
    text = "".join(f"{'A' * n},{'C' * n}\n" for n in range(1, 11))
    found = read(tmp_path, text, seed=3, pairs_per_step=4)
    dealt = [found.pairs(step, 0, 4) for step in range(5)]  # two epochs of ten pairs
    lengths = np.array([len(codes) for pairs in dealt for codes in pairs.first])
    assert [len(codes) for pairs in dealt for codes in pairs.second] == lengths.tolist()
    first, second = lengths[:10], lengths[10:]
    assert sorted(first) == sorted(second) == list(range(1, 11))
    assert first.tolist() != second.tolist()
    again = open_pairs(tmp_path / "pairs", seed=3, pairs_per_step=4).pairs(2, 1, 3)
    assert [len(codes) for codes in again.first] == lengths[9:11].tolist()
    assert again.species.tolist() == [NO_SPECIES] * 2
    with pytest.raises(ValueError, match="pairs_per_step, 4"):
        found.pairs(0, 0, 5)


def test_case_line_ends_and_blank_lines_do_not_count(tmp_path):
    found = read(tmp_path, b"acgu,GGNRY\r\n\r\nTT,A\r\n\nC,G")
    texts = [tuple(decode(codes) for codes in found.pair(row)) for row in range(len(found))]
    assert texts == [("ACGT", "GGNRY"), ("TT", "A"), ("C", "G")]


def test_empty_and_indefinite_sequences_are_skipped_by_name(tmp_path, caplog):
    found = read(tmp_path, "AC,GT\n,GT\nNNN,ACG\n\nAC,\nG,T\n")
    assert len(found) == 2
    assert decode(found.pair(1)[0]) == "G"
    assert found.skipped.values.tolist() == [
        ["line 2", "empty sequence"],
        ["line 3", "no definite base"],
        ["line 5", "empty sequence"],
    ]
    assert "left out 3 of the pairs: line 2 (empty sequence)" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seq1,seq2\nAC,GT\n", r"line 1: looks like a header \('seq1,seq2'\); remove it"),
        ("ACGT\nACGG\n", r"line 1: 1 column\(s\), expected two nucleotide sequences"),
        ("AC,GT\n\nACGG\n", r"line 3: 1 column\(s\)"),
        ("AC,GT\nAC,GT,1\n", r"line 2: 3 column\(s\)"),
        ("AC,GT\nAC,G-T\n", r"line 2: found '-' \(an alignment gap"),
        ("AC\tGT\n", r"line 1: 1 column\(s\)"),
        ("", r"no pairs \(0 lines left out\)"),
        ("NN,AC\n", r"no pairs \(1 lines left out\)"),
        (gzip.compress(b"AC,GT\n" * 1000, mtime=0)[:-20], "truncated or damaged gzip file"),
    ],
)
def test_bad_files_are_explained(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text)
    with pytest.raises(FileNotFoundError, match=r"no pairs.json"):
        open_pairs(tmp_path / "pairs")


def test_absent_files_and_no_pairs_are_explained(sampler, tmp_path):
    with pytest.raises(FileNotFoundError, match="expected pairs of sequences"):
        read_pairs_csv(tmp_path / "none.csv", tmp_path / "pairs")
    with pytest.raises(ValueError, match="expected at least one"):
        write_pairs_csv(tmp_path / "none.csv", sampler, 0)
