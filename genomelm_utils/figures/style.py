"""One look for every figure: sizes in millimetres, colours safe for the colour-blind."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

MM_PER_INCH = 25.4
#: Column widths in mm. Source: Nature's guide to figures, single and double column.
SINGLE_MM, DOUBLE_MM = 89, 183

#: Eight colours that stay apart under colour-blindness. Source: Okabe & Ito (2008),
#: Color Universal Design, https://jfly.uni-koeln.de/color/
OKABE_ITO = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "green": "#009E73",
    "yellow": "#F0E442",
    "blue": "#0072B2",
    "vermilion": "#D55E00",
    "purple": "#CC79A7",
    "grey": "#7F7F7F",
}

RC = {
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "savefig.bbox": "tight",
    "savefig.dpi": 200,
    "figure.dpi": 130,
    "svg.hashsalt": "genomelm",  # element ids in SVG files depend on it: same data, same file
    "svg.fonttype": "none",
}


def new_figure(
    n_rows: int = 1, n_cols: int = 1, *, width_mm: float = SINGLE_MM, height_mm: float = 62
) -> tuple[Figure, np.ndarray]:
    """A figure of that size and its axes as an array (n_rows, n_cols).

    Sets Matplotlib's settings (`RC`) for the whole session: labels and legends are made later, by
    whoever draws on the axes, and take the settings of that moment.
    """
    mpl.rcParams.update(RC)
    return plt.subplots(
        n_rows,
        n_cols,
        figsize=(width_mm / MM_PER_INCH, height_mm / MM_PER_INCH),
        squeeze=False,
        layout="constrained",
    )


def label_panels(axes: np.ndarray) -> None:
    """Puts a, b, c ... at the upper left of the axes, in reading order."""
    for letter, ax in zip("abcdefghijklmnop", axes.flat, strict=False):
        ax.set_title(letter, loc="left", fontweight="bold", fontsize=8)


def draw_intervals(ax: Axes, x, mean, low, high, *, colour: str, label: str, **line) -> None:
    """A line through `mean` with vertical bars from `low` to `high` at each x."""
    mean = np.asarray(mean, dtype=float)
    below, above = mean - np.asarray(low, float), np.asarray(high, float) - mean
    bars = np.vstack([below, above]).clip(min=0)
    ax.errorbar(x, mean, yerr=bars, color=colour, label=label, capsize=1.5, elinewidth=0.7, **line)
