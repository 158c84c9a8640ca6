"""What is written about a network's predictions of test rows."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genomelm_utils.datasets.token_reading import TokenSet
    from genomelm_utils.tasks.sequence_models import SequenceModel


def write_test(model: "SequenceModel", rows: "TokenSet", folder: Path, *, seed: int) -> list[str]:
    """Scores with intervals, curves, confusion and classes of test rows, written into a folder;
    lines on the main scores."""
    import numpy as np
    import pandas as pd

    from genomelm_utils.datasets.row_groups import list_rows
    from genomelm_utils.evaluation.class_scores import (
        class_table,
        confusion_table,
        score_intervals,
    )
    from genomelm_utils.evaluation.curves import curve_table
    from genomelm_utils.figures.classification import plot_confusion, plot_curve
    from genomelm_utils.figures.style import new_figure

    labels = rows.labels
    probs = model.predict(list_rows(rows))
    rng = np.random.default_rng([seed, 11])
    scores = score_intervals(probs, labels, rng)
    confusion = confusion_table(probs, labels, model.class_names)
    curves = [
        curve_table(probs[:, c], labels == c, rng).assign(method=name)
        for c, name in enumerate(model.class_names)
        if 0 < (labels == c).sum() < len(labels) and (c or len(model.class_names) > 2)
    ]
    tables = {"test_scores": scores, "test_confusion": confusion}
    tables["test_classes"] = class_table(probs, labels, model.class_names)
    if curves:
        tables["test_curves"] = pd.concat(curves, ignore_index=True)
    for name, table in tables.items():
        table.to_csv(folder / f"{name}.tsv", sep="\t", index=False)
    fig, axes = new_figure(1, 3, width_mm=183)
    plot_confusion(confusion, axes[0, 0])
    for ax, curve in zip(axes[0, 1:], ("roc", "pr"), strict=True):
        if curves:
            plot_curve(tables["test_curves"], ax, curve)
    fig.savefig(folder / "test.pdf", metadata={"CreationDate": None})
    shown = scores.set_index("metric").loc[["f1", "auc", "mcc"]]
    return [
        f"test {name}: {row['value']:.4f} [{row['low']:.4f}, {row['high']:.4f}]"
        for name, row in shown.iterrows()
    ]
