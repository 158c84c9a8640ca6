"""Tables of labelled sequences: every form the published files have, and every way to be wrong."""

import gzip

import numpy as np
import pytest

from genomelm_utils.datasets.labelled import LabelledSet, read_labelled
from genomelm_utils.sequences.alphabet import decode

KMERS = "GATTAC ATTACA TTACAG"


def write(folder, text, name="x.tsv"):
    path = folder / name
    data = text.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def texts(found: LabelledSet) -> list[str]:
    return [decode(codes) for codes in found.codes]


@pytest.mark.parametrize(
    "text",
    [
        f'"sequence"\t"label"\n"{KMERS}"\t1\n"{KMERS}"\t0\n',
        f"sequence\tlabel\n{KMERS}\t1\n{KMERS}\t0\n",
        "sequence,label\nGATTACAG,1\ngattacag,0\n",
        "Label\tSequence\tother\r\n1\tGAUUACAG\tx\r\n0\tGATTACAG\t\r\n",
        "\ufeffsequence\tlabel\nGATTACAG\t 1\nGATTACAG \t0",
    ],
)
@pytest.mark.parametrize("name", ["x.tsv", "x.tsv.gz"])
def test_all_forms_give_the_same(tmp_path, text, name):
    found = read_labelled(write(tmp_path, text, name), length_bp=8)
    assert texts(found) == ["GATTACAG"] * 2
    assert found.codes.dtype == np.uint8
    assert found.labels.tolist() == [1, 0]
    assert found.names == ["line 2", "line 3"]
    assert found.quoted == ('"' in text)
    assert found.k == (6 if KMERS in text else 0)


def test_every_word_length_is_undone(tmp_path, rng):
    for k in (1, 3, 6, 9):
        sequences = ["".join(rng.choice(list("ACGT"), n)) for n in (k, k + 1, 40, 17)]
        rows = [
            " ".join(text[i : i + k] for i in range(len(text) - k + 1)) + f"\t{i}"
            for i, text in enumerate(sequences)
        ]
        found = read_labelled(write(tmp_path, "sequence\tlabel\n" + "\n".join(rows[1:])))
        assert texts(found) == sequences[1:]
        assert found.k == k
        mixed = read_labelled(write(tmp_path, "sequence\tlabel\n" + "\n".join(rows[::-1])))
        assert texts(mixed) == sequences[::-1]  # a single word has no space


def test_quotes_become_one_spoilt_kmer_at_each_end(tmp_path):
    quoted = write(tmp_path, f'"sequence"\t"label"\n"{KMERS}"\t1\n')
    assert texts(read_labelled(quoted, keep_quotes=True)) == ["NGATTACAGN"]
    bare = write(tmp_path, f"sequence\tlabel\n{KMERS}\t1\n")
    assert texts(read_labelled(bare, keep_quotes=True)) == ["GATTACAG"]
    ragged = write(tmp_path, '"sequence"\t"label"\n"ACG"\t1\n"A"\t0\n')
    assert texts(read_labelled(ragged, keep_quotes=True)) == ["NACGN", "NAN"]


def test_rows_without_sequence_are_skipped_and_named(tmp_path):
    found = read_labelled(write(tmp_path, "id\tsequence\tlabel\na\tACG\t0\nb\t\t1\n\nc\tACC\t2\n"))
    assert found.names == ["a", "c"]
    assert found.skipped["line"].tolist() == [3, 4]
    assert found.skipped["name"].tolist() == ["b", ""]
    assert found.class_counts.tolist() == [1, 0, 1]


def test_lengths_may_differ_unless_one_is_asked_for(tmp_path):
    path = write(tmp_path, "sequence\tlabel\nACGT\t0\nACG\t1\nACGTACGT\t1\n")
    found = read_labelled(path)
    assert texts(found) == ["ACGT", "ACG", "ACGTACGT"]
    assert found.lengths_bp.tolist() == [4, 3, 8]
    assert texts(found.take(np.array([2, 0]))) == ["ACGTACGT", "ACGT"]
    assert texts(found.take(np.array([False, True, False]))) == ["ACG"]
    with pytest.raises(ValueError, match=r"x\.tsv, line 3: the sequence has 3 bp, expected 4 bp"):
        read_labelled(path, length_bp=4)


def test_labels_are_optional_for_prediction(tmp_path):
    path = write(tmp_path, "name\tsequence\nq\tACGT\n")
    found = read_labelled(path, need_labels=False)
    assert found.labels.tolist() == [-1]
    assert found.class_counts.tolist() == []
    with pytest.raises(ValueError, match="expected the columns sequence and label, found"):
        read_labelled(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seq\tlabel\nACG\t1\n", "expected the columns sequence and label.*found seq, label"),
        ("ACG\t1\nACC\t0\n", "found ACG, 1"),
        ("sequence\tlabel\nACG\t1\tx\n", "expected the columns"),
        ("sequence\tlabel\nACG\t1\nA\tA\tA\n", "not a table of equal columns"),
        ("sequence\tlabel\nACG\t1\nACG\tpromoter\n", "line 3: the label is 'promoter'"),
        ("sequence\tlabel\nACG\t1\nACG\t1.5\n", "line 3: the label is '1.5'"),
        ("sequence\tlabel\nACG\t\n", "line 2: the label is ''"),
        ("sequence\tlabel\nACG\t-1\n", "line 2: the label is '-1'"),
        ("sequence\tlabel\nACG\t0\nAXG\t1\n", "line 3: found 'X' .*at base 1 "),
        ("sequence\tlabel\nACG\t0\nACG CGT GGA\t1\n", "line 3: inconsistent 3-mers near"),
        ("sequence\tlabel\nACG CGT\t0\nACG CGT GT\t1\n", "line 3: inconsistent 3-mers"),
        ("sequence\tlabel\nACG CGT\t0\nACGT\t1\n", "line 3: inconsistent 3-mers"),
        ("sequence\tlabel\nACG  CGT\t0\n", "line 2: inconsistent 3-mers"),
        ("sequence\tlabel\n\t0\n", "no row has a sequence"),
        ("", "expected a header line"),
        ('sequence\tlabel\n"AC\nG"\t0\n', "holds a line break"),
    ],
)
def test_bad_tables_say_where(tmp_path, text, says):
    with pytest.raises(ValueError, match=f"x.tsv.*{says}"):
        read_labelled(write(tmp_path, text))


def test_truncated_gzip(tmp_path):
    path = write(tmp_path, "sequence\tlabel\nACGT\t0\n", "x.tsv.gz")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="truncated or damaged gzip"):
        read_labelled(path)
