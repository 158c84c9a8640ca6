"""ENCODE transcription factor ChIP-seq as a multilabel task: is a peak told from its shuffle?

Each row is a group of peaks within 100 bp; its tracks are labelled, all others are masked. Every
group stands there twice: as it is (1), and with its dinucleotides shuffled (0). So the task never
asks which factor binds. Source of the rules: Reddy et al. 2023 (bioRxiv 2023.02.24.529941), code.

Two switches, each `corrected` or `reference`: `order` (peaks sorted by number or by the text
'chr:position', which tears groups apart) and `coordinates` (BED starts are 0-based, or taken for
1-based: one base off).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from genomelm_utils.datasets.activity_splits import TRAIN_CHROMOSOMES, split_by_chromosome
from genomelm_utils.datasets.activity_task import (
    ActivitySet,
    Fetch,
    TaskSpec,
    check_mode,
    make_set,
    read_columns,
)
from genomelm_utils.sequences.shuffle import shuffle_dinucleotides

ASSEMBLY, OLD_ANALYSIS = "GRCh38", "ENCODE3 GRCh38"
LENGTH_BP, MERGE_BP = 600, 100
MIN_Q, MIN_PEAKS = -np.log10(0.05), 1000
#: Source: ENCODE, format of narrowPeak (BED6+4); summit: 0-based, from start.
PEAK_COLUMNS = (
    *("chromosome", "start", "end", "name", "score", "strand", "signal", "p_value", "q_value"),
    "summit",
)


def read_tracks(path: str | Path) -> pd.DataFrame:
    """Columns track, file, experiment from ENCODE's metadata.tsv, by track.

    Files on GRCh38; of experiments with several of them, not those of the older analysis. A track
    is named biosample_target_file. 1,674 rows give 1,660, then 1,645.
    """
    columns = {
        "File accession": "file",
        "Experiment accession": "experiment",
        "Biosample term name": "biosample",
        "Experiment target": "target",
        "File assembly": "assembly",
        "File analysis title": "analysis",
    }
    table = read_columns(path, list(columns), "ENCODE's metadata.tsv", dtype=str)
    table = table.rename(columns=columns)
    table = table[table["assembly"] == ASSEMBLY]
    several = table.groupby("experiment")["file"].transform("size") > 1
    table = table[~(several & (table["analysis"] == OLD_ANALYSIS))]
    target = table["target"].str.removesuffix("-human")
    table = table.assign(track=table["biosample"] + "_" + target + "_" + table["file"])
    return table.sort_values("track")[["track", "file", "experiment"]].reset_index(drop=True)


def read_peaks(path: str | Path) -> pd.DataFrame:
    """Columns chromosome, position (0-based summit) of peaks with q of at most 0.05."""
    table = pd.read_csv(path, sep="\t", names=list(PEAK_COLUMNS), comment="#")
    if table[["start", "summit", "q_value"]].isna().any(axis=None):
        raise ValueError(f"{path}: a row has fewer than ten fields, expected narrowPeak")
    table = table[table["q_value"] >= MIN_Q]
    return pd.DataFrame(
        {"chromosome": table["chromosome"], "position": table["start"] + table["summit"]}
    ).reset_index(drop=True)


def group_peaks(peaks: pd.DataFrame, order: str = "corrected") -> pd.DataFrame:
    """Columns chromosome, centre, tracks (tuple): peaks up to 100 bp from the first of their group.

    peaks: chromosome, position, track. centre: the rounded mean position.
    """
    check_mode("order", order)
    if order == "corrected":
        peaks = peaks.sort_values(["chromosome", "position"], kind="stable")
    else:
        text = peaks["chromosome"] + ":" + peaks["position"].astype(str)
        peaks = peaks.iloc[np.argsort(text.to_numpy(dtype=str), kind="stable")]
    chromosome_P, position_P = peaks["chromosome"].to_numpy(), peaks["position"].to_numpy()
    group_P = np.zeros(len(peaks), dtype=np.int64)
    first = 0
    for p in range(1, len(peaks)):
        near = abs(position_P[p] - position_P[first]) <= MERGE_BP
        if chromosome_P[p] != chromosome_P[first] or not near:
            first = p
        group_P[p] = first
    grouped = peaks.groupby(group_P, sort=True)
    return pd.DataFrame(
        {
            "chromosome": grouped["chromosome"].first(),
            "centre": grouped["position"].mean().round().astype(np.int64),
            "tracks": grouped["track"].agg(lambda names: tuple(sorted(set(names)))),
        }
    ).reset_index(drop=True)


def chipseq_set(
    peaks: Mapping[str, pd.DataFrame],
    fetch: Fetch,
    *,
    seed: int = 97,
    min_peaks: int = MIN_PEAKS,
    order: str = "corrected",
    coordinates: str = "corrected",
    output_order: Sequence[str] | None = None,
) -> ActivitySet:
    """Peak groups and their shuffles; columns chromosome, centre, shuffled; parts by chromosome.

    peaks: track -> `read_peaks`. Tracks with fewer than `min_peaks` are left out. output_order: the
    order of the outputs, alphabetical by default (the released code takes a set's, which differs
    from run to run, so that a saved head is permuted); an order of other names is an error.
    Groups whose window leaves the chromosome or has ambiguous bases are left out and counted.
    """
    check_mode("coordinates", coordinates)
    kept = {t: table for t, table in peaks.items() if len(table) >= min_peaks}
    if not kept:
        raise ValueError(f"no track has {min_peaks} peaks, expected at least one of {len(peaks)}")
    outputs = sorted(kept) if output_order is None else list(output_order)
    if sorted(outputs) != sorted(kept):
        raise ValueError("output_order does not name the tracks that are left, each once")
    parts = [table.assign(track=track) for track, table in sorted(kept.items())]
    every = pd.concat(parts, ignore_index=True)
    inside = every["chromosome"].str.removeprefix("chr")
    part_P = split_by_chromosome(inside, train=TRAIN_CHROMOSOMES)
    groups = group_peaks(every[part_P != ""], order)
    column_of = {track: t for t, track in enumerate(outputs)}
    rng = np.random.default_rng(seed)
    codes, rows, labels, n_out = [], [], [], 0
    shift = 1 if coordinates == "reference" else 0
    for group in groups.itertuples():
        start = group.centre - LENGTH_BP // 2 - shift
        try:
            real = fetch(group.chromosome, start, start + LENGTH_BP)
            shuffled = shuffle_dinucleotides(real, rng)
        except ValueError:  # beyond the chromosome's end, or an N
            n_out += 1
            continue
        label_T = np.full(len(outputs), np.nan, dtype=np.float32)
        for value, one in ((1.0, real), (0.0, shuffled)):
            label_T = label_T.copy()
            label_T[[column_of[track] for track in group.tracks]] = value
            codes.append(one)
            labels.append(label_T)
            place = {"chromosome": group.chromosome, "centre": group.centre}
            rows.append({**place, "shuffled": value == 0.0})
    table = pd.DataFrame(rows, columns=["chromosome", "centre", "shuffled"])
    spec = TaskSpec(
        *("ENCODETFChIPSeq", "multilabel", tuple(outputs)),
        masked=True,
        length_bp=LENGTH_BP,
        labels="1 peak, 0 its shuffle, other tracks masked",
    )
    skipped = {
        f"track with fewer than {min_peaks} peaks": len(peaks) - len(kept),
        "peak on a chromosome of no part": int((part_P == "").sum()),
        "window leaves the chromosome or has ambiguous bases": n_out,
    }
    part_S = split_by_chromosome(table["chromosome"], train=TRAIN_CHROMOSOMES)
    return make_set(spec, codes, np.array(labels), table, part_S, skipped)
