"""Colour and marker of embedding methods, the same in every figure, and their places.

Tables have `method` (how it was embedded, which gives colour and marker) and `label` (what it is
called), see `baselines.species_methods`.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from genomelm_utils.baselines.species_methods import (
    SPECIES_BASELINES,
    is_baseline,
    is_fused,
    known_part,
    method_label,
)
from genomelm_utils.figures.style import OKABE_ITO, draw_intervals

#: Colour and marker of each method, the same in every figure. Counted words are grey, learned from
#: them muted: olive, wine and indigo of Tol (2021), Colour Schemes, SRON/EPS/TN/09-002.
LOOKS = {
    "trained": (OKABE_ITO["blue"], "o"),
    "published": (OKABE_ITO["sky"], "P"),
    "weighted_simclr": (OKABE_ITO["green"], "s"),
    "simclr": (OKABE_ITO["purple"], "v"),
    "mlm": (OKABE_ITO["orange"], "D"),
    "untrained": (OKABE_ITO["vermilion"], "^"),
    "canonical_tnf": ("#333333", "X"),
    "tnf": ("#6E6E6E", "h"),
    "tnf_k": ("#8F8F8F", "<"),
    "tnf_k_reference": ("#B0B0B0", ">"),
    "kmer_vectors": ("#999933", "p"),
    "tnf_vae": ("#882255", "d"),
    "kmer_contrastive": ("#332288", "*"),
}
FUSED_MARKER = "+"  # of an encoder beside TNF-K
# colours change first: up to seven species differ in colour alone
_SPECIES_COLOURS = [OKABE_ITO[n] for n in OKABE_ITO if n not in ("yellow", "grey")]
_SPECIES_MARKERS = ["o", "x", "^", "s", "+", "D", "v"]


def method_style(method: str) -> tuple[str, str, str]:
    """Label, colour and marker of a method, or of a run named after one (`mini-untrained`).

    An encoder beside TNF-K has the encoder's colour and the marker `FUSED_MARKER`.
    """
    known = known_part(method)
    colour, marker = LOOKS[known] if known else (OKABE_ITO["black"], "x")
    return method_label(method), colour, FUSED_MARKER if is_fused(method) else marker


def species_styles(species: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Colour and marker of each species, by its place in the alphabet; all differ up to 49."""
    n = len(_SPECIES_COLOURS)
    return {
        name: (_SPECIES_COLOURS[i % n], _SPECIES_MARKERS[i // n % len(_SPECIES_MARKERS)])
        for i, name in enumerate(sorted(set(species)))
    }


def stack_methods(table: pd.DataFrame, by: list[str], ax: Axes) -> list[tuple[int, Any]]:
    """(y, row) of every method from above, the highest first; names on the axis, groups headed."""
    table = table.sort_values(by, ascending=False, kind="stable")
    groups = {
        "Language models": table[~is_baseline(table)],
        "Baselines": table[is_baseline(table)],
    }
    headed = all(len(part) for part in groups.values())
    lines: list[tuple[str, Any]] = []  # a heading has no row
    for heading, part in groups.items():
        lines += [(heading, None)] * headed
        lines += [(row.label, row) for row in part.itertuples()]
    ax.set_yticks(-np.arange(len(lines)), [name for name, _ in lines])
    ax.tick_params(axis="y", length=0)
    for text, (_, row) in zip(ax.get_yticklabels(), lines, strict=True):
        text.set_fontweight("bold" if row is None else "normal")
    ax.set_ylim(0.4 - len(lines), 0.6)
    return [(-i, row) for i, (_, row) in enumerate(lines) if row is not None]


def spread_methods(table: pd.DataFrame, half_width: float) -> list[tuple[pd.DataFrame, float]]:
    """(rows, shift) of each method; shifts keep intervals from covering each other."""
    parts = [part for _, part in table.groupby("method", sort=False)]
    shifts = np.linspace(-half_width, half_width, len(parts)) if len(parts) > 1 else [0.0]
    return list(zip(parts, shifts, strict=True))


def draw_method(ax: Axes, rows: pd.DataFrame, x, mean, low, high) -> None:
    """A line with intervals in the colours of the method; baselines thin, dashed and behind, late
    fusion dotted."""
    method, label = rows["method"].iloc[0], rows["label"].iloc[0]
    _, colour, marker = method_style(method)
    look = {"markersize": 4.5, "zorder": 3}
    if method in SPECIES_BASELINES:
        look = {"ls": (0, (4, 2)), "lw": 0.8, "markersize": 3, "zorder": 2}
    if is_fused(method):
        look["ls"] = (0, (1, 1.5))
    pale = (colour, 0.45)  # bars of many methods stand close together
    draw_intervals(
        ax, x, mean, low, high, colour=colour, label=label, marker=marker, ecolor=pale, **look
    )
