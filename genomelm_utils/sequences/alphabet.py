"""Base codes: nucleotides as small integers, with the IUPAC ambiguity codes and the complement.

A base code is a `uint8` index into `ALPHABET`: A 0, C 1, G 2, T 3, then the ambiguity codes 4..14
(N is 14). Case is not kept (FASTA reading keeps it as soft-mask intervals) and U reads as T. Codes
below `N_BASES` are definite bases; everything that counts words looks at definite bases only.

Shape suffixes: L bases, R runs.
"""

import numpy as np

# Letter -> the bases it stands for.
# Source: Cornish-Bowden 1985, Nucleic Acids Res. 13:3021 (IUPAC-IUB nomenclature), table 1.
IUPAC_SETS = {
    "A": "A",
    "C": "C",
    "G": "G",
    "T": "T",
    "R": "AG",
    "Y": "CT",
    "S": "CG",
    "W": "AT",
    "K": "GT",
    "M": "AC",
    "B": "CGT",
    "D": "AGT",
    "H": "ACT",
    "V": "ACG",
    "N": "ACGT",
}
ALPHABET = "".join(IUPAC_SETS)
N_BASES = 4  # definite bases: the codes 0..3
CODE_N = ALPHABET.index("N")
INVALID = 255  # in ENCODE_TABLE: a byte that is no nucleotide letter

_WATSON_CRICK = str.maketrans("ACGT", "TGCA")
_BLOCK = 1 << 20  # bases per block: the temporary arrays stay in the cache


def _make_encode_table() -> np.ndarray:
    table = np.full(256, INVALID, dtype=np.uint8)
    for code, letter in enumerate(ALPHABET):
        table[[ord(letter), ord(letter.lower())]] = code
    table[[ord("U"), ord("u")]] = ALPHABET.index("T")
    return table


def _make_complement_table() -> np.ndarray:
    """The complement of a letter is the letter of the complemented bases: R = AG -> TC = Y."""
    letter_of = {frozenset(bases): letter for letter, bases in IUPAC_SETS.items()}
    letters = [letter_of[frozenset(s.translate(_WATSON_CRICK))] for s in IUPAC_SETS.values()]
    return np.array([ALPHABET.index(letter) for letter in letters], dtype=np.uint8)


ENCODE_TABLE = _make_encode_table()
COMPLEMENT_TABLE = _make_complement_table()
DECODE_TABLE = np.frombuffer(ALPHABET.encode(), dtype=np.uint8)


def explain_character(byte: int) -> str:
    """Why a byte cannot stand in a nucleotide sequence, as a phrase for an error message."""
    shown = repr(chr(byte))
    if chr(byte) in "-.":
        return f"{shown} (an alignment gap: remove gaps first)"
    if chr(byte) == "*" or chr(byte).upper() in set("EFIJLOPQXZ"):
        return f"{shown} (is this a protein sequence?)"
    return shown


def encode(text: str | bytes, where: str = "sequence") -> np.ndarray:
    """Base codes `uint8[L]` of a nucleotide text; case is ignored and U reads as T.

    `where` names the record in the error. Raises ValueError for any character that is no IUPAC
    nucleotide letter, white space and gaps included; positions are 0-based.
    """
    data = text.encode("latin-1", errors="replace") if isinstance(text, str) else text
    codes = ENCODE_TABLE[np.frombuffer(data, dtype=np.uint8)]
    if len(codes) and codes.max() == INVALID:
        position = int(np.argmax(codes == INVALID))
        byte = data[position]
        raise ValueError(
            f"{where}: found {explain_character(byte)} at position {position} (0-based), "
            f"expected one of the IUPAC nucleotide letters {ALPHABET} or U"
        )
    return codes


def decode(codes: np.ndarray) -> str:
    """The upper-case text of base codes `uint8[L]`."""
    return DECODE_TABLE[codes].tobytes().decode("ascii")


def complement(codes: np.ndarray) -> np.ndarray:
    """The complementary base code of every code, ambiguity codes included; any shape."""
    return COMPLEMENT_TABLE[codes]


def reverse_complement(codes: np.ndarray) -> np.ndarray:
    """The other strand, read 5' to 3', along the last axis: `uint8[..., L]`."""
    return COMPLEMENT_TABLE[codes[..., ::-1]]


def definite_runs(codes: np.ndarray, starts: np.ndarray | None = None) -> np.ndarray:
    """Maximal stretches of definite bases as `int64[R, 2]` half-open intervals, in order.

    `starts` are the record boundaries `int64[n + 1]` of concatenated records (first 0, last L):
    with them a run never crosses from one record into the next.
    """
    pieces = []
    inside = False
    for begin in range(0, len(codes), _BLOCK):
        block = codes[begin : begin + _BLOCK]
        if inside and block.max() < N_BASES:  # the usual block, at a fraction of the price
            continue
        definite = block < N_BASES
        changes = np.flatnonzero(definite[1:] != definite[:-1]) + (begin + 1)
        if definite[0] != inside:
            pieces.append(np.array([begin]))
        pieces.append(changes)
        inside = bool(definite[-1])
    if inside:
        pieces.append(np.array([len(codes)]))
    borders = np.concatenate(pieces) if pieces else np.empty(0)
    runs = borders.astype(np.int64).reshape(-1, 2)
    return runs if starts is None else split_intervals(runs, starts)


def split_intervals(intervals: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """Sorted disjoint intervals int64[R, 2], divided where one of `cuts` falls inside of them."""
    if not len(intervals):
        return intervals
    cuts = np.unique(cuts)
    before = np.searchsorted(intervals[:, 0], cuts, side="right") - 1
    inside = (before >= 0) & (cuts > intervals[before, 0]) & (cuts < intervals[before, 1])
    begins = np.sort(np.concatenate([intervals[:, 0], cuts[inside]]))
    ends = np.sort(np.concatenate([intervals[:, 1], cuts[inside]]))
    return np.stack([begins, ends], axis=1)
