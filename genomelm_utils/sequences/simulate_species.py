"""Simulated genomes of several species, told apart by composition that local variation blurs.

Shape suffixes: S species.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class SimulatedSpecies:
    """Records end to end, as `store_from_codes` takes them, and the truth about them.

    names: one per record. codes: uint8[total]. starts: int64[n + 1]. table: one record per row,
    with the columns record, genome, species; records of a genome follow each other. truth: one
    segment per row (record, start, end, kind, strand, detail), 0-based half-open.
    """

    names: list[str]
    codes: np.ndarray
    starts: np.ndarray
    table: pd.DataFrame
    truth: pd.DataFrame
