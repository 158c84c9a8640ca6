"""What goes into a search: every way to give sequences, what is left out, what is refused."""

import gzip

import numpy as np
import pytest

from genomelm_utils.motifs.records import collect, count_definite, find_simple_repeats
from genomelm_utils.sequences.alphabet import decode, encode
from genomelm_utils.sequences.fasta import read_fasta

TEXTS = {"a": "ACGTACGT", "b": "ttgaccnnacgtac", "c": "GGGGGGGG"}


def texts_of(data):
    return [decode(piece) for piece in np.split(data.codes, data.starts[1:-1])]


def test_every_way_to_give_sequences(tmp_path):
    (tmp_path / "x.fa").write_text("".join(f">{n} 1\n{t}\n" for n, t in TEXTS.items()))
    (tmp_path / "x.fa.gz").write_bytes(gzip.compress((tmp_path / "x.fa").read_bytes()))
    ways = {
        "mapping": (TEXTS, ["a", "b", "c"]),
        "list": (list(TEXTS.values()), ["1", "2", "3"]),
        "codes": ([encode(t) for t in TEXTS.values()], ["1", "2", "3"]),
        "records": (read_fasta(tmp_path / "x.fa"), ["a", "b", "c"]),
        "file": (tmp_path / "x.fa", ["a_1", "b_1", "c_1"]),
        "gzip": (str(tmp_path / "x.fa.gz"), ["a_1", "b_1", "c_1"]),
    }
    for way, (given, names) in ways.items():
        data = collect(given)
        assert data.names == names, way
        assert texts_of(data) == [t.upper() for t in TEXTS.values()], way
        assert data.index.tolist() == [0, 1, 2] and data.skipped.empty


def test_files_whose_first_words_repeat(tmp_path):
    """Peak files do: '>FOXA1 _ 1', '>FOXA1 _ 2'."""
    (tmp_path / "p.fa").write_text("".join(f">FOXA1 _ {i}\nACGTACGTA\n" for i in range(3)))
    assert collect(tmp_path / "p.fa").names == ["FOXA1___0", "FOXA1___1", "FOXA1___2"]


def test_what_cannot_hold_a_motif_is_left_out_and_named(caplog):
    given = {"short": "ACGTA", "n": "NNNNNNNNN", "gaps": "ACGTANACGTANNN", **TEXTS}
    data = collect(given)
    assert data.names == ["a", "b", "c"]
    assert data.index.tolist() == [3, 4, 5]
    assert data.skipped["name"].tolist() == ["short", "n", "gaps"]
    assert data.skipped["reason"].tolist() == [
        "shorter than 6 bp, the shortest motif",
        "no definite base (N only)",
        "no 6 definite bases in a row",
    ]
    assert "left out 1 sequences, shorter than 6 bp, the shortest motif: short" in caplog.text


def test_fewer_than_three_sequences():
    with pytest.raises(ValueError, match="2 sequences to search, expected at least 3"):
        collect(["ACGTACGT", "ACGTACGT"])
    with pytest.raises(ValueError, match=r"0 sequences to search \(4 left out, no definite base"):
        collect(["NNNNNNN"] * 4)
    with pytest.raises(ValueError, match="0 sequences"):
        collect([])


def test_wrong_sequences(tmp_path):
    with pytest.raises(ValueError, match=r"sequence '2': found 'E'.*protein"):
        collect(["ACGTACGT", "ACGTEFGH", "ACGTACGT"])
    with pytest.raises(ValueError, match="sequence '1' is a float, expected a text"):
        collect([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="sequences are a int, expected a file"):
        collect(3)
    with pytest.raises(FileNotFoundError, match=r"no\.fa: no such file"):
        collect(tmp_path / "no.fa")


def test_definite_bases_ahead():
    codes = encode("ACGNACAC")
    assert count_definite(codes, np.array([0, 6, 8])).tolist() == [3, 2, 1, 0, 2, 1, 2, 1]


def test_mask():
    data = collect(TEXTS)
    assert texts_of(data.mask(np.array([[1, 3], [8, 9]])))[:2] == ["ANNTACGT", "NTGACCNNACGTAC"]
    assert texts_of(data)[0] == "ACGTACGT"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("CAAAAAAAAG", [[1, 9]]),  # eight of one base
        ("CAAAAAAAG", []),  # seven
        ("GTATATATAG", [[1, 9]]),
        ("GTATATATG", []),  # three and a half units
        ("AACGACGACGACGT", [[1, 13]]),  # ACG four times and a bit, from its first base on
        ("AACGACGACGTT", []),
        ("AAAANAAAA", []),
    ],
)
def test_simple_repeats(text, masked):
    found = find_simple_repeats(encode(text), np.array([0, len(text)]))
    covered = np.zeros(len(text), bool)
    for begin, end in found:
        covered[begin:end] = True
    expected = np.zeros(len(text), bool)
    for begin, end in masked:
        expected[begin:end] = True
    assert covered.tolist() == expected.tolist()


def test_repeats_end_with_their_sequence():
    codes = encode("GAAAAA" + "AAAAAG")
    assert len(find_simple_repeats(codes, np.array([0, 6, 12]))) == 0
    assert len(find_simple_repeats(codes, np.array([0, 12]))) > 0
