"""What a training went through: a table on disk, TensorBoard beside it."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd

logger = logging.getLogger(__name__)

COLUMNS = [
    "step",
    "lr",
    "train_loss",
    "grad_norm",
    "tokens_per_s",
    "n_tokens",
    "n_targets",
    "data_s",
    "compute_s",
    "optim_s",
    "other_s",
    "eval_s",
    "wall_s",
]

#: Columns that depend on the machine's speed, not on the numbers: no table holds them.
TIMING = ("wall_s", "data_s", "compute_s", "optim_s", "other_s", "eval_s", "tokens_per_s")


class History:
    """Rows by step, written to `folder/history.csv` at every `add`.

    Args:
        folder: where `history.csv` and `tensorboard/` lie; None keeps the rows in memory only.
        rows: what an interrupted training had already recorded.
        main: only the main process writes.
    """

    def __init__(
        self, folder: Path | None, rows: list[dict[str, Any]] | None = None, *, main: bool = True
    ) -> None:
        self.rows = list(rows or [])
        self.file = Path(folder) / "history.csv" if folder and main else None
        self.board = _open_board(Path(folder), self.last_step + 1) if folder and main else None
        self.flush()

    @property
    def last_step(self) -> int:
        """The step of the newest row, 0 before the first."""
        return int(self.rows[-1]["step"]) if self.rows else 0

    def add(self, row: dict[str, Any]) -> None:
        """Append a row, write the table, and send its numbers to TensorBoard."""
        self.rows.append(row)
        self.flush()
        if self.board is not None:
            for name, value in row.items():
                if name != "step" and value is not None:
                    self.board.add_scalar(name.replace("valid_", "valid/"), value, row["step"])

    def table(self) -> pd.DataFrame:
        """One row per logged step; times are seconds summed over the steps since the row before."""
        if not self.rows:
            return pd.DataFrame(columns=COLUMNS)
        table = pd.DataFrame(self.rows)
        first = [name for name in COLUMNS if name in table.columns]
        return table[first + [name for name in table.columns if name not in first]]

    def flush(self) -> None:
        """Replace `history.csv` as a whole, so that a reader never sees half a table."""
        if self.file is None:
            return
        self.file.parent.mkdir(parents=True, exist_ok=True)
        partial = self.file.with_name(".history.csv.partial")
        self.table().to_csv(partial, index=False)
        partial.replace(self.file)

    def close(self) -> None:
        """Close TensorBoard's file."""
        if self.board is not None:
            self.board.close()


def overhead_share(history: pd.DataFrame) -> float:
    """Share of the training time not spent in forward and backward, evaluation left out.

    The first row is left out when there are others: it holds start-up and compilation.
    """
    rows = history.dropna(subset=["compute_s"])
    rows = rows.iloc[1:] if len(rows) > 1 else rows
    spent = rows[["data_s", "compute_s", "optim_s", "other_s"]].sum()
    return float(1 - spent["compute_s"] / spent.sum())


def _open_board(folder: Path, purge_step: int) -> Any | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        logger.info("tensorboard is not installed: history.csv only")
        return None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=purge_step)
