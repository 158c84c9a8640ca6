"""Promoter-driven fluorescence of three leukaemia lines: labels from sorted counts, and classes.

Input: a table of counts, `sequence` and `<J|K|T><replicate>_<P4|P7>` (P4: sorted as bright, P7: as
dim) with sums `*_sum`; and a table of designs, `sequence`, `class`, `final_provenance`.
Source of every rule: Reddy et al. 2023 (bioRxiv 2023.02.24.529941), code.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from genomelm_utils.datasets.activity_task import (
    REPLICATES,
    ActivitySet,
    TaskSpec,
    make_set,
    read_columns,
)
from genomelm_utils.sequences.alphabet import encode

CELLS = {"JURKAT": "J", "K562": "K", "THP1": "T"}
MIN_COUNT = 5
LENGTH_BP = 250
LABELS = ("activity", "specificity", "classes")
VERSIONS = ("final", "first")
#: The plasmid around a promoter, as the simple regressions read it.
PLASMID_BP, PROMOTER_AT, CONSTRUCT = 4865, (1754, 2004), (1734, 2911)


def read_fluorescence(
    counts_path: str | Path,
    designs_path: str | Path,
    *,
    labels: str = "activity",
    cells: Sequence[str] = tuple(CELLS),
    version: str = "final",
    zscore: bool = False,
    min_count: int = MIN_COUNT,
) -> ActivitySet:
    """The promoters with their labels; columns class, cell_specific_class, value_<cell>,
    replicate_<cell>_<r>. Parts are empty: split by `cell_specific_class` and GC.

    labels: 'activity' (log2 of bright over dim, mean of replicates), 'specificity' (that of a cell
    over the mean of the two others), 'classes' (activity above the median of all measured rows).
    version: 'first' does not scale counts to fractions, as in the first preprint. zscore: over all
    rows, off by default; scores that know no scale (r, rho, R2) stay the same.
    Raises: FileNotFoundError, ValueError for missing columns, unknown names, or no row left.
    """
    if labels not in LABELS or version not in VERSIONS:
        raise ValueError(
            f"labels is {labels!r} and version {version!r}, expected one of {', '.join(LABELS)} "
            f"and one of {', '.join(VERSIONS)}"
        )
    odd = [cell for cell in cells if cell not in CELLS]
    if odd or not len(cells) or isinstance(cells, str):
        raise ValueError(f"cells are {cells!r}, expected a list of {', '.join(CELLS)}")
    needed = [_column(cell, r, gate) for cell in CELLS for r in REPLICATES for gate in ("P4", "P7")]
    counts = read_columns(counts_path, ["sequence", *needed], "counts of sorted cells")
    designs = read_columns(
        designs_path, ["sequence", "class", "final_provenance"], "promoter designs"
    )
    kept = keep_counted(counts, min_count)
    ratios = sorted_ratios(kept, version)
    table = pd.concat([kept[["sequence"]], label_table(ratios, zscore)], axis=1)
    wanted = label_values(table, ratios, labels, cells)
    wanted = pd.concat([table, wanted], axis=1)
    joined = wanted.merge(designs, on="sequence", how="inner", suffixes=("", "_design"))
    joined["cell_specific_class"] = [
        name_class(*row) for row in zip(joined["class"], joined["final_provenance"], strict=True)
    ]
    spec = TaskSpec(
        name="Fluorescence" + ("_classification" if labels == "classes" else ""),
        kind="multilabel" if labels == "classes" else "regression",
        outputs=tuple(cells),
        length_bp=LENGTH_BP,
        labels=labels,
    )
    skipped = {
        f"a sum of counts below {min_count}": len(counts) - len(kept),
        "no design of that sequence": len(kept)
        - int(kept["sequence"].isin(joined["sequence"]).sum()),
    }
    keep = [
        "class",
        "cell_specific_class",
        *(c for c in joined if c.startswith(("value_", "replicate_"))),
    ]
    values_ST = joined[[f"label_{cell}" for cell in cells]].to_numpy()
    return make_set(spec, joined["sequence"].tolist(), values_ST, joined[keep], skipped=skipped)


def keep_counted(counts: pd.DataFrame, min_count: int = MIN_COUNT) -> pd.DataFrame:
    """Rows of which every sum (`*_sum`, but not `cum_sum`) is at least `min_count`."""
    sums = [c for c in counts if c.endswith("_sum") and c != "cum_sum"]
    if not sums:
        raise ValueError("no column ends in '_sum', expected the sums of counts per sample")
    return counts[(counts[sums] >= min_count).all(axis=1)].reset_index(drop=True)


def sorted_ratios(
    counts: pd.DataFrame, version: str = "final"
) -> dict[tuple[str, int], np.ndarray]:
    """(cell, replicate) -> P4 / P7, float64 [S].

    'final': each sample's counts plus one are scaled to sum to 1 first; 'first': only plus one.
    """
    fractions = {}
    for cell in CELLS:
        for r in REPLICATES:
            for gate in ("P4", "P7"):
                plus = counts[_column(cell, r, gate)].to_numpy(np.float64) + 1
                fractions[cell, r, gate] = plus / plus.sum() if version == "final" else plus
    return {
        (c, r): fractions[c, r, "P4"] / fractions[c, r, "P7"] for c in CELLS for r in REPLICATES
    }


def label_table(ratios: dict[tuple[str, int], np.ndarray], zscore: bool = False) -> pd.DataFrame:
    """Columns replicate_<cell>_<r> (log2 of the ratio) and value_<cell> (their mean)."""
    table = pd.DataFrame({f"replicate_{c}_{r}": np.log2(ratio) for (c, r), ratio in ratios.items()})
    for cell in CELLS:
        value_S = table[[f"replicate_{cell}_{r}" for r in REPLICATES]].mean(axis=1)
        table[f"value_{cell}"] = (
            (value_S - value_S.mean()) / value_S.std(ddof=0) if zscore else value_S
        )
    return table


def label_values(
    table: pd.DataFrame,
    ratios: dict[tuple[str, int], np.ndarray],
    labels: str,
    cells: Sequence[str],
) -> pd.DataFrame:
    """Columns label_<cell> of the cells asked for, by the rule (see `read_fluorescence`)."""
    values = {}
    for cell in cells:
        value_S = table[f"value_{cell}"].to_numpy()
        if labels == "classes":
            value_S = (value_S > np.median(value_S)).astype(np.float64)
        elif labels == "specificity":
            others = [c for c in CELLS if c != cell]
            of_others = [np.mean([ratios[c, r] for c in others], axis=0) for r in REPLICATES]
            logs = [np.log2(ratios[cell, r] / of_others[i]) for i, r in enumerate(REPLICATES)]
            value_S = np.mean(logs, axis=0)
        values[f"label_{cell}"] = value_S
    return pd.DataFrame(values)


def name_class(design_class: str, provenance: str) -> str:
    """The class that the split keeps balanced, from a design's class and provenance.

    Fields of the provenance stand between ' ~ '. ClassIII: with its type. ClassII: cell, type and
    number of motifs. Others: the cell of the description and whether it is up or down there, if a
    cell is named; the sign of log2FoldChange (field 2) has to agree.
    """
    fields = [field.strip() for field in str(provenance).split(" ~ ")]
    if design_class == "ClassIII":
        return f"ClassIII_{_field(fields, 1, provenance)}"
    if design_class == "ClassII":
        return "ClassII_" + "_".join(_field(fields, i, provenance) for i in range(3))
    description = fields[4].split(";")[0] if len(fields) > 4 else ""
    for cell in ("NK92", "THP1", "JURKAT"):
        if cell not in description:
            continue
        up = "upregulated" in description
        if (float(fields[2]) > 0) != up:
            raise ValueError(
                f"provenance {provenance!r} says {'up' if up else 'down'}, but its log2FoldChange "
                f"is {fields[2]}; correct the table of designs"
            )
        return f"ClassI_{cell}_{'up' if up else 'down'}"
    return "ClassI"


def build_construct(plasmid: str, promoter: np.ndarray) -> np.ndarray:
    """uint8 [1177]: a promoter in its plasmid, 20 bases upstream of it and 907 downstream.

    plasmid: 4,865 letters with 250 N at 1754 (0-based). Raises ValueError for another one.
    """
    begin, end = PROMOTER_AT
    run = re.search("N+", plasmid.upper())
    found = run.span() if run else None
    if len(plasmid) != PLASMID_BP or found != PROMOTER_AT or len(promoter) != end - begin:
        raise ValueError(
            f"a plasmid of {len(plasmid)} bases with N at {found} and a promoter of "
            f"{len(promoter)}, expected {PLASMID_BP}, N at {PROMOTER_AT} (0-based, half-open) "
            f"and {end - begin}"
        )
    codes = encode(plasmid, "plasmid")
    codes[begin:end] = promoter
    return codes[slice(*CONSTRUCT)]


def _column(cell: str, replicate: int, gate: str) -> str:
    return f"{CELLS[cell]}{replicate}_{gate}"


def _field(fields: list[str], i: int, provenance: str) -> str:
    if i >= len(fields):
        raise ValueError(f"provenance {provenance!r} has no field {i} (0-based), split by ' ~ '")
    return fields[i]
