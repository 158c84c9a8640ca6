"""A motif and what a search for motifs found: one result object, whatever engine made it.

Shape suffixes: W positions of a motif, 4 bases in the order A, C, G, T.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from genomelm_utils.sequences.alphabet import IUPAC_SETS, N_BASES
from genomelm_utils.sequences.planting import consensus_matrix

#: Columns of a table of sites. record: name of the sequence; index: its number in the input, from
#: 0; start, end: 0-based half-open on the strand as given; score: bits, log2 odds against the
#: background; p_value: chance of that score at one place of the background; word: the bases as
#: the motif reads them.
SITE_COLUMNS = ["record", "index", "start", "end", "strand", "score", "p_value", "word"]

TABLE_COLUMNS = [
    *("motif", "consensus", "width", "n_sites", "n_records", "share", "bits", "log10_e"),
    "n_background",
]

_LETTER_OF = {bases: letter for letter, bases in IUPAC_SETS.items()}


_TYPES = [str, np.int64, np.int64, np.int64, str, np.float64, np.float64, str]
_NO_SITES = pd.DataFrame(
    {name: pd.Series(dtype=kind) for name, kind in zip(SITE_COLUMNS, _TYPES, strict=True)}
)


def no_sites() -> pd.DataFrame:
    """An empty table of sites."""
    return _NO_SITES.copy()


@dataclass(frozen=True)
class Motif:
    """A position weight matrix with its counts and, where it was found, its sites.

    name: without blanks. counts: float64[W, 4], bases seen at each position; not negative, no row
    of zeros, fractions allowed; rows may differ in their sums. alt_name: a second name, such as
    the factor's. log10_e: log10 of the E-value (the number of motifs as good as this one that the
    same search would find in background), NaN where none is known. sites: see `SITE_COLUMNS`.
    n_background: sites that the same cut calls in as many sequences of background, in the mean; NaN
    where nobody looked.

    Raises: ValueError for a name with blanks or counts that break these rules.
    """

    name: str
    counts: np.ndarray
    alt_name: str = ""
    log10_e: float = float("nan")
    sites: pd.DataFrame = field(default_factory=no_sites)
    n_background: float = float("nan")

    def __post_init__(self) -> None:
        object.__setattr__(self, "counts", np.array(self.counts, dtype=np.float64))
        check_name(self.name)
        check_counts(self.counts, f"motif {self.name!r}")

    @property
    def width(self) -> int:
        """Positions W."""
        return len(self.counts)

    @property
    def n_sites(self) -> float:
        """Sites behind the counts: the largest sum of a row."""
        return float(self.counts.sum(axis=1).max())

    @property
    def probabilities(self) -> np.ndarray:
        """float64[W, 4]; every row sums to 1, no pseudocount."""
        return self.counts / self.counts.sum(axis=1, keepdims=True)

    @property
    def information(self) -> np.ndarray:
        """Bits of every position, float64[W], 0 to 2, without the small-sample correction.

        Source: Schneider & Stephens 1990, Nucleic Acids Res. 18:6097.
        """
        p_W4 = self.probabilities
        logs_W4 = np.log2(p_W4, out=np.zeros_like(p_W4), where=p_W4 > 0)
        return np.log2(N_BASES) + (p_W4 * logs_W4).sum(axis=1)

    @property
    def consensus(self) -> str:
        """IUPAC text: one base if above one half and twice the next, two above three quarters.

        Otherwise N. Source: Cavener 1987, Nucleic Acids Res. 15:1353.
        """
        return "".join(consensus_letter(row_4) for row_4 in self.probabilities)

    @property
    def e_value(self) -> float:
        """The E-value; 0 where it is below what a float holds (see `log10_e`)."""
        return float(10.0**self.log10_e)

    def log_odds(
        self, background: Sequence[float] = (0.25,) * N_BASES, pseudocount: float = 0.1
    ) -> np.ndarray:
        """Bits float64[W, 4]: log2 of the smoothed probability over the background's.

        background: shares of A, C, G, T. pseudocount: sites of pure background added to every
        position (0.1 is the MEME suite's default for scanning).
        """
        background_4 = np.asarray(background, dtype=np.float64)
        total_W1 = self.counts.sum(axis=1, keepdims=True) + pseudocount
        with np.errstate(divide="ignore"):
            return np.log2((self.counts + pseudocount * background_4) / total_W1 / background_4)

    def reverse_complement(self) -> "Motif":
        """The same motif read from the other strand; its sites turn with it."""
        from genomelm_utils.sequences.alphabet import decode, encode, reverse_complement

        sites = self.sites.copy()
        sites["strand"] = sites["strand"].map({"+": "-", "-": "+"})
        words = [decode(reverse_complement(encode(word))) for word in sites["word"]]
        sites["word"] = pd.Series(words, index=sites.index, dtype=sites["word"].dtype)
        return replace(self, counts=self.counts[::-1, ::-1], sites=sites)


def motif_from_probabilities(
    name: str, probabilities: np.ndarray, n_sites: float, **more: Any
) -> Motif:
    """A motif whose counts are `probabilities` [W, 4] times `n_sites`; `more` goes to `Motif`."""
    return Motif(name, np.asarray(probabilities, dtype=np.float64) * n_sites, **more)


def motif_from_consensus(
    name: str, consensus: str, n_sites: float = 20.0, chance: float = 0.95, **more: Any
) -> Motif:
    """A motif from IUPAC letters: `chance` for the bases a letter allows, in equal parts, the rest
    for the others. n_sites: 20 is what a matrix without a number has in MEME files.

    Raises: ValueError for a character that is no IUPAC letter, or a chance outside (0, 1].
    """
    try:
        matrix_W4 = consensus_matrix(consensus, chance)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
    return motif_from_probabilities(name, matrix_W4, n_sites, **more)


def consensus_letter(shares_4: np.ndarray) -> str:
    """The IUPAC letter of one position (see `Motif.consensus`)."""
    order = np.argsort(-shares_4, kind="stable")
    first, second = shares_4[order[0]], shares_4[order[1]]
    if first > 0.5 and first > 2 * second:
        return "ACGT"[order[0]]
    if first + second > 0.75:
        return _LETTER_OF["".join(sorted("ACGT"[i] for i in order[:2]))]
    return "N"


def check_name(name: str) -> None:
    """ValueError unless the name is one word."""
    if not name or len(name.split()) != 1:
        raise ValueError(f"motif name {name!r}, expected one word without blanks")


def check_counts(counts_W4: np.ndarray, where: str) -> None:
    """ValueError unless the counts are [W, 4] of numbers from 0 up with something in every row."""
    if counts_W4.ndim != 2 or counts_W4.shape[1] != N_BASES or not len(counts_W4):
        raise ValueError(
            f"{where}: matrix of shape {counts_W4.shape}, expected (positions, 4), bases A, C, G, T"
        )
    wrong = ~(np.isfinite(counts_W4) & (counts_W4 >= 0)).all(axis=1)
    if wrong.any():
        position = int(np.argmax(wrong))
        raise ValueError(
            f"{where}: position {position + 1} holds {counts_W4[position].tolist()}, expected "
            "numbers from 0 up (a matrix of log-odds is no motif file: take its probabilities)"
        )
    empty = counts_W4.sum(axis=1) == 0
    if empty.any():
        raise ValueError(
            f"{where}: position {int(np.argmax(empty)) + 1} holds zeros only, expected at least "
            "one base; cut the position off or give it 0.25 each"
        )


@dataclass(frozen=True)
class Discovery:
    """What a search found: motifs in the order of their finding, and how it was made.

    engine: name and version of what searched. parameters: all that was asked for, with defaults.
    records: names of the sequences searched. skipped: table (name, reason) of those left out.
    background: shares of A, C, G, T against which sites are scored. notes: sentences on what the
    engine did by itself, such as stopping early.
    """

    motifs: list[Motif]
    engine: str
    parameters: Mapping[str, Any]
    records: list[str]
    skipped: pd.DataFrame
    background: tuple[float, float, float, float] = (0.25,) * N_BASES
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.motifs)

    def table(self) -> pd.DataFrame:
        """One row per motif: `TABLE_COLUMNS`.

        n_records: sequences with a site; share: of all searched; bits: information of all
        positions; n_background: sites of the same cut in background.
        """
        rows = [
            {
                "motif": motif.name,
                "consensus": motif.consensus,
                "width": motif.width,
                "n_sites": len(motif.sites),
                "n_records": motif.sites["index"].nunique(),
                "share": motif.sites["index"].nunique() / max(len(self.records), 1),
                "bits": float(motif.information.sum()),
                "log10_e": motif.log10_e,
                "n_background": motif.n_background,
            }
            for motif in self.motifs
        ]
        return pd.DataFrame(rows, columns=TABLE_COLUMNS)

    def sites(self) -> pd.DataFrame:
        """The sites of all motifs in one table: motif, then `SITE_COLUMNS`."""
        parts = [motif.sites.assign(motif=motif.name) for motif in self.motifs]
        whole = pd.concat(parts, ignore_index=True) if parts else no_sites().assign(motif="")
        return whole[["motif", *SITE_COLUMNS]]
