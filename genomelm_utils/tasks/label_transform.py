"""From expression to labels and back: logarithm with an offset, then a scale per tissue.

The transform is a value of its own, fitted on training rows, saved as JSON beside the model that
learned from it: predictions cannot be read without it.

Shapes: S sequences, T tissues.
"""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

FILE = "label_transform.json"
BASES = {"e": math.e, "2": 2.0, "10": 10.0}
#: Source: FloraBERT's fine-tuning scripts add 1; its importance scripts, and the preprint, 0.001.
#: A model trained with one and read with the other is wrong everywhere.
OFFSETS = {"corrected": 1.0, "reference": 0.001}
FIT_ROWS = {"corrected": None, "reference": 10_000}  # Source: released 08-train-preprocessor.py
MIN_SCALE = 1e-6  # a tissue whose labels do not vary is only centred


@dataclass(frozen=True)
class LabelTransform:
    """y = (log_base(x + offset) - center) / scale, per tissue.

    tissues: names, in the order of the columns. offset: > 0, in the unit of the table. base: 'e',
    '2' or '10' (only a unit: MSE in base 10 is 0.1886 of that in base e). center_T, scale_T: per
    tissue, 0 and 1 where labels are not standardised.
    """

    tissues: tuple[str, ...]
    offset: float = 1.0
    base: str = "e"
    center_T: tuple[float, ...] = ()
    scale_T: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.tissues)
        if not n:
            raise ValueError("a label transform needs at least one tissue")
        object.__setattr__(self, "tissues", tuple(self.tissues))
        object.__setattr__(self, "center_T", tuple(self.center_T) or (0.0,) * n)
        object.__setattr__(self, "scale_T", tuple(self.scale_T) or (1.0,) * n)
        if not (self.offset > 0 and math.isfinite(self.offset)):
            raise ValueError(
                f"offset is {self.offset}, expected a number above 0: genes that are not expressed "
                "have no logarithm"
            )
        if self.base not in BASES:
            raise ValueError(f"base is {self.base!r}, expected one of: {', '.join(BASES)}")
        if {len(self.center_T), len(self.scale_T)} != {n} or min(self.scale_T) <= 0:
            raise ValueError(
                f"{len(self.center_T)} centers and {len(self.scale_T)} scales for {n} tissues, "
                "expected one of each per tissue, scales above 0"
            )

    @classmethod
    def fit(
        cls,
        tpm_ST: np.ndarray,
        tissues: tuple[str, ...],
        *,
        offset: float = OFFSETS["corrected"],
        base: str = "e",
        standardise: bool = False,
        rows: str = "corrected",
    ) -> "LabelTransform":
        """The transform of a training table, NaN (not measured) left out per tissue.

        tpm_ST: training rows only. rows: 'reference' fits on the first 10,000 rows, which are one
        or two lines where the table is sorted by line.
        Raises: ValueError for negative values, or a tissue without any value.
        """
        if rows not in FIT_ROWS:
            raise ValueError(f"rows is {rows!r}, expected {' or '.join(FIT_ROWS)}")
        plain = cls(tuple(tissues), offset, base)
        if not standardise:
            return plain
        y_ST = plain.apply(np.asarray(tpm_ST)[: FIT_ROWS[rows]]).astype(np.float64)
        counts_T = np.isfinite(y_ST).sum(0)
        if counts_T.min() == 0:
            name = plain.tissues[int(counts_T.argmin())]
            raise ValueError(
                f"tissue {name!r} has no value in the {len(y_ST)} rows to fit on, expected at "
                "least one; leave the tissue out"
            )
        center_T, spread_T = np.nanmean(y_ST, 0), np.nanstd(y_ST, 0)
        scale_T = np.where(spread_T > MIN_SCALE, spread_T, 1.0)
        return cls(plain.tissues, offset, base, tuple(center_T.tolist()), tuple(scale_T.tolist()))

    @property
    def standardised(self) -> bool:
        """Whether tissues have centers and scales of their own."""
        return any(c != 0 for c in self.center_T) or any(s != 1 for s in self.scale_T)

    def apply(self, tpm_ST: np.ndarray) -> np.ndarray:
        """Labels float32 [S, T] of expression [S, T] (or [T]); NaN stays NaN.

        Raises: ValueError for a negative value (naming row, tissue and value) or another number of
        tissues.
        """
        x_ST = np.asarray(tpm_ST, dtype=np.float64)
        self._check_columns(x_ST)
        if (x_ST < 0).any():
            at = np.argwhere(np.atleast_2d(x_ST < 0))[0]
            raise ValueError(
                f"row {at[0]} (0-based), {self.tissues[at[1]]}: expression is "
                f"{np.atleast_2d(x_ST)[tuple(at)]:g}, expected 0 or more; is the table already on "
                "a logarithmic scale?"
            )
        y_ST = np.log(x_ST + self.offset) / math.log(BASES[self.base])
        return ((y_ST - self.center_T) / self.scale_T).astype(np.float32)

    def inverse(self, y_ST: np.ndarray) -> np.ndarray:
        """Expression float64 [S, T] of labels or predictions; below 0 becomes 0, NaN stays NaN."""
        y_ST = np.asarray(y_ST, dtype=np.float64)
        self._check_columns(y_ST)
        log_ST = y_ST * self.scale_T + self.center_T
        return np.maximum(np.exp(log_ST * math.log(BASES[self.base])) - self.offset, 0.0)

    def threshold(self, tpm: float) -> np.ndarray:
        """float32 [T]: where expression of `tpm` lies on the scale of the labels."""
        return self.apply(np.full(len(self.tissues), float(tpm)))

    def name(self, unit: str = "TPM") -> str:
        """What the labels are called on an axis, such as ln(TPM + 1)."""
        log = {"e": "ln", "2": "log2", "10": "log10"}[self.base]
        return f"{log}({unit} + {self.offset:g}){', standardised' if self.standardised else ''}"

    def as_dict(self) -> dict[str, Any]:
        """All fields by name, as JSON can hold them."""
        return asdict(self)

    def save(self, folder: str | Path) -> Path:
        """Write `label_transform.json` into a folder; numbers are read back exactly."""
        path = Path(folder) / FILE
        path.write_text(json.dumps(self.as_dict(), indent=1) + "\n", encoding="utf-8")
        return path

    @classmethod
    def load(cls, folder: str | Path) -> "LabelTransform":
        """The transform that `save` wrote; FileNotFoundError or ValueError name the file."""
        path = Path(folder) / FILE
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing: without the label transform predictions have no unit; take "
                "the whole folder of the trained model"
            )
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} is damaged ({error}); copy it again") from error

    def _check_columns(self, values: np.ndarray) -> None:
        if values.ndim not in (1, 2) or values.shape[-1] != len(self.tissues):
            raise ValueError(
                f"a table of shape {list(values.shape)}, expected {len(self.tissues)} columns: "
                f"{', '.join(self.tissues)}"
            )
