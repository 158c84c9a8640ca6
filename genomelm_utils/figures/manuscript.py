"""What the manuscript's figures of all papers share: tables side by side, axes, publishing."""

import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genomelm_utils import paths
from genomelm_utils.figures.style import DOUBLE_MM, new_figure

if TYPE_CHECKING:  # runs are handed in: only their types are named here
    from genomelm_utils.pipeline.context import Parent, Run

logger = logging.getLogger(__name__)


def stack_tables(parents: Sequence["Parent"], table: str) -> pd.DataFrame:
    """The table of all parents one below the other, with the parent's name in `run`.

    Tables without rows are left out; of none, it is empty. Raises as `Parent.table`.
    """
    return label_runs((parent, parent.table(table)) for parent in parents)


def label_runs(parts: Iterable[tuple["Parent", pd.DataFrame]]) -> pd.DataFrame:
    """Tables one below the other, each with its parent's name in `run`."""
    tables = [table.assign(run=parent.run) for parent, table in parts]
    tables = [table for table in tables if len(table)] or tables[:1]  # headers alone have no types
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame({"run": []})


def describe_gathered(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """What was found: rows and runs of every table."""
    return pd.DataFrame(
        [
            {"table": name, "runs": table["run"].nunique(), "rows": len(table)}
            for name, table in tables.items()
        ]
    )


def grid_for(n: int, *, height_mm: float = 64) -> tuple[Figure, np.ndarray]:
    """A figure with at least n axes, two in a row; those left over are switched off."""
    n_cols = min(n, 2) or 1
    n_rows = -(-n // n_cols) or 1
    fig, axes = new_figure(n_rows, n_cols, width_mm=DOUBLE_MM, height_mm=height_mm * n_rows + 12)
    for ax in axes.flat[n:]:
        ax.set_axis_off()
    return fig, axes


def draw_each(
    table: pd.DataFrame, by: str, axes: np.ndarray, plot: Callable[..., Axes], **options: Any
) -> None:
    """Draws each group of `table` on its own axes, titled with the group's name."""
    for (name, part), ax in zip(table.groupby(by, sort=False), axes.flat, strict=False):
        plot(part, ax, **options)
        ax.set_title(str(name))


def describe_runs(table: pd.DataFrame, describe: Callable[[pd.DataFrame], str]) -> str:
    """The sentences of each run, with its name in front where there are several."""
    texts = {str(run): describe(part) for run, part in table.groupby("run", sort=False)}
    if len(texts) == 1:
        return next(iter(texts.values()))
    return " ".join(f"{run}: {text}" for run, text in texts.items())


def to_markdown(table: pd.DataFrame) -> str:
    """The table as GitHub's Markdown."""
    head = "| " + " | ".join(map(str, table.columns)) + " |"
    line = "|" + "---|" * len(table.columns)
    body = ["| " + " | ".join(map(str, row)) + " |" for row in table.itertuples(index=False)]
    return "\n".join([head, line, *body]) + "\n"


def numbers_by_run(
    table: pd.DataFrame, column: str, method: str = "method"
) -> dict[str, dict[str, float | None]]:
    """Run -> method -> number; `method`: the column that names what was measured."""
    return {
        str(run): finite_numbers(part.set_index(method)[column])
        for run, part in table.groupby("run")
    }


def finite_numbers(values: pd.Series) -> dict[str, float | None]:
    """Name -> number, None where there is none."""
    # JSON has no NaN and no infinity
    return {str(name): float(v) if np.isfinite(v) else None for name, v in values.items()}


def publish(run: "Run", numbers: dict[str, Any]) -> Path:
    """Writes numbers.json and copies figures and tables to figures/<profile>/<paper>/; that folder.

    The paper is what follows `_figures_` in the stage's name. The copy takes the place of an
    earlier one when it is complete. A run outside a batch publishes nothing outside its own folder.

    numbers: every number the text quotes, from tables only; without NaN, which JSON has not.
    """
    folder = run.path("tables")
    text = json.dumps(numbers, indent=1, sort_keys=True, allow_nan=False)
    (folder / "numbers.json").write_text(text + "\n", encoding="utf-8")
    if run.profile == paths.INTERACTIVE:
        return folder
    target = paths.figures_dir() / run.profile / run.stage.partition("_figures_")[2]
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as scratch:
        new, old = Path(scratch) / "new", Path(scratch) / "old"
        new.mkdir()
        for file in [*run.path("figures").iterdir(), *folder.iterdir()]:
            shutil.copyfile(file, new / file.name)
        if target.exists():
            target.rename(old)
        new.rename(target)
    logger.info("published %d files to %s", len(list(target.iterdir())), target)
    return target
