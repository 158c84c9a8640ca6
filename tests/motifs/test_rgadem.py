"""rGADEM: what is missing is named with its command; objects of its shape become our result.

Tests marked `r` need R with Biostrings and seqLogo, and rpy2; rGADEM itself only where it is there.
"""

import sys

import numpy as np
import pandas as pd
import pytest

from genomelm_utils import motifs
from genomelm_utils.motifs import rgadem, search
from genomelm_utils.motifs.records import collect
from genomelm_utils.sequences.alphabet import encode

TEXTS = {"one": "ACGTTGACGTCAGG", "two": "CCTGACGTCAACGT", "three": "GGGGTGACGTAAGG"}


@pytest.fixture
def no_rpy2(monkeypatch):
    """As on a machine without rpy2."""
    for name in [name for name in sys.modules if name.split(".")[0].startswith("rpy2")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rpy2", None)


def test_without_rpy2_the_command_is_named(no_rpy2):
    with pytest.raises(
        rgadem.MissingR, match=r"rpy2 is not there .*what brings it: make r"
    ) as error:
        motifs.discover(TEXTS, engine="rgadem")
    assert error.value.what == "rpy2"


def test_the_native_engine_stands_in_and_says_so(no_rpy2, caplog):
    engine, why = search.choose_engine("rgadem")
    assert engine == "gadem"
    assert why.startswith("The native engine stands in for rGADEM: rpy2 is not there")
    assert "make r" in why and why in caplog.text
    assert search.choose_engine("gadem") == ("gadem", "")
    with pytest.raises(ValueError, match="engine is 'meme', expected one of gadem, rgadem"):
        search.choose_engine("meme")


def test_r_that_does_not_start(monkeypatch):
    """rpy2 is there, R is not: rpy2 raises errors of several kinds on import."""

    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] == "rpy2":
                raise OSError("cannot load library libR.so")

    for name in [name for name in sys.modules if name.split(".")[0].startswith("rpy2")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    with pytest.raises(rgadem.MissingR, match=r"R is not there \(OSError: cannot load.*make r"):
        rgadem.start_r()


def test_bad_sequences_are_told_before_r_is_asked(no_rpy2):
    with pytest.raises(ValueError, match="expected at least 3"):
        motifs.discover(["ACGTACGT"], engine="rgadem")


@pytest.mark.parametrize(
    ("word", "strand", "pos", "found"),
    [
        ("TTGAC", "+", 4, (3, "+")),
        ("GTCAA", "-", 8, (3, "-")),  # read reversed; pos is its last base in the sequence
        ("TTGAC", "", 4, (3, "+")),  # rGADEM left the strand empty
        ("GTCAA", "", 8, (3, "-")),
        ("TTTTT", "+", 4, None),
        ("TTGAC", "+", 40, None),
    ],
)
def test_places_of_rgadem(word, strand, pos, found):
    """ACGTTGACGTCAGG: TTGAC stands at 3 (0-based), as GTCAA on the minus strand."""
    assert rgadem.place_site(encode(TEXTS["one"]), word, strand, pos) == found


def test_sequence_table():
    table = rgadem.sequence_table(collect(TEXTS))
    pd.testing.assert_frame_equal(
        table, pd.DataFrame({"name": list(TEXTS), "sequence": list(TEXTS.values())})
    )


# with R

STAND_IN = """
function() {
  setClass("align", representation(seq = "character", strand = "character", pos = "numeric",
    pval = "numeric", seqID = "numeric", chr = "character", start = "numeric", end = "numeric"),
    where = globalenv())
  setClass("motif", representation(pwm = "matrix", consensus = "character", name = "character",
    alignList = "list"), where = globalenv())
  setClass("gadem", representation(motifList = "list", parameters = "list"), where = globalenv())
  site <- function(seq, strand, pos, id)
    new("align", seq = seq, strand = strand, pos = pos, pval = 1e-5, seqID = id, chr = "chr",
        start = 0, end = 0)
  pwm <- matrix(c(0.0999, 0.1, 0.1, 0.7, 0.1, 0.1, 0.7, 0.1), nrow = 4,
                dimnames = list(c("A", "C", "G", "T"), c("1", "2")))
  new("gadem", parameters = list(), motifList = list(
    new("motif", pwm = pwm, consensus = "TG", name = "TG",
        alignList = list(site("TG", "+", 5, 1), site("CA", "-", 5, 2), site("TG", "", 5, 3),
                         site("AA", "+", 1, 1))),
    new("motif", pwm = pwm, consensus = "TG", name = "TG", alignList = list())))
}
"""


@pytest.fixture(scope="module")
def r():
    """rpy2's robjects with Biostrings and seqLogo at hand; otherwise skipped, loudly."""
    try:
        return rgadem.need_packages("Biostrings", "seqLogo")
    except rgadem.MissingR as error:
        pytest.skip(f"needs R: {error}")


@pytest.mark.r
def test_sequences_go_to_biostrings_and_back(r):
    dna = rgadem.to_dna_string_set(collect(TEXTS))
    assert list(r.r("class")(dna)) == ["DNAStringSet"]
    turned = r.r("function(x) as.character(Biostrings::reverseComplement(x))")(dna)
    assert list(turned) == ["CCTGACGTCAACGT", "ACGTTGACGTCAGG", "CCTTACGTCACCCC"]
    assert list(r.r("names")(dna)) == list(TEXTS)


@pytest.mark.r
def test_an_object_of_rgadems_shape_becomes_motifs(r):
    """Four sites: one per strand, one without a strand, and one whose bases are not there."""
    found, notes = rgadem.read_gadem(r.r(STAND_IN)(), collect(TEXTS))
    assert [motif.name for motif in found] == ["rgadem_1", "rgadem_2"]
    sites = found[0].sites
    assert sites[["record", "start", "end", "strand", "word"]].to_numpy().tolist() == [
        ["one", 4, 6, "+", "TG"],
        ["two", 3, 5, "-", "CA"],
        ["three", 4, 6, "+", "TG"],
    ]
    assert notes == ("1 sites left out: their bases are not where rGADEM says",)
    np.testing.assert_allclose(found[0].probabilities.sum(axis=1), 1)
    np.testing.assert_allclose(
        found[0].probabilities[0], np.array([0.0999, 0.1, 0.1, 0.7]) / 0.9999
    )
    assert found[0].n_sites == pytest.approx(3) and len(found[1].sites) == 0
    assert np.isnan(found[0].log10_e) and (sites["p_value"] == 1e-5).all()
    assert sites["score"].iloc[0] > sites["score"].iloc[1]  # CA is not what the matrix reads


@pytest.mark.r
def test_nothing_found_by_rgadem(r):
    make = r.r(STAND_IN)
    empty = r.r("function(x) { x@motifList <- list(); x }")(make())
    assert rgadem.read_gadem(empty, collect(TEXTS)) == ([], ())


@pytest.mark.r
def test_logos_by_seqlogo(r, tmp_path):
    matrix = r.r.matrix(r.FloatVector([0.7, 0.1, 0.1, 0.1] * 5), nrow=4)
    draw = r.r(
        """function(m, file) { png(file); seqLogo::seqLogo(seqLogo::makePWM(m)); dev.off() }"""
    )
    draw(matrix, str(tmp_path / "logo.png"))
    assert (tmp_path / "logo.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.r
def test_a_missing_package_is_named(r):
    rgadem.COMMANDS["no.such.package"] = "nothing"
    try:
        with pytest.raises(rgadem.MissingR, match=r"no\.such\.package is not there \(R \d"):
            rgadem.need_packages("no.such.package")
    finally:
        del rgadem.COMMANDS["no.such.package"]


@pytest.mark.r
def test_r_without_rgadem_stands_back(r):
    try:
        rgadem.check_rgadem()
    except rgadem.MissingR as error:
        assert error.what == "rGADEM" and "conda env create -f environment.yml" in str(error)
        assert search.choose_engine("rgadem")[0] == "gadem"
    else:
        assert search.choose_engine("rgadem") == ("rgadem", "")


@pytest.mark.r
@pytest.mark.slow
def test_rgadem_itself(r, rng):
    """80 sequences, a small population: two seconds."""
    from motif_toy import plant, reads, score_sites

    try:
        rgadem.check_rgadem()
    except rgadem.MissingR as error:
        pytest.skip(f"needs rGADEM: {error}")
    texts, truth = plant(rng, "TGACGTCATA", n=80, share=0.8)
    found = motifs.discover(
        texts, engine="rgadem", n_motifs=1, seed=1, num_generation=2, population_size=20
    )
    assert found.engine.startswith("rGADEM ")
    assert reads(found.motifs[0], "TGACGTCATA")
    assert score_sites(found.motifs[0], truth)[0] > 0.7 * len(truth)
