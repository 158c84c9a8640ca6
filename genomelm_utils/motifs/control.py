"""What the same search and the same scan give in shuffled sequences: the baseline of a discovery.

A search that finds as much in sequences whose words were destroyed has found composition.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from genomelm_utils.evaluation.statistics import mean_interval
from genomelm_utils.motifs.motif import Discovery, Motif
from genomelm_utils.motifs.records import SearchSet
from genomelm_utils.motifs.recovery import share_interval
from genomelm_utils.motifs.scan import scan_sequences
from genomelm_utils.sequences.alphabet import definite_runs
from genomelm_utils.sequences.fasta import Records
from genomelm_utils.sequences.shuffle import shuffle_dinucleotides

REAL, SHUFFLED = "sequences", "shuffled"
SCAN_COLUMNS = [
    *("motif", "name", "consensus", "kind", "n", "n_hit", "share", "low", "high"),
    *("n_shuffled", "share_shuffled", "low_shuffled", "high_shuffled"),
    *("difference", "difference_low", "difference_high"),
]


def shuffle_records(data: SearchSet, rng: np.random.Generator) -> SearchSet:
    """The same sequences with every stretch of definite bases shuffled; its dinucleotides are kept.

    Ambiguous bases stay in their places. Stretches of one length are shuffled together, shorter
    ones first.
    """
    codes = data.codes.copy()
    runs = definite_runs(codes, data.starts)
    lengths = runs[:, 1] - runs[:, 0]
    for length in np.unique(lengths):
        place_SL = runs[lengths == length, 0][:, None] + np.arange(length)
        codes[place_SL] = shuffle_dinucleotides(codes[place_SL], rng)
    return replace(data, codes=codes)


def as_records(data: SearchSet) -> Records:
    """What a search set holds, for `discover` and `scan_sequences`; `index` begins at 0 there."""
    soft = np.empty((0, 2), dtype=np.int64)
    return Records(data.names, data.codes, data.starts, soft, data.skipped)


def control_table(found: Discovery, control: Discovery) -> pd.DataFrame:
    """`Discovery.table` of both, with two columns in front: `set` (sequences, shuffled) and
    `beyond` (whether the E-value is below the lowest of the shuffled set; true if that has none).

    An E-value that is not known (rGADEM gives none) is beyond nothing.
    """
    parts = [one.table().assign(set=name) for name, one in ((REAL, found), (SHUFFLED, control))]
    table = pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)
    real = table["set"] == REAL
    lowest = table.loc[~real, "log10_e"].min()  # NaN where there is none
    is_below = np.isnan(lowest) | (table["log10_e"] < lowest)
    table = table.assign(beyond=real & table["log10_e"].notna() & is_below)
    first = ["set", "beyond"]
    return table[[*first, *(name for name in table if name not in first)]]


def describe_control(table: pd.DataFrame) -> str:
    """A sentence on `control_table`: motifs and the best E-value in either set."""
    told = []
    for name, where in ((REAL, "the sequences"), (SHUFFLED, "shuffled ones")):
        part = table[table["set"] == name]
        best = part["log10_e"].min()
        sure = "" if np.isnan(best) else f", the best with E = 10^{best:.0f}"
        told.append(f"{len(part) or 'none'} in {where}{sure}")
    n = int(table["beyond"].sum())
    verdict = f" {n} of the first are beyond all in shuffled ones." if n else ""
    return f"Motifs found by the same search: {'; '.join(told)}.{verdict}"


def scan_both(
    motifs: Sequence[Motif],
    kinds: Sequence[str],
    data: SearchSet,
    shuffled: SearchSet,
    p_value: float,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(one row per motif, `SCAN_COLUMNS`; all hits in the sequences).

    share: of the sequences with at least one hit, Wilson's 95 % interval; the same for the shuffled
    ones; difference: share - share_shuffled, t interval over pairs of a sequence and its shuffle.
    kinds: a word per motif, such as found and known. Hits: see `scan.scan_sequences`.
    """
    hits = [scan_sequences(motifs, as_records(one), p_value) for one in (data, shuffled)]
    n, rows = len(data), []
    for motif, kind in zip(motifs, kinds, strict=True):
        has = np.zeros((2, n), dtype=bool)
        for side in (0, 1):
            has[side, hits[side].loc[hits[side]["motif"] == motif.name, "index"]] = True
        counts = has.sum(axis=1)
        gain = mean_interval(has[0].astype(float) - has[1], unit="sequence")
        name = motif.alt_name or motif.name
        row = [motif.name, name, motif.consensus, kind, n, counts[0], *share_interval(counts[0], n)]
        row += [counts[1], *share_interval(counts[1], n), gain.mean, gain.low, gain.high]
        rows.append(row)
    return pd.DataFrame(rows, columns=SCAN_COLUMNS), hits[0]


def describe_scan(table: pd.DataFrame) -> str:
    """A sentence on `scan_both`: shares of sequences with a hit, against their shuffles."""
    told = [
        f"{row.name} in {row.share:.0%} of the sequences and {row.share_shuffled:.0%} of their "
        f"shuffles (difference {row.difference:.2f} [{row.difference_low:.2f}, "
        f"{row.difference_high:.2f}])"
        for row in table.itertuples(index=False)
    ]
    return f"Scan: {'; '.join(told)}." if told else "No motif to scan with."
