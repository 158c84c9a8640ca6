"""One legend for several axes that show the same lines."""

import numpy as np


def legend_of(axes: np.ndarray) -> tuple[list, list]:
    """Handles and labels of all axes, each label once."""
    found = {}
    for ax in axes.flat:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return list(found.values()), list(found)
