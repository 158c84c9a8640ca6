"""What the simulator plants: motifs, splice sites, repeats and gaps, each in a slot of its own.

Every `add_*` function takes the slots (int64[S], where they start in the genome), writes one
feature, or one row of splice sites, into each, and its truth beside it. Consensus words and places
come from the sources below. How often a motif is present is chosen, not measured: often enough that
a few hundred windows show it, seldom enough that none settles a class.

Shape suffixes: S windows or slots, L bases of each, W bases of a motif.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from genomelm_utils.sequences.alphabet import (
    ALPHABET,
    CODE_N,
    IUPAC_SETS,
    N_BASES,
    encode,
    reverse_complement,
)
from genomelm_utils.sequences.background import mutate


@dataclass(frozen=True)
class Motif:
    """A word and where it stands: its first base `first` to `last` bases from the anchor.

    The anchor of a promoter motif is the TSS base (+1, so -1 is the base before it), that of a
    splice motif the first base after the exon-intron border. presence: share of windows that get
    it. invariant: the part of the word that is always exact. either_strand: half of them reversed.
    """

    name: str
    consensus: str
    first: int
    last: int
    presence: float = 1.0
    invariant: tuple[int, int] = (0, 0)
    either_strand: bool = False


def consensus_matrix(consensus: str, chance: float = 1.0) -> np.ndarray:
    """float64 [W, 4]: `chance` for the bases an IUPAC letter allows, in equal parts, the rest for
    the others.

    Raises: ValueError for no letter, one that is no IUPAC letter, or a chance outside (0, 1].
    """
    if not 0 < chance <= 1:
        raise ValueError(f"chance is {chance}, expected a share in (0, 1]")
    if not consensus:
        raise ValueError("the consensus is empty, expected IUPAC letters")
    for letter in consensus.upper():
        if letter not in IUPAC_SETS:
            raise ValueError(f"{letter!r} in {consensus!r} is no IUPAC letter")
    allowed_W4 = np.array([[base in IUPAC_SETS[x] for base in "ACGT"] for x in consensus.upper()])
    n_allowed_W1 = allowed_W4.sum(axis=1, keepdims=True)
    rest_W1 = (1 - chance) / np.maximum(N_BASES - n_allowed_W1, 1)
    matrix_W4 = np.where(allowed_W4, chance / n_allowed_W1, rest_W1)
    return matrix_W4 / matrix_W4.sum(axis=1, keepdims=True)  # N: all four are allowed


def check_fit(motifs: Sequence[Motif], length_bp: int) -> None:
    """ValueError for a motif that, at one of its places, leaves a sequence of `length_bp`."""
    for motif in motifs:
        if motif.first < 0 or motif.last + len(motif.consensus) > length_bp:
            raise ValueError(
                f"{motif.name} of {len(motif.consensus)} bases at {motif.first} to {motif.last} "
                f"does not fit into {length_bp} bp"
            )


# Source: TATA (first T at -31 or -30), Inr (A at +1) and DPE (+28 to +32): Smale & Kadonaga 2003,
# Annu. Rev. Biochem. 72:449. CCAAT word: Benoist et al. 1980, Nucleic Acids Res. 8:127. GC word:
# Dynan & Tjian 1985, Nature 316:774. Places of the last two lie inside the preferred regions of
# Bucher 1990, J. Mol. Biol. 212:563 (CCAAT -212 to -57, GC -164 to +1), apart from each other so
# that no motif overwrites another.
PROMOTER_MOTIFS = (
    Motif("TATA-box", "TATAWAW", -31, -30, presence=0.5),
    Motif("Inr", "YYANWYY", -2, -2, presence=0.8),
    Motif("DPE", "RGWYV", 27, 27, presence=0.4),
    Motif("CCAAT-box", "GGYCAATCT", -100, -75, presence=0.5, either_strand=True),
    Motif("GC-box", "GGGCGG", -65, -40, presence=0.6, either_strand=True),
)
# Source: Shapiro & Senapathy 1987, Nucleic Acids Res. 15:7155 (MAG|GTRAGT, Yn N CAG|G).
DONOR = Motif("donor", "MAGGTRAGT", -3, -3, invariant=(3, 5))
ACCEPTOR = Motif("acceptor", "YYYYYYYYYYNCAGG", -14, -14, invariant=(12, 14))

SLOT_BP = 1000
SITE_STEP_BP = 100  # between neighbouring splice sites of a slot
TRUTH_COLUMNS = ["kind", "record", "start", "end", "strand", "detail"]
# Sizes below are chosen for slots of 1,000 bases, in the range of real repeats: Alu to LINE pieces,
# and microsatellites of 1 to 6 bases.
_ISLAND_BP = (-250, 150)  # from the TSS: a promoter's own composition, as in a CpG island
_REPEAT_BP = (150, 900)
_TANDEM_BP = (30, 300)
_TANDEM_UNIT_BP = (1, 6)
_GAP_BP = (100, SLOT_BP)
_DIVERGENCE = (0.02, 0.2)

_SETS = [np.flatnonzero([base in IUPAC_SETS[letter] for base in "ACGT"]) for letter in ALPHABET]


def draw_words(consensus: str, n: int, rng: np.random.Generator) -> np.ndarray:
    """n words `uint8[n, W]` that the consensus allows, each allowed base equally likely."""
    columns = [rng.choice(_SETS[code], n) for code in encode(consensus)]
    return np.stack(columns, axis=1).astype(np.uint8)


def plant_motif(
    codes_SL: np.ndarray,
    anchor_S: np.ndarray,
    motif: Motif,
    strength: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Write a motif into windows, in place; each of its bases with chance `strength`.

    anchor_S: index of the anchor base in each window. Returns (present bool[S], start int64[S],
    reversed bool[S]): which windows got it, where it starts, and whether as reverse complement.
    """
    n, width = len(codes_SL), len(motif.consensus)
    word_SW = draw_words(motif.consensus, n, rng)
    present_S = rng.random(n) < motif.presence
    start_S = anchor_S + rng.integers(motif.first, motif.last + 1, n)
    reversed_S = (rng.random(n) < 0.5) & motif.either_strand
    word_SW[reversed_S] = reverse_complement(word_SW[reversed_S])
    written_SW = rng.random((n, width)) < strength
    written_SW[:, slice(*motif.invariant)] = True
    written_SW &= present_S[:, None]
    rows, columns = np.arange(n)[:, None], start_S[:, None] + np.arange(width)
    codes_SL[rows, columns] = np.where(written_SW, word_SW, codes_SL[rows, columns])
    return present_S, start_S, reversed_S


@dataclass
class Canvas:
    """A genome in the making; its truth is in global coordinates until the end."""

    codes: np.ndarray
    truth: list[pd.DataFrame]

    def read(self, slots_S: np.ndarray, minus_S: np.ndarray) -> np.ndarray:
        """The slots as `uint8[S, SLOT_BP]`, those on the minus strand turned."""
        codes_SL = self.codes[slots_S[:, None] + np.arange(SLOT_BP)]
        codes_SL[minus_S] = reverse_complement(codes_SL[minus_S])
        return codes_SL

    def write(self, slots_S: np.ndarray, minus_S: np.ndarray, codes_SL: np.ndarray) -> None:
        """Put what `read` gave back into its place."""
        codes_SL[minus_S] = reverse_complement(codes_SL[minus_S])
        self.codes[slots_S[:, None] + np.arange(SLOT_BP)] = codes_SL

    def overwrite(self, start_S: np.ndarray, length_S: np.ndarray, codes_SL: np.ndarray) -> None:
        """Write the first length_S bases of each row at start_S."""
        inside = np.arange(codes_SL.shape[1]) < length_S[:, None]
        columns = start_S[:, None] + np.arange(codes_SL.shape[1])
        self.codes[columns[inside]] = codes_SL[inside]

    def note(
        self,
        kind: str,
        slots_S: np.ndarray,
        minus_S: np.ndarray,
        begin_S: np.ndarray,
        width: int | np.ndarray,
        *,
        turned: bool | np.ndarray = False,
        detail: str | list[str] = "",
    ) -> None:
        """Truth rows for features at begin_S of slots read in their own direction.

        turned: whether the feature itself runs against that direction.
        """
        offset_S = np.where(minus_S, SLOT_BP - begin_S - width, begin_S)
        start_S = slots_S + offset_S
        strand_S = np.where(minus_S ^ turned, "-", "+")
        columns = [kind, "", start_S, start_S + width, strand_S, detail]
        self.truth.append(pd.DataFrame(dict(zip(TRUTH_COLUMNS, columns, strict=True))))


def add_promoters(
    genome: Canvas,
    slots: np.ndarray,
    islands_SL: np.ndarray,
    strength: float,
    rng: np.random.Generator,
) -> None:
    """A promoter per slot: an island of other composition around the TSS, and motifs on it.

    islands_SL: one row per slot; as much of it is taken as the island is long.
    """
    minus = rng.random(len(slots)) < 0.5
    tss = rng.integers(SLOT_BP // 2 - SLOT_BP // 10, SLOT_BP // 2 + SLOT_BP // 10, len(slots))
    codes_SL = genome.read(slots, minus)
    island = tss[:, None] + np.arange(*_ISLAND_BP)
    np.put_along_axis(codes_SL, island, islands_SL[:, : island.shape[1]], axis=1)
    found = np.full(len(slots), "", dtype=object)
    for motif in PROMOTER_MOTIFS:
        present, begin, turned = plant_motif(codes_SL, tss, motif, strength, rng)
        found[present] += f"{motif.name} "
        genome.note(
            motif.name,
            slots[present],
            minus[present],
            begin[present],
            len(motif.consensus),
            turned=turned[present],
        )
    genome.write(slots, minus, codes_SL)
    genome.note("promoter", slots, minus, tss, 1, detail=[text.strip() for text in found])


def add_splice_sites(
    genome: Canvas, slots: np.ndarray, strength: float, rng: np.random.Generator
) -> None:
    """Donors and acceptors in turn along every slot, all on one strand of it."""
    minus = rng.random(len(slots)) < 0.5
    codes_SL = genome.read(slots, minus)
    jitter = SITE_STEP_BP // 5
    for i, middle in enumerate(range(SITE_STEP_BP // 2, SLOT_BP, SITE_STEP_BP)):
        motif = (DONOR, ACCEPTOR)[i % 2]
        border = middle + rng.integers(-jitter, jitter + 1, len(slots))
        _, begin, _ = plant_motif(codes_SL, border, motif, strength, rng)
        first, end = motif.invariant
        genome.note(motif.name, slots, minus, begin + first, end - first)
    genome.write(slots, minus, codes_SL)


def add_interspersed(
    genome: Canvas, slots: np.ndarray, families: np.ndarray, rng: np.random.Generator
) -> None:
    """Copies of the families, each with its own age (share of substitutions) and direction."""
    if not len(families):
        return
    length_of = rng.integers(*_REPEAT_BP, len(families), endpoint=True)
    family = rng.integers(0, len(families), len(slots))
    length = length_of[family]
    minus = rng.random(len(slots)) < 0.5
    copies = mutate(families[family], rng.uniform(*_DIVERGENCE, (len(slots), 1)), rng)
    begin = rng.integers(0, SLOT_BP - length + 1)
    codes_SL = genome.read(slots, minus)
    offset = np.arange(SLOT_BP) - begin[:, None]
    inside = (offset >= 0) & (offset < length[:, None])
    source = np.take_along_axis(copies, np.where(inside, offset, 0), axis=1)
    genome.write(slots, minus, np.where(inside, source, codes_SL))
    detail = [f"family{i + 1}" for i in family]
    genome.note("interspersed", slots, minus, begin, length, detail=detail)


def add_tandem(genome: Canvas, slots: np.ndarray, rng: np.random.Generator) -> None:
    """A microsatellite per slot: one unit repeated without error."""
    n = len(slots)
    unit_bp = rng.integers(*_TANDEM_UNIT_BP, n, endpoint=True)
    units = rng.integers(0, N_BASES, (n, _TANDEM_UNIT_BP[1]), dtype=np.uint8)
    length = rng.integers(*_TANDEM_BP, n, endpoint=True)
    begin = rng.integers(0, SLOT_BP - length + 1)
    phase = np.arange(_TANDEM_BP[1]) % unit_bp[:, None]
    genome.overwrite(slots + begin, length, np.take_along_axis(units, phase, axis=1))
    letters = np.array(list("ACGT"))[units]
    detail = ["".join(row[:width]) for row, width in zip(letters, unit_bp, strict=True)]
    genome.note("tandem", slots, np.zeros(n, bool), begin, length, detail=detail)


def add_gaps(genome: Canvas, slots: np.ndarray, rng: np.random.Generator) -> None:
    """An assembly gap per slot: a run of N."""
    length = rng.integers(*_GAP_BP, len(slots), endpoint=True)
    begin = rng.integers(0, SLOT_BP - length + 1)
    codes_SL = np.full((len(slots), _GAP_BP[1]), CODE_N, dtype=np.uint8)
    genome.overwrite(slots + begin, length, codes_SL)
    genome.note("gap", slots, np.zeros(len(slots), bool), begin, length)
