"""Hand-engineered features of plant promoters: known motifs, where they stand, composition.

CornBERT's own list ("features from a list of common plant promoters") was never published. This one
is put together from the literature. Word and source of a motif with an accession were compared with
a copy of the PLACE database (Higo et al. 1999, Nucleic Acids Res. 27:297). The others' words are
not in it: TATA box; Y patch (octamers of pyrimidines in its source); Inr (the mammalian consensus,
SO:0000014 of the Sequence Ontology); W-box (it has TTGAC and TTTGACY) and O2 box (TCCACGTAGA).

Shapes: S promoters, L bases of the longest, W letters of a motif, F features.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from genomelm_utils.sequences.alphabet import (
    ALPHABET,
    IUPAC_SETS,
    decode,
    encode,
    reverse_complement,
)
from genomelm_utils.sequences.tss import Gaps, distance_of, fill_gaps
from genomelm_utils.tasks.windows import Codes


@dataclass(frozen=True)
class PlantMotif:
    """A name, an IUPAC consensus, and where that consensus comes from.

    place: accession of the same word in PLACE, empty where that database has no such word.
    """

    name: str
    consensus: str
    source: str
    place: str = ""


PLANT_MOTIFS = (
    PlantMotif("TATA box", "TATAWA", "Molina & Grotewold 2005, BMC Genomics 6:25"),
    PlantMotif("CAAT box", "CCAAT", "Rieping & Schoffl 1992, Mol. Gen. Genet. 231:226", "S000030"),
    PlantMotif("Y patch", "YYYYYYYY", "Yamamoto et al. 2007, BMC Genomics 8:67"),
    PlantMotif("Inr", "YYANWYY", "Smale & Kadonaga 2003, Annu. Rev. Biochem. 72:449"),
    PlantMotif("G-box", "CACGTG", "Menkens et al. 1995, Trends Biochem. Sci. 20:506", "S000042"),
    PlantMotif("ABRE", "ACGTGKC", "Hattori et al. 2002, Plant Cell Physiol. 43:136", "S000394"),
    PlantMotif("W-box", "TTGACY", "Eulgem et al. 2000, Trends Plant Sci. 5:199"),
    PlantMotif("GCC box", "GCCGCC", "Ohme-Takagi & Shinshi 1995, Plant Cell 7:173", "S000430"),
    PlantMotif("DRE", "RCCGAC", "Dubouzet et al. 2003, Plant J. 33:751", "S000418"),
    PlantMotif("as-1", "TGACG", "Lam et al. 1989, PNAS 86:7890", "S000024"),
    PlantMotif("AuxRE", "TGTCTC", "Ulmasov et al. 1999, Plant J. 19:309", "S000270"),
    PlantMotif("I-box", "GATAAG", "Giuliano et al. 1988, PNAS 85:7089", "S000124"),
    PlantMotif(
        "GT-1", "GRWAAW", "Terzaghi & Cashmore 1995, Ann. Rev. Plant Physiol. 46:445", "S000198"
    ),
    PlantMotif("E-box", "CANNTG", "Stalberg et al. 1996, Planta 199:515", "S000144"),
    PlantMotif("DOF", "AAAG", "Yanagisawa & Schmidt 1999, Plant J. 17:209", "S000265"),
    PlantMotif("MYB1", "WAACCA", "Abe et al. 2003, Plant Cell 15:63", "S000408"),
    PlantMotif("MYB2", "YAACKG", "Abe et al. 2003, Plant Cell 15:63", "S000409"),
    PlantMotif("RY repeat", "CATGCA", "Ezcurra et al. 1999, Plant Mol. Biol. 40:699", "S000264"),
    PlantMotif("prolamin box", "TGTAAAG", "Vicente-Carbajosa et al. 1997, PNAS 94:7685", "S000001"),
    PlantMotif("GCN4", "TGAGTCA", "Washida et al. 1999, Plant Mol. Biol. 40:1", "S000277"),
    PlantMotif("O2 box", "CCACGTAG", "Schmidt et al. 1992, Plant Cell 4:689"),
    PlantMotif("ERE", "AWTTCAAA", "Itzhaki et al. 1994, PNAS 91:8925", "S000037"),
)
PER_MOTIF = ("plus", "minus", "present", "nearest_bp")
#: C, then H (no G), then G: where plants also methylate cytosine.
CHG = "CHG"
COMPOSITION = ("gc", "gc_skew", "cpg", "chg_plus", "chg_minus", "length_bp")

_BASE_BITS = {base: 1 << i for i, base in enumerate("ACGT")}
_BITS = np.array([sum(_BASE_BITS[b] for b in IUPAC_SETS[x]) for x in ALPHABET], dtype=np.uint8)
_OUTSIDE = np.uint8(16)  # beyond the end of a promoter: fits no letter


def motif_features(
    codes: Codes,
    gap_bp: Gaps = None,
    motifs: Sequence[PlantMotif] = PLANT_MOTIFS,
) -> np.ndarray:
    """Features float32 [S, F] of promoters read 5' to 3', named by `motif_feature_names`.

    Per motif: hits on the strand as written (`plus`), hits on the other (`minus`; the same number
    for a palindrome), whether there is any (`present`), and where the last base of the hit nearest
    to the TSS stands, -1 right before it (`nearest_bp`, see `sequences.tss`). Without a hit that is
    the first base upstream that the promoter does not reach any more. Hits may overlap. An N in
    the promoter fits only an N of the motif. Then GC share and GC skew (G - C) / (G + C) of the
    definite bases (0.5 and 0 without any), CpG, CHG on both strands, length in bp.

    Args:
        codes: base codes, of any lengths. gap_bp: bases between the right end and the TSS, see
            `sequences.tss`. motifs: by default all.
    Raises: ValueError for no promoter, or gaps that do not fit.
    """
    lengths_S = np.array([len(one) for one in codes], dtype=np.int64)
    if not len(lengths_S):
        raise ValueError("there is no promoter, expected at least one")
    gaps_S = fill_gaps(gap_bp, len(lengths_S))
    bits_SL = right_aligned_bits(codes)
    columns = []
    for motif in motifs:
        plus_SP, minus_SP = (find_hits(bits_SL, word) for word in both_strands(motif.consensus))
        any_SP = plus_SP | minus_SP
        present_S = any_SP.any(axis=1)
        nearest_S = np.where(present_S, _nearest(any_SP, gaps_S), -lengths_S - 1 - gaps_S)
        columns += [plus_SP.sum(1), minus_SP.sum(1), present_S, nearest_S]
    columns += _composition(bits_SL, lengths_S)
    return np.stack(columns, axis=1).astype(np.float32)


def motif_feature_names(motifs: Sequence[PlantMotif] = PLANT_MOTIFS) -> list[str]:
    """The names of the columns of `motif_features`, such as 'TATA box nearest_bp'."""
    return [f"{motif.name} {part}" for motif in motifs for part in PER_MOTIF] + list(COMPOSITION)


def right_aligned_bits(codes: Codes) -> np.ndarray:
    """Promoters below each other, TSS ends in one column: uint8 [S, L], a bit per base allowed.

    A is 1, C 2, G 4, T 8, an ambiguous base the sum of what it may be, 16 beyond the 5' end.
    """
    longest = max(len(one) for one in codes)
    bits_SL = np.full((len(codes), longest), _OUTSIDE)
    lengths_S = np.array([len(one) for one in codes])
    inside_SL = np.arange(longest) >= longest - lengths_S[:, None]
    bits_SL[inside_SL] = _BITS[np.concatenate(list(codes))]
    return bits_SL


def find_hits(bits_SL: np.ndarray, consensus: str) -> np.ndarray:
    """Where a consensus fits: bool [S, L - W + 1], true where a hit begins.

    A base fits a letter that allows all it may be: N fits N only.
    """
    wanted_W = _BITS[encode(consensus, f"motif {consensus!r}")]
    n_places = bits_SL.shape[1] - len(wanted_W) + 1
    if n_places <= 0:
        return np.zeros((len(bits_SL), 0), dtype=bool)
    odd_SP = np.zeros((len(bits_SL), n_places), dtype=np.uint8)
    for shift, wanted in enumerate(wanted_W):
        odd_SP |= bits_SL[:, shift : shift + n_places] & ~wanted
    return odd_SP == 0


def both_strands(consensus: str) -> tuple[str, str]:
    """A consensus as it reads on the strand as written, for hits on either strand."""
    return consensus, decode(reverse_complement(encode(consensus)))


def _nearest(hits_SP: np.ndarray, gaps_S: np.ndarray) -> np.ndarray:
    """distance_bp of the last base of the hit nearest to the TSS, int64 [S]; any number if none."""
    n_places = hits_SP.shape[1]
    if not n_places:
        return np.zeros(len(hits_SP), dtype=np.int64)
    distance_SP = distance_of(np.arange(n_places), n_places, gaps_S[:, None])
    far = np.where(hits_SP, np.abs(distance_SP), np.iinfo(np.int64).max)
    return distance_SP[np.arange(len(hits_SP)), far.argmin(1)]


def _composition(bits_SL: np.ndarray, lengths_S: np.ndarray) -> list[np.ndarray]:
    """The columns of `COMPOSITION`."""
    n_A, n_C, n_G, n_T = ((bits_SL == _BASE_BITS[base]).sum(1) for base in "ACGT")
    n_gc, n_definite = n_G + n_C, n_A + n_C + n_G + n_T
    gc_S = np.where(n_definite > 0, n_gc / np.maximum(n_definite, 1), 0.5)
    skew_S = (n_G - n_C) / np.maximum(n_gc, 1)
    words = ["CG", *both_strands(CHG)]
    return [gc_S, skew_S, *(find_hits(bits_SL, word).sum(1) for word in words), lengths_S]
