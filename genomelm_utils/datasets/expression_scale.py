"""On which scale does an expression table stand? Logs are recognised, and undone only when asked.

Tables called "normalised TPM" went round as log2(TPM + 0.001), were filtered and logged once more
as if they were TPM. Two things tell a log scale: what it inverts to (TPM of a whole genome sum to
1e6 in every sample), and its floor, the value that stands for zero and that many genes have.

Shape suffixes: G genes, T tissues (or samples).
"""

import math
import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from genomelm_utils.datasets.expression_counts import TPM_SUM

RAW = "raw"
UNKNOWN = "unknown"
SUM_TOLERANCE = (
    0.01  # relative; published tables keep the sum to 1e-10, rounding to 3 digits to 1e-3
)
FLOOR_TOLERANCE = 1e-4  # tables are written with 6 decimals or less
FLOOR_SHARE = 0.005  # of the values on the floor, before it counts as one; maize tables: 0.1 to 0.8
_BASES = {"ln": math.e, "log2": 2.0, "log10": 10.0}


@dataclass(frozen=True)
class LogScale:
    """y = log_base(x + offset), `times` times over (y of y); name as in "log2(x+0.001)"."""

    function: str
    offset: float
    times: int = 1

    @property
    def name(self) -> str:
        """Such as log2(x+0.001), or ln(ln(x+1)+1) where it was taken twice."""
        inner = "x"
        for _ in range(self.times):
            inner = f"{self.function}({inner}+{self.offset:g})"
        return inner

    def apply(self, x: np.ndarray) -> np.ndarray:
        """x >= 0 on this scale; NaN where a further log has nothing to take."""
        y = np.asarray(x, dtype=np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            for _ in range(self.times):
                y = np.log(y + self.offset) / math.log(_BASES[self.function])
        return y

    def invert(self, y: np.ndarray) -> np.ndarray:
        """What `apply` was given; infinite where y is too large to be a log at all."""
        x = np.asarray(y, dtype=np.float64)
        with np.errstate(over="ignore"):
            for _ in range(self.times):
                x = np.power(_BASES[self.function], x) - self.offset
        return x


# The transforms met in the FloraBERT repository and its forks (log2(x+0.001), ln(x+1), log10(x+1),
# ln(x+0.001)), in all three bases, and those of offset 1 taken twice.
SCALES = tuple(
    LogScale(function, offset, times)
    for times, offsets in ((1, (1.0, 0.001)), (2, (1.0,)))
    for offset in offsets
    for function in _BASES
)


def parse_scale(name: str) -> LogScale | None:
    """The scale of a name such as "log2(x+0.001)"; None for "raw".

    Raises ValueError for another text.
    """
    if name == RAW:
        return None
    match = re.fullmatch(r"(ln|log2|log10)\(x\+(\d*\.?\d+)\)", name)
    if match:
        return LogScale(match[1], float(match[2]))
    for scale in SCALES:
        if scale.name == name:
            return scale
    raise ValueError(
        f"scale is {name!r}, expected {RAW} or a form such as log2(x+0.001); known: "
        f"{', '.join(scale.name for scale in SCALES)}"
    )


def measure_scales(values_GT: np.ndarray) -> pd.DataFrame:
    """What speaks for each scale: one row per scale, raw first.

    Columns scale; median_sum, of the samples after inverting; sum_error, the median of
    |sum / 1e6 - 1|; floor, the value that stands for zero; share_at_floor, of the values.
    """
    values_GT = np.asarray(values_GT, dtype=np.float64)
    n_values = max(int(np.count_nonzero(~np.isnan(values_GT))), 1)
    rows = []
    for scale in (None, *SCALES):
        raw_GT = values_GT if scale is None else scale.invert(values_GT)
        with np.errstate(over="ignore"):
            sums_T = np.nansum(raw_GT, axis=0)
        floor = 0.0 if scale is None else float(scale.apply(np.zeros(1))[0])
        at_floor = np.count_nonzero(np.abs(values_GT - floor) < FLOOR_TOLERANCE)
        rows.append(
            {
                "scale": RAW if scale is None else scale.name,
                "median_sum": float(np.median(sums_T)),
                "sum_error": float(np.median(np.abs(sums_T / TPM_SUM - 1))),
                "floor": floor,
                "share_at_floor": at_floor / n_values,
            }
        )
    return pd.DataFrame(rows)


def recognise_scale(values_GT: np.ndarray) -> tuple[str, str]:
    """(name of the scale, why): `raw`, a log of `SCALES`, or `unknown`.

    values_GT: genes x samples as they stand in a table. A whole table is told by its sums after
    inverting. A part of one (chosen promoters) sums to anything; it is told by negative values, of
    which the smallest lies on a scale's floor and is shared by many. A part without negative values
    and without the right sums counts as raw: logs with offset 1 cannot be told from raw there.
    """
    evidence = measure_scales(values_GT)
    best = evidence.loc[evidence["sum_error"].idxmin()]
    if best["sum_error"] < SUM_TOLERANCE:
        return best["scale"], f"samples sum to {best['median_sum']:.4g} (median) once inverted"
    lowest = float(np.nanmin(values_GT))
    if lowest >= 0:
        sums = evidence["median_sum"][0]
        return RAW, f"nothing is negative; samples sum to {sums:.4g}, so a part of a table"
    at_floor = evidence[
        (np.abs(evidence["floor"] - lowest) < FLOOR_TOLERANCE)
        & (evidence["share_at_floor"] > FLOOR_SHARE)
    ]
    if len(at_floor):
        row = at_floor.iloc[0]
        why = f"the lowest value is {lowest:.6f} = {row['scale']} of 0"
        return row["scale"], f"{why}, on which {row['share_at_floor']:.1%} of the values lie"
    return UNKNOWN, f"the lowest value is {lowest:.6g}, the floor of no known log scale"


def invert_scale(values: np.ndarray, name: str) -> np.ndarray:
    """Raw values float64 of the shape given, of a table on the scale `name`; NaN stays NaN.

    What comes out below 0 by rounding (within FLOOR_TOLERANCE of the floor on the log scale) is 0.
    Raises ValueError when more than rounding is below 0 or the result is infinite: another scale.
    """
    values = np.asarray(values, dtype=np.float64)
    scale = parse_scale(name)
    raw = values if scale is None else scale.invert(values)
    floor = 0.0 if scale is None else float(scale.apply(np.zeros(1))[0])
    wrong = (values < floor - FLOOR_TOLERANCE) | np.isinf(raw)
    if wrong.any():
        found = values[wrong][0]
        raise ValueError(
            f"{int(wrong.sum())} values, such as {found:.6g}, cannot stand on the scale {name} "
            f"(floor {floor:.6g}); the table looks like {recognise_scale(np.atleast_2d(values))[0]}"
        )
    # rounding at the floor: what is not above it stands for zero
    at_floor = np.abs(values - floor) < FLOOR_TOLERANCE
    return np.where((raw < 0) | (at_floor & (scale is not None) & (floor < 0)), 0.0, raw)
