"""Lists of variants: VCF or a table in, checked against the sequences they change.

Coordinates are 0-based half-open here; `pos` of files is 1-based, as VCF has it.
"""

import gzip
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from genomelm_utils.sequences.alphabet import decode, encode
from genomelm_utils.sequences.fasta import is_gzip, suggest

logger = logging.getLogger(__name__)

#: record: name of the sequence; start, end: what `alt` stands in place of; ref: upper case, empty
#: where the file does not say; name: the variant's own, or record:pos:ref>alt.
VARIANT_COLUMNS = ("record", "start", "end", "ref", "alt", "name")
MISMATCH = ("error", "skip")
_BASES = set("ACGTN")
_POS = ("record", "pos", "ref", "alt")
_SPAN = ("record", "start", "end", "alt")


def read_variants(path: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(variants, `VARIANT_COLUMNS`; skipped: line, text, reason) of a VCF or a TSV.

    VCF by its first line (`##fileformat=VCF`) or header (`#CHROM`), gzipped or not; alternatives of
    one line become one row each. TSV with a header: record, pos (1-based), ref, alt; or record,
    start, end (0-based half-open), alt, as DNABERT's list of replacements; `name` if there is one.
    Alleles that are no plain bases (`<DEL>`, `*`, `.`) and rows without a change are skipped, named
    with the reason, counted in the log.

    Raises: FileNotFoundError; ValueError naming file and line for other columns or bad numbers, or
        a file without any variant.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; expected a VCF or TSV of variants")
    opener = gzip.open if is_gzip(path) else open
    with opener(path, "rt", encoding="utf-8") as stream:
        lines = [line.rstrip("\r\n") for line in stream]
    body = [(i, line) for i, line in enumerate(lines, 1) if line and not line.startswith("##")]
    if not body:
        raise ValueError(f"{path} is empty, expected a VCF or a table with a header")
    number, header = body[0]
    is_vcf = header.startswith("#CHROM") or lines[0].startswith("##fileformat=VCF")
    columns = _columns(path, number, header, is_vcf)
    rows, skipped = [], []
    for number, line in body[1:]:
        fields = line.split("\t")
        if len(fields) < len(columns):
            raise ValueError(
                f"{path}, line {number}: {len(fields)} columns, expected {len(columns)} "
                f"({', '.join(columns)}), separated by tabs"
            )
        row = dict(zip(columns, fields, strict=False))
        for alt in row["alt"].split(",") if is_vcf else [row["alt"]]:
            variant, reason = _parse(path, number, row, alt)
            if reason:
                skipped.append((number, line[:80], reason))
            else:
                rows.append(variant)
    if skipped:
        logger.warning("%s: %d alleles skipped, first: line %d, %s", path, len(skipped),
                       skipped[0][0], skipped[0][2])  # fmt: skip
    if not rows:
        raise ValueError(f"{path} holds no variant that can be scored ({len(skipped)} skipped)")
    table = pd.DataFrame(rows, columns=list(VARIANT_COLUMNS))
    return table, pd.DataFrame(skipped, columns=["line", "text", "reason"])


def check_variants(
    variants: pd.DataFrame, records: Mapping[str, np.ndarray], on_mismatch: str = "error"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(variants whose reference allele stands in its sequence; the others, with a reason).

    An empty `ref` is filled in. on_mismatch: 'skip' leaves others out, counted in the log.
    Raises: ValueError ('error') naming the first that is out of range or does not match: what the
        list says and what the sequence has; for a record that is not there in either case.
    """
    if on_mismatch not in MISMATCH:
        raise ValueError(f"on_mismatch is {on_mismatch!r}, expected {' or '.join(MISMATCH)}")
    refs, reasons = [], []
    for row in variants.itertuples():
        if row.record not in records:
            raise ValueError(
                f"variant {row.name} is on {row.record!r}, which is not among the sequences"
                f"{suggest(row.record, records)}"
            )
        codes = np.asarray(records[row.record])
        if not 0 <= row.start <= row.end <= len(codes):
            refs.append(row.ref)
            reasons.append(f"{row.record} has {len(codes)} bases, the variant ends at {row.end}")
            continue
        found = decode(codes[row.start : row.end])
        refs.append(found)
        same = not row.ref or row.ref == found
        reasons.append("" if same else f"reference allele {row.ref}, the sequence has {found}")
    wrong = np.array([bool(reason) for reason in reasons], dtype=bool)
    if wrong.any() and on_mismatch == "error":
        first = int(wrong.argmax())
        raise ValueError(
            f"variant {variants['name'].iloc[first]}: {reasons[first]} ({int(wrong.sum())} of "
            f"{len(variants)} do not fit); is it another assembly? on_mismatch='skip' leaves them "
            "out"
        )
    if wrong.any():
        logger.warning("%d of %d variants do not fit and are left out", wrong.sum(), len(wrong))
    checked = variants.assign(ref=refs)
    bad = checked[wrong].assign(reason=[reason for reason in reasons if reason])
    return checked[~wrong].reset_index(drop=True), bad.reset_index(drop=True)


def _columns(path: Path, number: int, header: str, is_vcf: bool) -> list[str]:
    names = [name.strip().lower() for name in header.lstrip("#").split("\t")]
    if is_vcf:
        expected = ["chrom", "pos", "id", "ref", "alt"]
        if names[:5] != expected:
            raise ValueError(
                f"{path}, line {number}: columns {', '.join(names[:5])}, expected a VCF header "
                "#CHROM POS ID REF ALT, separated by tabs"
            )
        return ["record", "pos", "name", "ref", "alt"]
    if not (set(_POS) <= set(names) or set(_SPAN) <= set(names)):
        raise ValueError(
            f"{path}, line {number}: columns {', '.join(names)}, expected {', '.join(_POS)} or "
            f"{', '.join(_SPAN)}, separated by tabs (or a VCF)"
        )
    return names


def _parse(
    path: Path, number: int, row: dict[str, str], alt: str
) -> tuple[tuple[str, int, int, str, str, str], str]:
    ref, alt = row.get("ref", "").upper(), alt.upper()
    where = f"{path}, line {number}"
    if "pos" in row:
        start = _number(where, "pos", row["pos"]) - 1
        end = start + len(ref)
        if start < 0:
            raise ValueError(f"{where}: pos is {row['pos']}, expected 1 or more")
    else:
        start, end = _number(where, "start", row["start"]), _number(where, "end", row["end"])
    record = row["record"]
    name = row.get("name", "")
    if name in ("", "."):
        name = f"{record}:{start + 1}:{ref}>{alt}"
    reason = ""
    if "pos" in row and (not ref or set(ref) - _BASES):
        reason = f"reference allele {ref!r} is no plain bases"
    elif set(alt) - _BASES or ("pos" in row and not alt):
        reason = f"alternative {alt!r} is no plain bases"
    elif ref and ref == alt:
        reason = "no change"
    return (record, start, end, ref, alt, name), reason


def _number(where: str, name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise ValueError(f"{where}: {name} is {text!r}, expected a whole number") from error


def as_codes(alt: str) -> np.ndarray:
    """Base codes of an allele; empty for a deletion."""
    return encode(alt) if alt else np.empty(0, dtype=np.uint8)
