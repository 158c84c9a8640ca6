"""Motif files: what is read is what is written, and what is wrong is told with its line."""

import gzip

import numpy as np
import pytest

from genomelm_utils.motifs.formats import WRITERS, read_motifs, write_motifs
from genomelm_utils.motifs.motif import Motif, motif_from_probabilities

MEME = """MEME version 4

ALPHABET= ACGT

# a comment
strands: + -
MOTIF M1 FOX
log-odds matrix: alength= 4 w= 1 E= 0
 100 -200 -200 -200
letter-probability matrix: alength= 4 w= 2 nsites= 10 E= 2.5e-400
0.5 0.1\t0.2 0.2
 0 0 0 1.0
URL none
MOTIF M2
letter-probability matrix: alength= 4 w= 1
0.25 0.25 0.25 0.25"""
JASPAR = """>MA0001.1\tArnt::Ahr
A  [ 4 0 ]
C  [ 1 0 ]
G  [ 0 5.5 ]
T  [ 0 0 ]
# a comment
>MA0002
0 1
0 1
2 0
0 0
"""
TRANSFAC = """DE\tArnt 2
0\t 3\t1\t0\t0
1\t 0\t0\t4\t0
XX
ID M2
# a comment
NA Two
P0 T G C A
01 1 0 0 0 T
//
"""


@pytest.fixture
def file(tmp_path):
    """file(text): path of a file with that text."""

    def write(text: str):
        path = tmp_path / "motifs.txt"
        path.write_text(text)
        return path

    return write


def test_meme(file):
    first, second = read_motifs(file(MEME))
    assert (first.name, first.alt_name, first.width, first.n_sites) == ("M1", "FOX", 2, 10)
    np.testing.assert_allclose(first.counts, [[5, 1, 2, 2], [0, 0, 0, 10]])
    assert first.log10_e == pytest.approx(-400 + np.log10(2.5))
    assert (second.name, second.alt_name, second.n_sites) == ("M2", "", 20)
    assert np.isnan(second.log10_e)


def test_whole_meme_reports_are_read(file):
    """Their MOTIF lines go on with facts, and matrices stand between lines of dashes."""
    text = MEME.replace("MOTIF M1 FOX", "MOTIF TGA MEME-1\twidth = 2 sites = 10\n-----")
    assert read_motifs(file(text.replace("URL none", "------")))[0].alt_name == "MEME-1"


def test_jaspar(file):
    first, second = read_motifs(file(JASPAR))
    assert (first.name, first.alt_name) == ("MA0001.1", "Arnt::Ahr")
    np.testing.assert_array_equal(first.counts, [[4, 1, 0, 0], [0, 0, 5.5, 0]])
    assert first.n_sites == 5.5
    np.testing.assert_array_equal(second.counts, [[0, 0, 2, 0], [1, 1, 0, 0]])


def test_transfac(file):
    first, second = read_motifs(file(TRANSFAC))
    assert (first.name, first.alt_name) == ("Arnt_2", "")
    np.testing.assert_array_equal(first.counts, [[3, 1, 0, 0], [0, 0, 4, 0]])
    assert (second.name, second.alt_name) == ("M2", "Two")
    np.testing.assert_array_equal(second.counts, [[0, 0, 0, 1]])  # columns were T, G, C, A


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("name", ["out.txt", "out.txt.gz"])
def test_what_is_written_is_read(kind, name, tmp_path, rng):
    motifs = [
        Motif("one", rng.integers(1, 9, (7, 4)), "first", log10_e=-3.25),
        motif_from_probabilities("two", rng.dirichlet(np.ones(4), 5), 33),
    ]
    write_motifs(tmp_path / name, motifs, kind)
    found = read_motifs(tmp_path / name)
    assert [(m.name, m.alt_name) for m in found] == [("one", "first"), ("two", "")]
    for ours, theirs in zip(motifs, found, strict=True):
        np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=1e-9)
        np.testing.assert_allclose(ours.n_sites, theirs.n_sites)
    if kind == "meme":
        assert found[0].log10_e == pytest.approx(-3.25, abs=1e-6)
    else:
        np.testing.assert_array_equal(found[0].counts, motifs[0].counts)
    first = (tmp_path / name).read_bytes()
    write_motifs(tmp_path / name, motifs, kind)
    assert (tmp_path / name).read_bytes() == first


def test_memelite_reads_our_meme(tmp_path, rng):
    memelite_io = pytest.importorskip("memelite.io")
    motif = motif_from_probabilities("one", rng.dirichlet(np.ones(4), 5), 20)
    write_motifs(tmp_path / "m.meme", [motif], background=(0.3, 0.2, 0.2, 0.3))
    np.testing.assert_allclose(
        memelite_io.read_meme(tmp_path / "m.meme")["one"].T, motif.probabilities, atol=1e-9
    )
    assert "A 0.3 C 0.2 G 0.2 T 0.3" in (tmp_path / "m.meme").read_text()


BAD = {
    "empty": ("\n# nothing\n", "no motif in it"),
    "other format": ("hello\n", "line 1: found 'hello', expected 'MEME version'"),
    "header only": ("MEME version 4\n", "no motif"),
    "sum": (MEME.replace(" 0 0 0 1.0", " 0 0 0 0.9"), "line 12: probabilities sum to 0.9"),
    "counts as MEME": (MEME.replace(" 0 0 0 1.0", "0 0 0 10"), "line 12.*counts belong into"),
    "zero row": (MEME.replace(" 0 0 0 1.0", "0 0 0 0"), "line 12: probabilities sum to 0,"),
    "three numbers": (MEME.replace(" 0 0 0 1.0", "0 0 1.0"), "line 12: .* expected 4 numbers"),
    "negative": (MEME.replace(" 0 0 0 1.0", "0 0 -1 2"), "line 12: .* from 0 up"),
    "nan": (MEME.replace("0.25 0.25 0.25 0.25", "0.25 nan 0.5 .25"), "line 16: .* from 0 up"),
    "width": (MEME.replace("w= 2", "w= 3"), "line 10: motif 'M1': the header tells w= 3, found 2"),
    "alphabet": (MEME.replace("ACGT", "ACDEFGHIKLMNPQRSTVWY"), "line 3: .* expected ALPHABET"),
    "no matrix": (MEME + "\nMOTIF M3\n", "line 17: motif 'M3' has no"),
    "log-odds only": (MEME + "\nMOTIF M3\nlog-odds matrix: w= 1\n 1 1 1 1", "motif 'M3' has no"),
    "no name": (MEME.replace("MOTIF M1 FOX", ""), "line 10: a matrix before its name"),
    "MOTIF alone": (MEME.replace("M1 FOX", ""), "line 7: MOTIF without a name"),
    "twice": (MEME.replace("M2", "M1"), "two motifs are named 'M1'"),
    "jaspar rows": (JASPAR.replace("T  [ 0 0 ]\n", ""), "line 1: motif 'MA0001.1' has 3 rows"),
    "jaspar order": (JASPAR.replace("T  [", "A  ["), "line 5: row 'A', expected 'T'"),
    "jaspar lengths": (JASPAR.replace("[ 1 0 ]", "[ 1 ]"), r"rows of \[2, 1, 2, 2\]"),
    "jaspar zeros": (JASPAR.replace("5.5", "0"), "'MA0001.1': position 2 holds zeros only"),
    "jaspar text": (JASPAR.replace("5.5", "x"), "line 4: .* expected numbers from 0 up"),
    "jaspar name": (">\n" + JASPAR, "line 1: a motif without a name"),
    "transfac rows": ("ID M\nXX\n//\n", "line 1: motif 'M' has no rows"),
    "transfac numbers": (TRANSFAC.replace("01 1 0 0 0 T", "01 1 0 0 T"), "line 9: .* 4 numbers"),
    "transfac columns": (TRANSFAC.replace("P0 T G C A", "P0 A C G U"), "columns 'A C G U'"),
    "transfac name": (TRANSFAC.replace("ID M2", "").replace("NA Two", ""), "without a name"),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_files_are_told(case, file):
    text, message = BAD[case]
    with pytest.raises(ValueError, match=message) as error:
        read_motifs(file(text))
    assert "motifs.txt" in str(error.value)


def test_rounded_rows_are_brought_to_one(file):
    motif = read_motifs(file(MEME.replace("0.25 0.25 0.25 0.25", "0.33 0.33 0.33 0")))[1]
    np.testing.assert_allclose(motif.probabilities.sum(), 1)


def test_missing_and_damaged_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no\.meme: no such file"):
        read_motifs(tmp_path / "no.meme")
    (tmp_path / "cut.meme").write_bytes(gzip.compress(MEME.encode())[:-20])
    with pytest.raises(ValueError, match="truncated or damaged gzip"):
        read_motifs(tmp_path / "cut.meme")


def test_what_cannot_be_written(tmp_path):
    motif = Motif("one", np.ones((3, 4)))
    with pytest.raises(ValueError, match="kind is 'fasta', expected one of meme, jaspar"):
        write_motifs(tmp_path / "x", [motif], "fasta")
    with pytest.raises(ValueError, match="no motif to write"):
        write_motifs(tmp_path / "x", [])
    with pytest.raises(ValueError, match="two motifs are named 'one'"):
        write_motifs(tmp_path / "x", [motif, motif])
    assert list(tmp_path.iterdir()) == []


REAL = {  # file -> motifs, and the name and consensus of one of them
    "H12CORE_meme_format.meme.gz": (1443, "AHR.H12CORE.0.P.B", "KTGCGTGC"),
    "JASPAR2022_CORE_non-redundant_pfms_jaspar.txt.gz": (1956, "MA0004.1", "CACGTG"),
    "JASPAR_CORE_2016_vertebrates.meme.gz": (518, "MA0004.1", "CACGTG"),
    "macisaac_yeast.v1.meme.gz": (124, "CBF1", "CACGTG"),
    "plant_TF_clusters.meme": (72, "TF-cluster_1", "CKTGNNNNNCAAG"),
    "plant_core_promoter_elements.meme": (6, "TATA", "TATAWAWA"),
    "rgadem_jaspar2009.txt": (130, "Arnt", "CACGTG"),
    "tangermeme_test.meme": (12, "HIC2_MA0738.1", "TGCCC"),
}


@pytest.mark.parametrize("name", REAL)
def test_real_files(name, data_dir):
    n, known, core = REAL[name]
    motifs = read_motifs(data_dir / "motifs" / name)
    assert len(motifs) == n
    (motif,) = [m for m in motifs if m.name == known]
    assert core in motif.consensus
