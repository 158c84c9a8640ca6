"""Tables of coverage as mappers write them, and what is wrong with others."""

import gzip

import numpy as np
import pytest

from genomelm_utils.datasets.contig_coverage import read_coverage

METABAT = """contigName\tcontigLen\ttotalAvgDepth\ta.bam\ta.bam-var\tb.bam\tb.bam-var
c1\t1000\t3.5\t1.5\t9\t2\t8
c2\t2000\t0.25\t0\t0\t0.25\t1e-1
"""
PLAIN = "contig\tleft\tright-var\nc2\t0\t0.25\nc1\t1.5\t2\n"


def write(path, text):
    path.write_text(text)
    return path


def test_a_depth_file_of_metabat(tmp_path):
    found = read_coverage(write(tmp_path / "depth.txt", METABAT))
    assert (found.contigs, found.samples) == (["c1", "c2"], ["a.bam", "b.bam"])
    np.testing.assert_array_equal(found.depth_SN, [[1.5, 2], [0, 0.25]])


def test_a_depth_file_without_variances(tmp_path):
    rows = [line.split("\t") for line in METABAT.splitlines()]
    text = "\n".join("\t".join([*row[:4], row[5]]) for row in rows)
    found = read_coverage(write(tmp_path / "depth.txt", text))
    assert found.samples == ["a.bam", "b.bam"] and found.depth_SN[0].tolist() == [1.5, 2]


def test_a_plain_table_also_compressed_in_the_order_asked_for(tmp_path):
    path = tmp_path / "depth.tsv.gz"
    path.write_bytes(gzip.compress(PLAIN.encode()))
    found = read_coverage(path)
    assert found.samples == ["left", "right-var"]  # a variance only beside its sample
    depth, known = found.of(["c1", "nowhere", "c2"])
    np.testing.assert_array_equal(depth, [[1.5, 2], [0, 0.25]])
    assert known.tolist() == [True, False, True]


def test_none_of_the_contigs(tmp_path):
    found = read_coverage(write(tmp_path / "depth.tsv", PLAIN))
    with pytest.raises(ValueError, match=r"none of the 2 contigs: it names 'c2', .* like 'x'"):
        found.of(["x", "y"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("contig,a\nc1,2\n", r"found 1 lines of the columns contig,a; expected a header"),
        ("contig\ta\n", "found 0 lines"),
        ("", "is no tab-separated table"),
        ("contigName\tcontigLen\ttotalAvgDepth\nc1\t5\t2\n", "one depth per sample"),
        ("c1\t2\t0.5\nc2\t1\t1\n", "the first line holds depths, expected a header"),
        ("contig\ta\nc1\t2\nc1\t3\n", "'c1' stands in more than one line"),
        (
            "contig\ta\tb\nc1\t2\t1\nc2\t3\t?\nc3\t-1\t0\n",
            r"2 depths .* '\?' in line 3, column 'b'",
        ),
        ("contig\ta\nc1\tnan\n", "1 depths are no numbers of 0 or more; the first is 'nan'"),
    ],
)
def test_what_is_no_table_of_coverage_is_told(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_coverage(write(tmp_path / "depth.tsv", text))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file, expected a table of coverage"):
        read_coverage(tmp_path / "depth.tsv")
    with pytest.raises(FileNotFoundError, match="a folder"):
        read_coverage(tmp_path)
