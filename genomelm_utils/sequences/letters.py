"""FASTA of DNA, RNA or protein as letters: records or windows of them in bounded memory.

For what is about the letters themselves, such as learned words; `stream` and `fasta` give base
codes of nucleotides.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from genomelm_utils.sequences.alphabet import (
    ALPHABET,
    COMPLEMENT_TABLE,
    explain_character,
)
from genomelm_utils.sequences.stream import explained, tell_format

logger = logging.getLogger(__name__)

DNA, RNA, PROTEIN = "dna", "rna", "protein"
#: Letters of each kind. Source: bases as in `sequences.alphabet`; amino acids as in IUPAC-IUB
#: nomenclature (Eur. J. Biochem. 138:9, 1984): the twenty, the ambiguous B, J, X, Z, the rare O and
#: U, and * for a stop.
LETTERS = {
    DNA: ALPHABET,
    RNA: ALPHABET.replace("T", "U"),
    PROTEIN: "ACDEFGHIKLMNPQRSTVWYBJXZOU*",
}
KINDS = (*LETTERS, "auto")
CASES = ("upper", "lower", "keep")
MODES = ("corrected", "reference")
_SNIFFED = 1 << 16  # letters that the kind is told from
_BASE_SHARE = 0.9  # ours: from which share of A, C, G, T, U and N on they are bases
_BLOCK_BYTES = 1 << 22
_BLANKS = b" \t\r\n"


class Window(NamedTuple):
    """Letters of one record. header: its whole line without `>`. index: which window of the record,
    from 0. text: the letters."""

    header: str
    index: int
    text: str


@dataclass(frozen=True)
class Kind:
    """What letters are ("dna", "rna" or "protein"), and how that is known."""

    name: str
    why: str

    @property
    def has_strands(self) -> bool:
        """Whether there is a reverse complement."""
        return self.name != PROTEIN


class LetterStream:
    """Windows of the records of a FASTA file, plain or compressed (told by content).

    Without `window` a record is one window. Windows do not overlap; the last of a record is as long
    as what is left. They are read one at a time, so a chromosome takes no more memory than a window
    and a block of 4 MiB. Empty records are left out, and counted and named in `skipped` and once in
    the log. Names may be repeated.

    Args:
        path: the file.
        kind: "dna", "rna", "protein", or "auto": told from its first 65,536 letters.
        case: "upper", "lower" or "keep" (soft-masked letters stay as they are).
        window: letters of a window, None for whole records.
    Raises: FileNotFoundError; ValueError for no FASTA, damaged files, a record without a name, a
        letter that is none of this kind (protein where DNA is said, U in DNA), no letters at all.

    skipped: table (name, reason). n_records, n_letters: what was given out so far.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        kind: str = "auto",
        case: str = "upper",
        window: int | None = None,
    ) -> None:
        for name, value, choices in (("kind", kind, KINDS), ("case", case, CASES)):
            if value not in choices:
                raise ValueError(f"{name} is {value!r}, expected one of: {', '.join(choices)}")
        if window is not None and window < 1:
            raise ValueError(f"window is {window}, expected 1 or more letters")
        self.path = Path(path)
        if (found := tell_format(self.path)) != "fasta":
            raise ValueError(f"{self.path}: a {found.upper()} file, expected FASTA")
        self.kind = tell_kind(self.path) if kind == "auto" else Kind(kind, "as asked")
        self.case, self.window = case, window
        known = LETTERS[self.kind.name]
        self._known = (known + known.lower()).encode()
        self._reported = False
        self._reset()

    def _reset(self) -> None:
        self.n_records = self.n_letters = 0
        self._skipped: list[tuple[str, str]] = []

    @property
    def skipped(self) -> pd.DataFrame:
        """Records left out so far: name and reason."""
        return pd.DataFrame(self._skipped, columns=["name", "reason"])

    def __iter__(self) -> Iterator[Window]:
        self._reset()
        header, index, held, size = None, 0, bytearray(), self.window
        for new_header, letters in _read_sections(self.path):
            if new_header is not None:
                yield from self._finish(header, index, held)
                header, index, held = new_header, 0, bytearray()
            held += letters
            while size is not None and len(held) > size:  # so that what is left is never empty
                yield self._make(header, index, held[:size])
                del held[:size]
                index += 1
        yield from self._finish(header, index, held)
        self._report()

    def _finish(self, header: str | None, index: int, held: bytearray) -> Iterator[Window]:
        if held:
            yield self._make(header, index, held)
        elif header is not None:
            self._skipped.append((header, "empty record"))

    def _make(self, header: str, index: int, letters: bytearray) -> Window:
        if letters.translate(None, self._known):
            raise ValueError(self._explain(header, index, letters))
        self.n_records += index == 0
        self.n_letters += len(letters)
        text = letters.decode("ascii")
        if self.case != "keep":
            text = text.upper() if self.case == "upper" else text.lower()
        return Window(header, index, text)

    def _explain(self, header: str, index: int, letters: bytearray) -> str:
        at, byte = next((i, one) for i, one in enumerate(letters) if one not in self._known)
        position, kind = at + index * (self.window or 0), self.kind.name
        shown = repr(chr(byte)) if kind == PROTEIN else explain_character(byte)
        if kind != PROTEIN and chr(byte) in "TtUu":
            shown = f"{chr(byte)!r} (is this {(RNA if kind == DNA else DNA).upper()}?)"
        return (
            f"{self.path}: record {header!r} holds {shown} at letter {position} (0-based), "
            f"expected letters of {kind if kind == PROTEIN else kind.upper()}, {LETTERS[kind]} "
            f"(kind {kind}: {self.kind.why})"
        )

    def _report(self) -> None:
        if not self.n_records:
            raise ValueError(f"{self.path}: no letters in {len(self._skipped)} records")
        if self._skipped and not self._reported:
            names = [name for name, _ in self._skipped]
            shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
            logger.warning("%s: left out %d empty records: %s", self.path, len(names), shown)
        self._reported = True


def tell_kind(path: str | Path) -> Kind:
    """What the letters of a FASTA file are, told from its first 65,536.

    Bases where 90 % of them are A, C, G, T, U or N, in either case; RNA where there is U and no T.
    Raises: FileNotFoundError; ValueError for no FASTA, or no letters.
    """
    path = Path(path)
    tell_format(path)
    letters = bytearray()
    for _, part in _read_sections(path):
        letters += part
        if len(letters) >= _SNIFFED:
            break
    head = letters[:_SNIFFED].upper()
    if not head:
        raise ValueError(f"{path}: no record holds any letter")
    share = 1 - len(head.translate(None, b"ACGTUN")) / len(head)
    why = f"{100 * share:.0f} % of the first {len(head):,} letters are bases"
    if share < _BASE_SHARE:
        return Kind(PROTEIN, why)
    return (
        Kind(RNA, f"{why}, with U and no T")
        if b"U" in head and b"T" not in head
        else Kind(DNA, why)
    )


def _read_sections(path: Path) -> Iterator[tuple[str | None, bytes]]:
    """(header, letters without blanks): the header of a record that begins, else None."""
    from xopen import xopen

    rest, at_line_start, n_records = b"", True, 0
    with explained(path), xopen(path, "rb", threads=0) as file:
        while (read := file.read(_BLOCK_BYTES)) or rest:
            block, position, rest = rest + (read or b"\n"), 0, b""
            while position < len(block):
                if at_line_start and block[position] == ord(">"):
                    end = block.find(b"\n", position)
                    if end < 0:
                        rest = block[position:]
                        break
                    n_records += 1
                    yield _read_header(path, n_records, block[position + 1 : end]), b""
                    position = end + 1
                    continue
                end = block.find(b"\n>", position) + 1 or len(block)
                yield None, block[position:end].translate(None, _BLANKS)
                at_line_start = block[end - 1] == ord("\n")
                position = end


def _read_header(path: Path, number: int, line: bytes) -> str:
    header = line.decode("utf-8", errors="replace").strip()
    if not header:
        raise ValueError(f"{path}: record {number} has no name, expected one after '>'")
    return header


# --- the other strand ----------------------------------------------------------------------

_COMPLEMENTS = {ALPHABET[i]: ALPHABET[j] for i, j in enumerate(COMPLEMENT_TABLE.tolist())}
#: What the released code has for ambiguity codes. Source: genomeNLP, `reverse_complement`.
_REFERENCE = {"S": "W", "W": "S", "B": "N", "D": "N", "H": "N", "V": "N"}


def _make_table(kind: str, mode: str) -> dict[int, str]:
    pairs = _COMPLEMENTS | (_REFERENCE if mode == "reference" else {})
    if kind == RNA:
        pairs = {a.replace("T", "U"): b.replace("T", "U") for a, b in pairs.items()}
    return str.maketrans(pairs | {a.lower(): b.lower() for a, b in pairs.items()})


_TABLES = {(kind, mode): _make_table(kind, mode) for kind in (DNA, RNA) for mode in MODES}


def reverse_complement_text(text: str, kind: str = DNA, mode: str = "corrected") -> str:
    """The other strand of letters of DNA or RNA, read 5' to 3'; case stays.

    mode: "corrected" complements every IUPAC letter; "reference" swaps S and W, which are their own
        complements, and turns B, D, H and V into N, as the released code does.
    Raises: ValueError for protein, which has no other strand. Letters of another kind stay.
    """
    if (kind, mode) not in _TABLES:
        raise ValueError(
            f"kind is {kind!r} and mode {mode!r}: only {DNA} and {RNA} have a reverse complement "
            f"(for protein leave it out), and modes are {', '.join(MODES)}"
        )
    return text.translate(_TABLES[kind, mode])[::-1]


def canonical_text(text: str, kind: str) -> str:
    """The letters or those of the other strand, whichever come first in the alphabet; protein has
    one strand only."""
    return text if kind == PROTEIN else min(text, reverse_complement_text(text, kind))
