"""Motif files: MEME, JASPAR and TRANSFAC in and out, plain or gzipped, read strictly.

All three tell a motif by rows of four numbers. Blank lines and lines that begin with `#` are
comments. A file is read whole or not at all: what is wrong is told with its line.

Sources: MEME suite manual, "MEME Minimal Motif Format"; JASPAR and TRANSFAC as JASPAR gives them
for download (Castro-Mondragon et al. 2022, Nucleic Acids Res. 50:D165); TRANSFAC also as rGADEM
ships it, without the lines ID and P0.
"""

import gzip
import math
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from genomelm_utils.motifs.motif import Motif, check_counts
from genomelm_utils.sequences.alphabet import N_BASES
from genomelm_utils.sequences.fasta import is_gzip

#: Number of sites of a matrix of probabilities that does not tell it. Source: MEME manual.
DEFAULT_SITES = 20
#: How far the sum of a row of probabilities may be from 1. Files round to two decimals or more:
#: four numbers are then off by 0.02 at most, and rarely by more than 0.01.
SUM_TOLERANCE = 0.01 + 1e-9
_BASES = "ACGT"
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"

Line = tuple[int, str]  # 1-based number in the file, text without blanks at its ends


def read_motifs(path: str | Path) -> list[Motif]:
    """All motifs of a MEME, JASPAR or TRANSFAC file, told by its content; in the file's order.

    MEME: probabilities, times `nsites` (20 without) as counts; `E=` as E-value, 0 for "not known";
    matrices of log-odds are passed over where probabilities follow. JASPAR: four rows, with or
    without letters and brackets. TRANSFAC: names from ID, or AC, or DE; blanks in it become `_`.

    Raises: FileNotFoundError; ValueError for another format, an empty file, another alphabet, a
        row that has not four numbers from 0 up, sums to 0, or (MEME) not to 1 within 0.01, a
        matrix without a name or of another width than told, a motif without a matrix, two of one
        name.
    """
    path = Path(path)
    lines = list(_read_lines(path))
    if not lines:
        raise ValueError(f"{path}: no motif in it, expected a MEME, JASPAR or TRANSFAC file")
    first = lines[0][1]
    if first.startswith("MEME version"):
        motifs = _read_meme(path, lines)
    elif first.startswith(">"):
        motifs = _read_jaspar(path, lines)
    elif first.split()[0] in _TRANSFAC_FIELDS:
        motifs = _read_transfac(path, lines)
    else:
        raise ValueError(
            f"{path}, line {lines[0][0]}: found {first[:60]!r}, expected 'MEME version' (MEME), "
            f"'>' (JASPAR) or one of {', '.join(_TRANSFAC_FIELDS)} (TRANSFAC)"
        )
    if not motifs:
        raise ValueError(f"{path}: a header but no motif, expected at least one matrix")
    _check_unique(path, [motif.name for motif in motifs])
    return motifs


def write_motifs(path: str | Path, motifs: Sequence[Motif], kind: str = "meme", **more) -> None:
    """Writes motifs as `meme`, `jaspar` or `transfac`; gzipped if named *.gz.

    MEME keeps names, probabilities, number of sites, E-value and (`background=`, shares of A, C,
    G, T) the background; JASPAR and TRANSFAC keep names and counts. The same motifs give the same
    bytes; numbers have ten digits.

    Raises: ValueError for another kind, no motif, or two motifs of one name.
    """
    if kind not in WRITERS:
        raise ValueError(f"kind is {kind!r}, expected one of {', '.join(WRITERS)}")
    path = Path(path)
    if not motifs:
        raise ValueError(f"{path}: no motif to write")
    _check_unique(path, [motif.name for motif in motifs])
    text = WRITERS[kind](motifs, **more).encode()
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(gzip.compress(text, mtime=0) if path.suffix == ".gz" else text)
    partial.replace(path)


def meme_text(motifs: Sequence[Motif], background: Sequence[float] = (0.25,) * N_BASES) -> str:
    """The text of a MEME file, version 4."""
    shares = " ".join(
        f"{base} {share:.10g}" for base, share in zip(_BASES, background, strict=True)
    )
    parts = [
        "MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n\n"
        f"Background letter frequencies\n{shares}\n"
    ]
    for motif in motifs:
        rows = "".join(
            " ".join(f"{value:.10g}" for value in row) + "\n" for row in motif.probabilities
        )
        parts.append(
            f"\nMOTIF {motif.name} {motif.alt_name}".rstrip()
            + f"\nletter-probability matrix: alength= 4 w= {motif.width} "
            f"nsites= {motif.n_sites:.10g} E= {_format_e(motif.log10_e)}\n{rows}"
        )
    return "".join(parts)


def jaspar_text(motifs: Sequence[Motif]) -> str:
    """The text of a JASPAR file: a header and four rows of counts per motif."""
    parts = []
    for motif in motifs:
        parts.append(f">{motif.name}\t{motif.alt_name}".rstrip() + "\n")
        for base, counts in zip(_BASES, motif.counts.T, strict=True):
            parts.append(f"{base}  [ {' '.join(f'{value:.10g}' for value in counts)} ]\n")
    return "".join(parts)


def transfac_text(motifs: Sequence[Motif]) -> str:
    """The text of a TRANSFAC file: ID, the second name as DE, one row of counts per position."""
    parts = []
    for motif in motifs:
        more = f"DE {motif.alt_name}\n" if motif.alt_name else ""
        parts.append(f"ID {motif.name}\n{more}P0\tA\tC\tG\tT\n")
        for position, counts in enumerate(motif.counts, start=1):
            numbers = "\t".join(f"{value:.10g}" for value in counts)
            parts.append(f"{position:02d}\t{numbers}\t{motif.consensus[position - 1]}\n")
        parts.append("XX\n//\n")
    return "".join(parts)


WRITERS: dict[str, Callable[..., str]] = {
    "meme": meme_text,
    "jaspar": jaspar_text,
    "transfac": transfac_text,
}


def _format_e(log10_e: float) -> str:
    """An E-value as text, below what a float holds too; 0 for not known."""
    if not math.isfinite(log10_e):
        return "0"
    exponent = math.floor(log10_e)
    return f"{10 ** (log10_e - exponent):.6f}e{exponent:+03d}"


def _parse_e(text: str) -> float:
    """log10 of an E-value's text, NaN for 0."""
    mantissa, _, exponent = text.lower().partition("e")
    return math.log10(float(mantissa)) + int(exponent or 0) if float(mantissa) > 0 else math.nan


def _read_lines(path: Path) -> Iterator[Line]:
    """Numbered lines that hold something."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file, expected MEME, JASPAR or TRANSFAC motifs")
    try:
        data = gzip.decompress(path.read_bytes()) if is_gzip(path) else path.read_bytes()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: truncated or damaged gzip file ({error})") from error
    for number, line in enumerate(data.decode("utf-8", errors="replace").splitlines(), start=1):
        text = line.strip()
        if text and not text.startswith("#"):
            yield number, text


def _numbers(path: Path, line: Line, words: Sequence[str], n: int | None) -> list[float]:
    """The words as numbers from 0 up, n of them (any number of them for None)."""
    number, text = line
    odd = [word for word in words if not re.fullmatch(_NUMBER, word) or float(word) < 0]
    if odd or (n is not None and len(words) != n):
        expected = "numbers" if n is None else f"{n} numbers"
        raise ValueError(
            f"{path}, line {number}: found {text[:80]!r}, expected {expected} from 0 up"
        )
    return [float(word) for word in words]


def _check_unique(path: Path, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{path}: two motifs are named {name!r}, expected names to differ")
        seen.add(name)


# MEME


def _read_meme(path: Path, lines: list[Line]) -> list[Motif]:
    motifs, name, alt_name, at, named_at = [], "", "", 0, 0
    while at < len(lines):
        number, text = lines[at]
        at += 1
        if text.startswith("ALPHABET"):
            _check_alphabet(path, number, text)
        elif text.split()[0] == "MOTIF":
            _check_has_matrix(path, name, named_at)
            name, alt_name, named_at = *_meme_names(path, number, text), number
        elif text.startswith("letter-probability matrix"):
            if not name:
                raise ValueError(
                    f"{path}, line {number}: a matrix before its name, expected a line "
                    "'MOTIF name' above each matrix"
                )
            told = dict(re.findall(r"(alength|w|nsites|E)=\s*(\S+)", text))
            rows, at = _meme_rows(path, lines, at)
            motifs.append(_meme_motif(path, (number, text), name, alt_name, told, rows))
            name = ""
    _check_has_matrix(path, name, named_at)
    return motifs


def _meme_names(path: Path, number: int, text: str) -> tuple[str, str]:
    words = text.split()[1:]
    if not words:
        raise ValueError(f"{path}, line {number}: MOTIF without a name, expected 'MOTIF name'")
    # whole MEME reports go on with 'MEME-1 width = 10 sites = 20 ...' on that line
    alt_name = words[1] if len(words) > 1 and words[1] != "width" else ""
    return words[0], alt_name


def _check_alphabet(path: Path, number: int, text: str) -> None:
    letters = text.partition("=")[2].strip()
    if letters != _BASES and '"DNA"' not in text:
        raise ValueError(f"{path}, line {number}: found {text!r}, expected ALPHABET= {_BASES}")


def _check_has_matrix(path: Path, name: str, named_at: int) -> None:
    if name:
        raise ValueError(
            f"{path}, line {named_at}: motif {name!r} has no 'letter-probability matrix'; "
            "log-odds alone are not enough"
        )


def _meme_rows(path: Path, lines: list[Line], at: int) -> tuple[np.ndarray, int]:
    """The rows of probabilities from line `at` on, and the line after them."""
    rows = []
    while at < len(lines) and re.match(r"[-+.\d]", lines[at][1]) and lines[at][1][:2] != "--":
        row = _numbers(path, lines[at], lines[at][1].split(), N_BASES)
        total = sum(row)
        if abs(total - 1) > SUM_TOLERANCE:
            raise ValueError(
                f"{path}, line {lines[at][0]}: probabilities sum to {total:.6g}, expected 1 "
                "(within 0.01); counts belong into a JASPAR or TRANSFAC file"
            )
        rows.append(row)
        at += 1
    return np.array(rows).reshape(-1, N_BASES), at


def _meme_motif(
    path: Path, line: Line, name: str, alt_name: str, told: dict[str, str], rows_W4: np.ndarray
) -> Motif:
    where = f"{path}, line {line[0]}: motif {name!r}"
    for key, text in told.items():
        if not re.fullmatch(_NUMBER, text):
            raise ValueError(f"{where}: {key}= {text!r}, expected a number")
    found = {"alength": N_BASES, "w": len(rows_W4)}
    for key, value in found.items():
        if float(told.get(key, value)) != value:
            raise ValueError(f"{where}: the header tells {key}= {told[key]}, found {value}")
    n_sites = float(told.get("nsites", 0)) or DEFAULT_SITES
    if n_sites < 0:
        raise ValueError(f"{where}: nsites= {n_sites:g}, expected a number above 0")
    check_counts(rows_W4, where)
    probabilities_W4 = rows_W4 / rows_W4.sum(axis=1, keepdims=True)
    return Motif(name, probabilities_W4 * n_sites, alt_name, _parse_e(told.get("E", "0")))


# JASPAR


def _read_jaspar(path: Path, lines: list[Line]) -> list[Motif]:
    begins = [i for i, (_, text) in enumerate(lines) if text.startswith(">")]
    return [
        _jaspar_motif(path, lines[begin:end])
        for begin, end in zip(begins, [*begins[1:], len(lines)], strict=True)
    ]


def _jaspar_motif(path: Path, lines: list[Line]) -> Motif:
    (number, header), rows = lines[0], lines[1:]
    where = f"{path}, line {number}"
    names = header[1:].split(maxsplit=1)
    if not names:
        raise ValueError(f"{where}: a motif without a name, expected a word after '>'")
    if len(rows) != N_BASES:
        raise ValueError(
            f"{where}: motif {names[0]!r} has {len(rows)} rows, expected 4 (A, C, G, T)"
        )
    counts = []
    for base, line in zip(_BASES, rows, strict=True):
        words = line[1].replace("[", " ").replace("]", " ").split()
        if words and words[0].isalpha():
            if words[0].upper() != base:
                raise ValueError(
                    f"{path}, line {line[0]}: row {words[0]!r}, expected {base!r} (rows in the "
                    "order A, C, G, T)"
                )
            words = words[1:]
        counts.append(_numbers(path, line, words, None))
    widths = [len(row) for row in counts]
    if len(set(widths)) > 1:
        raise ValueError(f"{where}: rows of {widths} numbers, expected four of one length")
    counts_W4 = np.array(counts).T
    check_counts(counts_W4, f"{where}: motif {names[0]!r}")
    return Motif(names[0], counts_W4, names[1] if len(names) > 1 else "")


# TRANSFAC

_NEW_MOTIF = ("AC", "ID", "NA", "DE", "P0", "PO")  # after rows
_TRANSFAC_FIELDS = (*_NEW_MOTIF, "VV", "XX")


def _read_transfac(path: Path, lines: list[Line]) -> list[Motif]:
    """A motif ends at `//`, or where another begins after rows."""
    motifs: list[Motif] = []
    fields: dict[str, str] = {}
    rows: list[Line] = []
    begin = lines[0][0]
    for line in [*lines, (lines[-1][0] + 1, "//")]:
        number, text = line
        key, value = [*text.split(maxsplit=1), ""][:2]
        ends = key == "//" or (rows and key in _NEW_MOTIF)
        if ends and (rows or set(fields) & set(_NEW_MOTIF)):
            motifs.append(_transfac_motif(path, begin, fields, rows))
        if ends:
            fields, rows, begin = {}, [], number
        if re.fullmatch(r"\d+", key):
            rows.append(line)
        elif key == "PO":
            fields["P0"] = value
        elif key not in ("//", "XX"):
            fields.setdefault(key, value.strip())
    return motifs


def _transfac_motif(path: Path, begin: int, fields: dict[str, str], rows: list[Line]) -> Motif:
    names = ["_".join(fields[key].split()) for key in ("ID", "AC", "DE") if fields.get(key)]
    where = f"{path}, line {begin}"
    if not names:
        raise ValueError(f"{where}: a motif without a name, expected a line ID, AC or DE")
    if not rows:
        raise ValueError(f"{where}: motif {names[0]!r} has no rows, expected one per position")
    bases = fields.get("P0", "A C G T").upper().split()[:N_BASES]
    if sorted(bases) != list(_BASES):
        raise ValueError(f"{where}: columns {' '.join(bases)!r}, expected A, C, G and T")
    counts = []
    for line in rows:
        words = line[1].split()[1:]
        if len(words) == N_BASES + 1 and words[-1].isalpha():
            words = words[:-1]  # the consensus letter
        counts.append(_numbers(path, line, words, N_BASES))
    counts_W4 = np.array(counts)[:, [bases.index(base) for base in _BASES]]
    check_counts(counts_W4, f"{where}: motif {names[0]!r}")
    alt = fields.get("NA") or fields.get("DE", "")
    return Motif(names[0], counts_W4, "" if "_".join(alt.split()) == names[0] else alt)
