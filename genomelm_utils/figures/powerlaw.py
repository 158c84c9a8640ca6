"""Figures of weight spectra: alphas of all matrices, as histograms and by depth, models overlaid.

Tables are those of `evaluation.weight_spectra.analyse_model`, one model after another.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from genomelm_utils.evaluation.powerlaw import OVER_TRAINED, UNDER_TRAINED
from genomelm_utils.evaluation.weight_spectra import ALPHA_MAX
from genomelm_utils.figures.style import OKABE_ITO

COLOURS = [OKABE_ITO[n] for n in ("blue", "vermilion", "green", "purple", "orange", "sky", "black")]
MARKERS = "osD^vPX"
N_BINS = 40


def plot_alpha_histogram(
    layers: pd.DataFrame, ax: Axes, *, alpha_max: float = ALPHA_MAX, n_bins: int = N_BINS
) -> Axes:
    """How often each alpha occurs, an outline per model, its mean as a dashed line.

    alpha_max: larger alphas are counted in a last bin, so that none is hidden; 0 shows all as they
    are. The mean is that of all alphas; where it lies beyond, an arrow at the edge says so.
    """
    shown = layers["alpha"].clip(upper=alpha_max) if alpha_max else layers["alpha"]
    bins = np.linspace(0, alpha_max or layers["alpha"].max() * 1.02, n_bins + 1)
    for model, colour, _, part in _models(layers):
        ax.hist(
            shown[part.index], bins=bins, histtype="stepfilled", alpha=0.25, color=colour,
            label=model,
        )  # fmt: skip
        ax.hist(shown[part.index], bins=bins, histtype="step", color=colour, lw=0.8)
        mean = part["alpha"].mean()
        if mean <= bins[-1]:
            ax.axvline(mean, ls="--", lw=0.9, color=colour)
        else:
            ax.annotate(
                f"mean {mean:.1f}", (1.0, 0.92), xycoords="axes fraction", ha="right", color=colour,
                fontsize=6,
            )  # fmt: skip
    _shade(ax.axvspan, bins[-1])
    beyond = (
        f", {alpha_max:g} = and more" if alpha_max and (layers["alpha"] > alpha_max).any() else ""
    )
    ax.set(xlabel=f"alpha{beyond}", ylabel="weight matrices", xlim=(0, bins[-1]))
    return ax


def plot_alpha_layers(layers: pd.DataFrame, ax: Axes) -> Axes:
    """Alpha of every matrix against its place in the network, a line of means per model.

    Bars are the bootstrap intervals where the table has them. Logarithmic when alphas span more
    than a factor of 8, as those of untrained networks do.
    """
    for model, colour, marker, part in _models(layers):
        has_bars = part["alpha_low"].notna().all()
        if has_bars:
            ax.vlines(part["layer_id"], part["alpha_low"], part["alpha_high"], color=colour, lw=0.5)
        random = part["like_random"].to_numpy(bool)
        x, y = part["layer_id"].to_numpy(), part["alpha"].to_numpy()
        ax.plot(x[~random], y[~random], marker, ls="", color=colour, label=model)
        ax.plot(x[random], y[random], marker, ls="", color=colour, mfc="none", mew=0.7)
        ax.axhline(part["alpha"].mean(), ls="--", lw=0.8, color=colour)
    _shade(ax.axhspan, None)
    spread = layers["alpha"].max() / layers["alpha"].min()
    if spread > 8:
        ax.set_yscale("log")
        ax.yaxis.set_major_formatter("{x:g}")
    ax.set(xlabel="weight matrix, from the input", ylabel="alpha (open: as random weights)")
    return ax


def _shade(span, top: float | None) -> None:
    """The range of well trained layers in grey."""
    high = UNDER_TRAINED if top is None else min(UNDER_TRAINED, top)
    span(OVER_TRAINED, high, color="#000000", alpha=0.06, lw=0, zorder=0)


def _models(layers: pd.DataFrame) -> Iterator[tuple[str, str, str, pd.DataFrame]]:
    """(name, colour, marker, rows) of each model, in order of appearance."""
    for i, (model, part) in enumerate(layers.groupby("model", sort=False)):
        yield str(model), COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)], part
