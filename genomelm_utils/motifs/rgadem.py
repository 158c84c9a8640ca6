"""Bioconductor's rGADEM through rpy2: the paper's engine, called as the paper calls it.

rpy2 is imported here and nowhere else. `make r` installs R, Biostrings, seqLogo and rpy2 on Debian
and Ubuntu; rGADEM itself is not in Debian: conda brings it (environment.yml), or R's own
BiocManager. Where something is missing, `MissingR` names the command that brings it.

In JupyterLab the same works in R cells: after `%load_ext rpy2.ipython`,

    %%R -i table -o sites
    library(rGADEM)
    dna <- Biostrings::DNAStringSet(setNames(table$sequence, table$name))
    found <- GADEM(dna, seed = 123, nmotifs = 10, stopCriterion = 5, numEM = 80,
                   maxSpaceWidth = 0, maskR = 1)
    aligned <- found[[1]]@alignList
    sites <- data.frame(sequence = sapply(aligned, slot, "seqID"),
                        pos = sapply(aligned, slot, "pos"))

with `table = sequence_table(collect(...))` in a Python cell before; `plot(found[[1]])` draws its
logo. Return data frames from R cells: what R prints comes piece by piece.

Shape suffixes: W positions of a motif.
"""

import logging
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from genomelm_utils.motifs.motif import SITE_COLUMNS, Motif, motif_from_probabilities, no_sites
from genomelm_utils.motifs.parameters import Parameters
from genomelm_utils.motifs.records import SearchSet
from genomelm_utils.sequences.alphabet import decode, encode, reverse_complement

logger = logging.getLogger(__name__)

#: GeneMask's call. Source: the released R script of GeneMask (Roy et al. 2023); all else is left at
#: rGADEM's defaults, as `Parameters` has them.
PAPER_SEED, PAPER_MOTIFS = 123, 10
PAPER_PARAMETERS = {"stop_criterion": 5, "num_em": 80, "max_space_width": 0, "mask_r": True}

COMMANDS = {
    "rpy2": "make r",
    "R": "make r",
    "Biostrings": "make r (Debian: apt-get install r-bioc-biostrings)",
    "seqLogo": "make r (Debian: apt-get install r-bioc-seqlogo)",
    "rGADEM": "conda env create -f environment.yml, or in R: BiocManager::install('rGADEM')",
}
#: A gadem object flattened in R: matrices as they are, sites as one table.
_FLATTEN = """
function(found) {
  motifs <- found@motifList
  flat <- function(i) {
    sites <- motifs[[i]]@alignList
    take <- function(name) vapply(sites, function(s) as.character(slot(s, name)), "")
    data.frame(motif = rep(i, length(sites)), word = take("seq"), strand = take("strand"),
               pos = take("pos"), p_value = take("pval"), sequence = take("seqID"))
  }
  list(matrices = lapply(motifs, function(m) m@pwm),
       sites = do.call(rbind, c(list(data.frame()), lapply(seq_along(motifs), flat))))
}
"""


class MissingR(RuntimeError):
    """R, rpy2 or a package of R is not there. what: which; command: what brings it."""

    def __init__(self, what: str, why: str = "") -> None:
        self.what, self.command = what, COMMANDS[what]
        reason = f" ({why})" if why else ""
        super().__init__(f"{what} is not there{reason}; what brings it: {self.command}")


def start_r() -> Any:
    """rpy2's `robjects`, with R running. Raises: MissingR for rpy2 or R.

    LD_LIBRARY_PATH, which rpy2 sets for R, is put back: programs started later (this Python among
    them) would load R's libraries. R's other variables stay; its devices need them.
    """
    before = os.environ.get("LD_LIBRARY_PATH")
    try:
        from rpy2 import robjects
    except ModuleNotFoundError as error:
        raise MissingR("rpy2", str(error)) from error
    except Exception as error:
        # rpy2 fails in many ways without R: ValueError, OSError, ImportError, errors of cffi
        raise MissingR("R", f"{type(error).__name__}: {error}") from error
    finally:
        os.environ.pop("LD_LIBRARY_PATH", None)
        if before is not None:
            os.environ["LD_LIBRARY_PATH"] = before
    return robjects


def need_packages(*names: str) -> Any:
    """rpy2's `robjects`, when R has these packages. Raises: MissingR for the first it lacks."""
    robjects = start_r()
    has = robjects.r("function(name) suppressWarnings(requireNamespace(name, quietly = TRUE))")
    for name in names:
        if not has(name)[0]:
            raise MissingR(name, f"R {r_version()} has no such package")
    return robjects


def r_version() -> str:
    """Version of R, such as '4.2.2'."""
    return str(start_r().r("as.character(getRversion())")[0])


def package_version(name: str) -> str:
    """Version of a package of R."""
    return str(need_packages(name).r(f"as.character(packageVersion('{name}'))")[0])


def check_rgadem() -> None:
    """Raises MissingR unless `engine='rgadem'` can run."""
    need_packages("Biostrings", "rGADEM")


def sequence_table(data: SearchSet) -> pd.DataFrame:
    """Columns name and sequence (upper-case letters), for R cells."""
    pieces = np.split(data.codes, data.starts[1:-1])
    return pd.DataFrame({"name": data.names, "sequence": [decode(piece) for piece in pieces]})


def to_dna_string_set(data: SearchSet) -> Any:
    """The sequences as a Biostrings DNAStringSet, named. Raises: MissingR."""
    robjects = need_packages("Biostrings")
    table = sequence_table(data)
    make = robjects.r("function(text, name) Biostrings::DNAStringSet(setNames(text, name))")
    return make(*(robjects.StrVector(table[column].tolist()) for column in ("sequence", "name")))


def search(
    data: SearchSet,
    *,
    n_motifs: int,
    seed: int,
    parameters: Parameters,
    start_motifs: Sequence[Motif] = (),
) -> tuple[list[Motif], tuple[str, ...]]:
    """Motifs as rGADEM gives them, in its order, and sentences on what was done.

    A motif's probabilities are rGADEM's own (rounded to four digits there, brought to 1 here) times
    its sites; its E-value is not in rGADEM's result. Scores are bits of the site's bases in that
    matrix against the bases of the sequences; p-values are rGADEM's. A site whose strand rGADEM
    leaves empty gets the one on which its bases stand.

    Raises: MissingR.
    """
    robjects = need_packages("Biostrings", "rGADEM")
    given = parameters.as_rgadem() | {"seed": seed, "nmotifs": n_motifs, "verbose": 0}
    if start_motifs:
        four_rows = [
            robjects.r.matrix(robjects.FloatVector(motif.probabilities.ravel().tolist()), nrow=4)
            for motif in start_motifs
        ]
        given["Spwm"] = robjects.r("list")(*four_rows)
    call = robjects.r("rGADEM::GADEM")
    found = call(to_dna_string_set(data), **given)
    motifs, notes = read_gadem(found, data)
    return motifs, (f"R {r_version()}", *notes)


def read_gadem(found: Any, data: SearchSet) -> tuple[list[Motif], tuple[str, ...]]:
    """The motifs of an S4 object of class gadem, and a sentence on sites that had to be left out.

    Left out are sites whose bases do not stand where the object says, on either strand.
    """
    robjects = start_r()
    flat = robjects.r(_FLATTEN)(found)
    by_name = dict(zip(list(flat.names), flat, strict=True))
    matrices = [_as_array(one) for one in by_name["matrices"]]
    sites, lost = _site_tables(by_name["sites"], len(matrices), data)
    shares = np.bincount(data.codes[data.codes < 4], minlength=4) / (data.codes < 4).sum()
    motifs = []
    for number, (matrix_4W, table) in enumerate(zip(matrices, sites, strict=True), start=1):
        n = max(len(table), 1)
        motif = motif_from_probabilities(f"rgadem_{number}", normalise(matrix_4W.T), n)
        motifs.append(_with_sites(motif, table, shares))
    notes = (f"{lost} sites left out: their bases are not where rGADEM says",) if lost else ()
    return motifs, notes


def normalise(matrix_W4: np.ndarray) -> np.ndarray:
    """Rows brought to sum to 1 (rGADEM rounds to four digits)."""
    return matrix_W4 / matrix_W4.sum(axis=1, keepdims=True)


def _as_array(matrix: Any) -> np.ndarray:
    """An R matrix as a float64 array; R goes down the columns."""
    return np.array(list(matrix), dtype=np.float64).reshape(tuple(matrix.dim), order="F")


def _site_tables(table: Any, n: int, data: SearchSet) -> tuple[list[pd.DataFrame], int]:
    """A table of sites for each of n motifs, and the number of sites left out."""
    if not len(table):
        return [no_sites() for _ in range(n)], 0
    columns = dict(zip(list(table.names), table, strict=True))
    rows: list[list[list]] = [[] for _ in range(n)]
    lost = 0
    parts = (columns[name] for name in ("motif", "word", "strand", "pos", "p_value", "sequence"))
    for motif, word, strand, pos, p_value, sequence in zip(*parts, strict=True):
        i, text = int(sequence) - 1, str(word).upper()
        begin, end = data.starts[i], data.starts[i + 1]
        place = place_site(data.codes[begin:end], text, str(strand), int(pos))
        if place is None:
            lost += 1
            continue
        start, side = place
        row = [data.names[i], int(data.index[i]), start, start + len(text), side]
        rows[int(motif) - 1].append([*row, np.nan, float(p_value), text])
    tables = [pd.DataFrame(part, columns=SITE_COLUMNS) if part else no_sites() for part in rows]
    return tables, lost


def place_site(codes: np.ndarray, word: str, strand: str, pos: int) -> tuple[int, str] | None:
    """(0-based start, strand) of a site that rGADEM reports, checked against the sequence.

    `pos` is 1-based: the first base on the plus strand, on the minus strand the last one in the
    sequence's own direction. None where the bases stand on neither.
    """
    on_plus = encode(word)
    places = {"+": (pos - 1, on_plus), "-": (pos - len(word), reverse_complement(on_plus))}
    for side in (strand, "+", "-"):
        start, bases = places.get(side, (-1, on_plus))
        if start >= 0 and np.array_equal(codes[start : start + len(word)], bases):
            return start, side
    return None


def _with_sites(motif: Motif, table: pd.DataFrame, shares: np.ndarray) -> Motif:
    """The motif with its sites, scored and in the order of places."""
    from dataclasses import replace

    log_odds = motif.log_odds(shares)
    scores = []
    for word in table["word"]:
        codes = encode(word)
        definite = np.flatnonzero(codes < 4)
        scores.append(float(log_odds[definite, codes[definite]].sum()))
    table = table.assign(score=np.array(scores, dtype=np.float64))
    table = table.sort_values(["index", "start", "strand"], ignore_index=True)
    return replace(motif, sites=table[SITE_COLUMNS])
