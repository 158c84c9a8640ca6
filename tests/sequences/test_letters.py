"""FASTA as letters: windows, kinds, what is left out, what is refused, and the other strand."""

import gzip

import pytest

from genomelm_utils.sequences import letters
from genomelm_utils.sequences.alphabet import IUPAC_SETS
from genomelm_utils.sequences.letters import (
    LetterStream,
    canonical_text,
    reverse_complement_text,
    tell_kind,
)


def write(path, text):
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def read(path, **options):
    return [tuple(window) for window in LetterStream(path, **options)]


@pytest.mark.parametrize("name", ["a.fa", "a.fa.gz"])
def test_whole_records_with_their_whole_headers(tmp_path, name):
    path = write(tmp_path / name, ">r1 some, words\r\nACgt\r\nAC \r\n\r\n>r2\nNNN")
    assert read(path) == [("r1 some, words", 0, "ACGTAC"), ("r2", 0, "NNN")]
    assert read(path, case="keep")[0][2] == "ACgtAC"
    assert read(path, case="lower")[0][2] == "acgtac"


def test_windows_are_cut_across_lines_and_the_last_is_what_is_left(tmp_path):
    path = write(tmp_path / "a.fa", ">a\nACGTA\nCGT\n>b\nAC\n>c\nACGTAC\n")
    found = read(path, window=3)
    assert found == [
        *[("a", 0, "ACG"), ("a", 1, "TAC"), ("a", 2, "GT")],
        *[("b", 0, "AC"), ("c", 0, "ACG"), ("c", 1, "TAC")],
    ]


@pytest.mark.parametrize("n_bytes", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("window", [None, 4])
def test_reading_does_not_depend_on_the_size_of_a_block(tmp_path, monkeypatch, n_bytes, window):
    text = ">first x\nACGTA\nCG\n>second\n\n>third\nAC\r\nGT\r\n>fourth\nA"
    path = write(tmp_path / "a.fa", text)
    expected = read(path, window=window)
    monkeypatch.setattr(letters, "_BLOCK_BYTES", n_bytes)
    assert read(path, window=window) == expected
    assert [one for one, index, _ in expected if index == 0] == ["first x", "third", "fourth"]


def test_empty_records_are_named_and_counts_are_kept(tmp_path, caplog):
    stream = LetterStream(write(tmp_path / "a.fa", ">a\n>b\nACGT\n>c\n\n"), window=3)
    assert [window.text for window in stream] == ["ACG", "T"]
    assert stream.skipped.to_numpy().tolist() == [["a", "empty record"], ["c", "empty record"]]
    assert (stream.n_records, stream.n_letters) == (1, 4)
    assert "left out 2 empty records: a, c" in caplog.text
    assert len(list(stream)) == 2
    assert len(stream.skipped) == 2


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("ACGTNNNACGT", "dna"),
        ("acgtacgtac", "dna"),
        ("ACGUNNNACGU", "rna"),
        ("ACCGACCGACG", "dna"),
        ("MASKERTLIPW", "protein"),
        ("ACGTACGTACGTACGTACGR", "dna"),  # one ambiguous base in twenty
    ],
)
def test_kinds_are_told_from_the_letters(tmp_path, text, kind):
    found = tell_kind(write(tmp_path / "a.fa", f">a\n{text}\n"))
    assert found.name == kind
    assert found.has_strands == (kind != "protein")
    assert "% of the first" in found.why


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("dna", "ACGTEACG", r"'E' \(is this a protein sequence\?\) at letter 4 \(0-based\)"),
        ("dna", "ACGU", r"'U' \(is this RNA\?\) at letter 3"),
        ("rna", "ACGT", r"'T' \(is this DNA\?\) at letter 3"),
        ("protein", "MA1", "'1' at letter 2"),
        ("dna", "AC-GT", r"'-' \(an alignment gap: remove gaps first\) at letter 2"),
    ],
)
def test_letters_of_another_kind_are_refused(tmp_path, kind, text, expected):
    path = write(tmp_path / "a.fa", f">good\nACG\n>bad one\n{text}\n")
    with pytest.raises(ValueError, match=rf"a\.fa: record 'bad one' holds {expected}"):
        read(path, kind=kind)
    with pytest.raises(ValueError, match=expected):  # the place is that in the record
        read(path, kind=kind, window=2)


def test_what_was_told_from_the_head_is_said_in_the_error(tmp_path):
    path = write(tmp_path / "a.fa", f">a\n{'ACGT' * 20000}\n>b\nMELT\n")
    with pytest.raises(ValueError, match=r"kind dna: 100 % of the first 65,536 letters are bases"):
        read(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "the file is empty"),
        ("ACGT", "not a sequence file"),
        ("@r\nACGT\n+\nIIII\n", "a FASTQ file, expected FASTA"),
        (">a\nACGT\n>\nACGT", "record 2 has no name"),
        (">a\n\n>b\n", "no record holds any letter"),
    ],
)
def test_no_fasta(tmp_path, text, expected):
    with pytest.raises(ValueError, match=expected):
        read(write(tmp_path / "a.fa", text))


def test_files_that_are_not_there_or_damaged(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        LetterStream(tmp_path / "none.fa")
    path = write(tmp_path / "a.fa.gz", ">a\n" + "ACGT" * 100_000)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match="truncated or damaged"):
        read(path, kind="dna")


@pytest.mark.parametrize("options", [{"kind": "cdna"}, {"case": "title"}, {"window": 0}])
def test_options_out_of_range(tmp_path, options):
    with pytest.raises(ValueError, match="expected"):
        LetterStream(write(tmp_path / "a.fa", ">a\nA\n"), **options)


# --- the other strand ----------------------------------------------------------------------


def test_every_iupac_letter_is_complemented_and_back():
    text = "ACGTRYKMSWBDHVN"
    assert reverse_complement_text(text) == "NBDHVWSKMRYACGT"
    assert reverse_complement_text(text, mode="reference") == "NNNNNSWKMRYACGT"
    assert reverse_complement_text(reverse_complement_text(text)) == text
    assert set(text) == set(IUPAC_SETS)


def test_rna_stays_rna_and_case_stays():
    assert reverse_complement_text("AACGU", "rna") == "ACGUU"
    assert reverse_complement_text("aaCGt") == "aCGtt"


def test_one_text_for_both_strands():
    assert canonical_text("TTGC", "dna") == canonical_text("GCAA", "dna") == "GCAA"
    assert canonical_text("UUGC", "rna") == "GCAA"
    assert canonical_text("TTGC", "protein") == "TTGC"


def test_protein_has_no_other_strand():
    with pytest.raises(ValueError, match="only dna and rna have a reverse complement"):
        reverse_complement_text("MASK", "protein")
