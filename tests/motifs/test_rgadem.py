"""rGADEM: what is missing is named with its command; objects of its shape become our result.

Tests marked `r` need R with Biostrings and seqLogo, and rpy2; rGADEM itself only where it is there.
"""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from genomelm_utils import motifs, paths
from genomelm_utils.motifs import rgadem, search
from genomelm_utils.motifs.motif import Motif
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
        alignList = list(site("TG", "+", 5, 1), site("CA", "-", 4, 2), site("TG", "", 5, 3),
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
def test_programs_started_later_do_not_get_rs_libraries(r):
    code = (
        "import os, subprocess; before = os.environ.get('LD_LIBRARY_PATH')\n"
        "from genomelm_utils.motifs import rgadem\n"
        "assert rgadem.r_version()\n"
        "assert os.environ.get('LD_LIBRARY_PATH') == before\n"
        "seen = subprocess.run(['env'], capture_output=True, text=True, check=True).stdout\n"
        "assert ('LD_LIBRARY_PATH=' in seen) == (before is not None), seen\n"
    )
    for given in ({}, {"LD_LIBRARY_PATH": "/nowhere"}):
        env = {key: text for key, text in os.environ.items() if key != "LD_LIBRARY_PATH"}
        subprocess.run([sys.executable, "-c", code], check=True, env=env | given, cwd=paths.ROOT)


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
        ["two", 2, 4, "-", "CA"],
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


#: A package with rGADEM's name, classes and signature that finds exact TGACGT, to try the call.
PACKAGE = {
    "DESCRIPTION": "Package: rGADEM\nVersion: 0.0.1\nTitle: Stand-in\nDescription: For tests.\n"
    "Author: none\nMaintainer: none <none@example.org>\nLicense: MIT\nImports: methods\n",
    "NAMESPACE": "import(methods)\nexport(GADEM)\nexportClasses(align, motif, gadem)\n",
    "R/gadem.R": """
setClass("align", representation(seq = "character", strand = "character", pos = "numeric",
  pval = "numeric", seqID = "numeric"))
setClass("motif", representation(pwm = "matrix", alignList = "list"))
setClass("gadem", representation(motifList = "list", parameters = "list"))
GADEM <- function(Sequences, seed=1, genome=NULL, verbose=FALSE, numWordGroup=3, numTop3mer=20,
    numTop4mer=40, numTop5mer=60, numGeneration=5, populationSize=100, pValue=2e-4, eValue=0,
    extTrim=1, minSpaceWidth=0, maxSpaceWidth=10, useChIPscore=0, numEM=40, fEM=0.5, widthWt=80,
    fullScan=0, slideWinPWM=6, stopCriterion=1, numBackgSets=10, weightType=0, bFileName="NULL",
    Spwm=NULL, minSites=-1, maskR=0, nmotifs=25) {
  stopifnot(is(Sequences, "DNAStringSet"), seed == 123, nmotifs == 10, stopCriterion == 5,
            numEM == 80, maxSpaceWidth == 0, maskR == 1, bFileName == "NULL")
  if (!is.null(Spwm)) stopifnot(is.list(Spwm), nrow(Spwm[[1]]) == 4, all(colSums(Spwm[[1]]) == 1))
  places <- regexpr("TGACGT", as.character(Sequences))
  ids <- which(places > 0)
  sites <- lapply(ids, function(i) new("align", seq = "TGACGT", strand = "+", pos = places[[i]],
                                       pval = 1e-4, seqID = i))
  pwm <- matrix(0.01, 4, 6); pwm[cbind(c(4, 3, 1, 2, 3, 4), 1:6)] <- 0.97
  new("gadem", motifList = list(new("motif", pwm = pwm, alignList = sites)), parameters = list())
}
""",
}


@pytest.fixture
def stand_in(r, tmp_path):
    """The stand-in package installed where R looks first, for one test."""
    import subprocess

    if r.r("function() requireNamespace('rGADEM', quietly = TRUE)")()[0]:
        pytest.skip("rGADEM itself is there: no stand-in wanted")
    folder, library = tmp_path / "rGADEM", tmp_path / "library"
    (folder / "R").mkdir(parents=True)
    library.mkdir()
    for name, text in PACKAGE.items():
        (folder / name).write_text(text)
    command = ["R", "CMD", "INSTALL", "--no-docs", f"--library={library}", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    before = r.r(".libPaths()")
    r.r(".libPaths")(r.StrVector([str(library), *before]))
    yield
    r.r("unloadNamespace('rGADEM')")
    r.r(".libPaths")(before)


@pytest.mark.r
def test_the_papers_call_reaches_rgadem(stand_in):
    """The signature is rGADEM's: an argument that it does not have would be an error."""
    given = {"short": "ACGT", **TEXTS}
    options = {"engine": "rgadem", "n_motifs": rgadem.PAPER_MOTIFS, "seed": rgadem.PAPER_SEED}
    found = motifs.discover(given, **options, **rgadem.PAPER_PARAMETERS)
    assert found.engine == "rGADEM 0.0.1" and found.notes[0].startswith("R ")
    (motif,) = found.motifs
    assert motif.consensus == "TGACGT"
    assert motif.sites[["record", "index", "start", "end"]].to_numpy().tolist() == [
        ["one", 1, 4, 10],
        ["two", 2, 2, 8],
        ["three", 3, 4, 10],
    ]
    assert found.skipped["name"].tolist() == ["short"]
    assert search.choose_engine("rgadem") == ("rgadem", "")
    seeded = motifs.discover(
        given, **options, **rgadem.PAPER_PARAMETERS, start_motifs=[Motif("s", np.eye(4)[[0, 1, 2]])]
    )
    assert seeded.parameters["start_motifs"] == ["s"]


@pytest.mark.r
def test_r_cells_of_a_notebook(r):
    """`%%R -i table -o turned`, as the module's text shows it."""
    shells = pytest.importorskip("IPython.core.interactiveshell")
    shell = shells.InteractiveShell.instance()
    try:
        shell.run_line_magic("load_ext", "rpy2.ipython")
        shell.user_ns["table"] = rgadem.sequence_table(collect(TEXTS))
        cell = """
        dna <- Biostrings::DNAStringSet(setNames(table$sequence, table$name))
        turned <- data.frame(name = names(dna),
                             sequence = as.character(Biostrings::reverseComplement(dna)))
        """
        shell.run_cell_magic("R", "-i table -o turned", cell)
        turned = shell.user_ns["turned"]
    finally:
        shells.InteractiveShell.clear_instance()
    assert turned["name"].tolist() == list(TEXTS)
    assert turned["sequence"].tolist()[0] == "CCTGACGTCAACGT"


@pytest.mark.r
def test_the_r_cell_of_the_readme(stand_in, tmp_path, monkeypatch):
    """Both cells as they stand there, on a file of that name; the sites come back as a table."""
    shells = pytest.importorskip("IPython.core.interactiveshell")
    readme = (paths.ROOT / "README.md").read_text()
    python = readme.split("```python\n%load_ext rpy2.ipython\n")[1].split("```")[0]
    line, cell = readme.split("```r\n%%R ")[1].split("```")[0].split("\n", 1)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "peaks.fa").write_text("".join(f">{k}\n{v}\n" for k, v in TEXTS.items()))
    shell = shells.InteractiveShell.instance()
    try:
        shell.run_line_magic("load_ext", "rpy2.ipython")
        exec(python, shell.user_ns)  # our own README
        shell.run_cell_magic("R", line, cell)
        sites = shell.user_ns["sites"]
    finally:
        shells.InteractiveShell.clear_instance()
    assert sites["sequence"].tolist() == [1, 2, 3]
    assert sites["pos"].tolist() == [5, 3, 5]


@pytest.mark.r
@pytest.mark.slow
def test_rgadem_itself(r, rng):
    """80 sequences, a small population: two seconds."""
    from motif_toy import plant, reads

    from genomelm_utils.motifs.recovery import score_sites

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
    assert score_sites(found.motifs[0].sites, truth)[0] > 0.7 * len(truth)
