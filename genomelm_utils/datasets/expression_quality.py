"""What is wrong with expression tables, found by measuring: a tidy table of findings.

Every check says for every line (and sample) what it measured and what it expected, also where all
is well. Nothing is changed and nothing left out here.

Shape suffixes: G genes, T tissues, L lines.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from genomelm_utils.datasets.expression_counts import TPM_SUM
from genomelm_utils.datasets.expression_scale import (
    RAW,
    SUM_TOLERANCE,
    UNKNOWN,
    invert_scale,
    parse_scale,
    recognise_scale,
)
from genomelm_utils.datasets.expression_tables import PSEUDOGENE_TPM, TissueTable

COLUMNS = ("line", "tissue", "check", "measured", "expected", "verdict", "meaning")
VERDICTS = ("ok", "notice", "defect")
# A line is an outlier when its modified z-score is above this. Source: Iglewicz & Hoaglin 1993, How
# to Detect and Handle Outliers (0.6745 makes the median deviation a standard deviation).
OUTLIER_Z, MAD_TO_SD = 3.5, 0.6745
# Deviations smaller than this share never count: 26 published maize tables lie within it of each
# other but for two (Ms71 0.40 and NC358 0.846 against about 0.30).
OUTLIER_SHARE = 0.05
MIN_LINES = 5  # below, no line can be told from the others
# Bounds for a line on its own; the published maize tables keep them but for NC358, which has 0.846
# zeros (the next, Ms71, 0.40) and 0.23 of its genes expressed (B73 0.72).
ZERO_SHARE_MAX, EXPRESSED_SHARE_MIN = 0.5, 0.5
_FILTER_SLACK = 0.02  # how far above its threshold the weakest gene of a filtered table may lie


def check_expression(tables: Sequence[TissueTable]) -> pd.DataFrame:
    """Findings on the tables of all lines, as they were read: columns of COLUMNS.

    Checks: `scale` (raw or a log, see `recognise_scale`), `negative` share of values, `sum` of
    every sample (once inverted) against 1e6, `filter` (the weakest gene: a filter of 1 that was
    applied to logs), `not measured` share, `missing tissue`, `zeros` and `expressed` share of the
    genes of a line against the other lines. tissue is "" where a check is on the whole line.
    """
    measured = [_Measured.of(table) for table in tables]
    rows = [finding for one in measured for finding in _check_table(one)]
    rows += list(_check_missing(tables))
    lines = [table.line for table in tables]
    zeros = [one.zero_share for one in measured]
    expressed = [one.expressed_share for one in measured]
    rows += list(_check_against_others(lines, zeros, "zeros", above=True))
    rows += list(_check_against_others(lines, expressed, "expressed", above=False))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def find_defects(findings: pd.DataFrame) -> pd.DataFrame:
    """The findings that are no `ok`, defects first."""
    bad = findings[findings["verdict"] != "ok"]
    order = np.argsort([VERDICTS[::-1].index(v) for v in bad["verdict"]], kind="stable")
    return bad.iloc[order].reset_index(drop=True)


def describe_lines(tables: Sequence[TissueTable]) -> pd.DataFrame:
    """One row per line: line, n_genes, n_tissues, zero_share, expressed_share, scale."""
    measured = [_Measured.of(table) for table in tables]
    return pd.DataFrame(
        {
            "line": [one.table.line for one in measured],
            "n_genes": [len(one.table.genes) for one in measured],
            "n_tissues": [len(one.table.tissues) for one in measured],
            "zero_share": [one.zero_share for one in measured],
            "expressed_share": [one.expressed_share for one in measured],
            "scale": [one.scale for one in measured],
        }
    )


@dataclass(frozen=True)
class _Measured:
    """A table, the scale it stands on, why, and its raw values float64[G, T] (for measuring only;
    as they are where the scale is unknown)."""

    table: TissueTable
    scale: str
    why: str
    raw_GT: np.ndarray

    @classmethod
    def of(cls, table: TissueTable) -> "_Measured":
        scale, why = recognise_scale(table.values_GT)
        if scale in (RAW, UNKNOWN):
            return cls(table, scale, why, table.values_GT)
        return cls(table, scale, why, invert_scale(table.values_GT, scale))

    @property
    def zero_share(self) -> float:
        return float(np.mean(self.raw_GT[~np.isnan(self.raw_GT)] <= 0))

    @property
    def expressed_share(self) -> float:
        return float(np.mean((self.raw_GT >= PSEUDOGENE_TPM).any(axis=1)))


def _check_table(one: _Measured) -> Iterator[tuple]:
    """Findings on one table alone."""
    table, scale, why = one.table, one.scale, one.why
    values_GT = table.values_GT
    measured = values_GT[~np.isnan(values_GT)]
    verdict = "ok" if scale == RAW else "defect"
    meaning = why if scale == RAW else f"{why}; undo it (invert_scale) before filters or a log"
    yield table.line, "", "scale", scale, RAW, verdict, meaning
    negative = float(np.mean(measured < 0))
    meaning = "TPM are never negative" if negative else "none"
    verdict = "defect" if negative else "ok"
    yield table.line, "", "negative", f"{negative:.4f}", "0", verdict, meaning
    share = float(np.mean(np.isnan(values_GT)))
    meaning = "values that no run measured; they are masked" if share else "none"
    yield table.line, "", "not measured", f"{share:.4f}", "0", "notice" if share else "ok", meaning
    yield _check_filter(table, scale)
    for tissue, total in zip(table.tissues, np.nansum(one.raw_GT, axis=0), strict=True):
        yield _check_sum(table.line, tissue, float(total))


def _check_sum(line: str, tissue: str, total: float) -> tuple:
    if abs(total / TPM_SUM - 1) <= SUM_TOLERANCE:
        verdict, meaning = "ok", "TPM of a whole genome"
    elif total < TPM_SUM:
        verdict, meaning = "notice", "less than 1e6: genes are missing, or no TPM"
    else:
        verdict, meaning = "defect", "more than 1e6: no TPM"
    return line, tissue, "sum", f"{total:.6g}", f"{TPM_SUM:.0e}", verdict, meaning


def _check_filter(table: TissueTable, scale: str) -> tuple:
    """Was a filter of 1 TPM applied to logs? Then the weakest gene's best tissue is 1 *log*."""
    highest_G = np.where(np.isnan(table.values_GT), -np.inf, table.values_GT).max(axis=1)
    weakest = float(highest_G.min())
    filtered = 0 <= weakest - PSEUDOGENE_TPM < _FILTER_SLACK
    if filtered and scale not in (RAW, UNKNOWN):
        tpm = float(parse_scale(scale).invert(np.array([PSEUDOGENE_TPM]))[0])
        verdict = "defect"
        meaning = f"a filter of 1 was applied to {scale}: genes below {tpm:.3g} TPM are gone"
    else:
        verdict = "ok"
        meaning = "filtered at 1 TPM" if filtered else "no filter of 1 TPM is seen"
    return table.line, "", "filter", f"{weakest:.4g}", "", verdict, meaning


def _check_missing(tables: Sequence[TissueTable]) -> Iterator[tuple]:
    """Tissues that some lines have and others lack."""
    known = sorted({name for table in tables for name in table.tissues})
    for table in tables:
        for name in known:
            if name not in table.tissues:
                n_with = sum(name in other.tissues for other in tables)
                meaning = (
                    f"{n_with} of {len(tables)} lines have it; masked here, or the line is lost"
                )
                yield table.line, name, "missing tissue", "0 runs", "1 or more", "notice", meaning


def _check_against_others(
    lines: list[str], shares: list[float], check: str, *, above: bool
) -> Iterator[tuple]:
    """Share of every line against the median of all: too many zeros, or too few genes expressed."""
    shares_L = np.array(shares)
    middle = float(np.median(shares_L))
    spread = max(float(np.median(np.abs(shares_L - middle))), OUTLIER_SHARE * MAD_TO_SD / OUTLIER_Z)
    z_L = MAD_TO_SD * (shares_L - middle) / spread
    enough = len(lines) >= MIN_LINES
    for line, share, z in zip(lines, shares, z_L.tolist(), strict=True):
        outlies = enough and (z > OUTLIER_Z if above else z < -OUTLIER_Z)
        extreme = share > ZERO_SHARE_MAX if above else share < EXPRESSED_SHARE_MIN
        verdict = "defect" if extreme else "notice" if outlies else "ok"
        meaning = f"modified z {z:+.1f} among {len(lines)} lines"
        if not enough:
            meaning = f"{len(lines)} lines are too few to compare; a fixed bound was used"
        if verdict != "ok":
            meaning += "; leave this line out, or say why it may stay"
        yield line, "", check, f"{share:.4f}", f"{middle:.4f} (median)", verdict, meaning
