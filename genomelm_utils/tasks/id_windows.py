"""Rows of token ids, of any vocabulary, as padded windows for a fixed number of positions.

A row that is too long is read in overlapping windows, whose logits are averaged, or cut (counted).

Shapes: S sequences, T tokens of all, W windows, L ids of the longest window, B rows of a batch.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from genomelm_utils.tasks.classification import row_order
from genomelm_utils.tasks.windows import cut_windows

logger = logging.getLogger(__name__)

LONG = ("windows", "cut")
BUCKETS = 32  # batches whose rows are sorted by length together


@dataclass(frozen=True)
class Layout:
    """What surrounds a window: ids before and behind it, the id of padding, and room in all.

    before, behind: id, or None for nothing. max_ids: ids of a window with these.
    """

    pad_id: int
    max_ids: int
    before: int | None = None
    behind: int | None = None

    @property
    def n_around(self) -> int:
        """Ids around the tokens."""
        return (self.before is not None) + (self.behind is not None)


@dataclass(frozen=True)
class IdWindows:
    """Ids of all rows end to end (int32 [T]), and the windows that are read of them.

    Windows of a row are consecutive: those of row s are first_S[s]..first_S[s + 1] - 1. begin_W,
    length_W: place and number of tokens; sequence_W: whose; n_cut: rows that lost tokens.
    """

    ids_T: np.ndarray
    begin_W: np.ndarray
    length_W: np.ndarray
    sequence_W: np.ndarray
    first_S: np.ndarray
    layout: Layout
    n_cut: int = 0

    @property
    def n_sequences(self) -> int:
        """Number of rows."""
        return len(self.first_S) - 1

    def select(self, sequences_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The windows of these rows, and of each the position (0..B-1) of its row."""
        first_B = self.first_S[sequences_B]
        count_B = self.first_S[sequences_B + 1] - first_B
        row_W = np.repeat(np.arange(len(sequences_B)), count_B)
        within_W = np.arange(count_B.sum()) - np.repeat(np.cumsum(count_B) - count_B, count_B)
        return first_B[row_W] + within_W, row_W

    def pad(self, windows_B: np.ndarray) -> dict[str, torch.Tensor]:
        """`input_ids` and `attention_mask` (int64 [B, L]) of windows, as the layout says."""
        layout, length_B = self.layout, self.length_W[windows_B]
        shift = int(layout.before is not None)
        total_B = length_B + layout.n_around
        column_L = np.arange(int(total_B.max()))
        place_BL = self.begin_W[windows_B][:, None] + column_L - shift
        ids_BL = self.ids_T.take(place_BL, mode="clip").astype(np.int64)
        inside_BL = column_L < total_B[:, None]
        ids_BL[~inside_BL] = layout.pad_id
        if layout.before is not None:
            ids_BL[:, 0] = layout.before
        if layout.behind is not None:
            ids_BL[np.arange(len(windows_B)), length_B + shift] = layout.behind
        return {
            "input_ids": torch.from_numpy(ids_BL),
            "attention_mask": torch.from_numpy(inside_BL.astype(np.int64)),
        }


def make_windows(rows: Sequence[np.ndarray], layout: Layout, long: str = "windows") -> IdWindows:
    """Windows of rows of ids.

    long: what becomes of rows with more tokens than there is room for: 'windows' reads them in
    overlapping windows at most half a window apart; 'cut' keeps the beginning, counts it in `n_cut`
    and says so in the log.

    Raises: ValueError for no rows, a row without tokens (its index is named), or no room.
    """
    if long not in LONG:
        raise ValueError(f"long is {long!r}, expected one of {', '.join(LONG)}")
    lengths_S = np.array([len(row) for row in rows], dtype=np.int64)
    if not len(lengths_S):
        raise ValueError("no rows, expected at least one sequence")
    if lengths_S.min() == 0:
        raise ValueError(
            f"row {int(lengths_S.argmin())} (0-based) has no tokens ({int((lengths_S == 0).sum())} "
            "such rows); leave these sequences out"
        )
    room = layout.max_ids - layout.n_around
    ids_T = np.concatenate([np.asarray(row, dtype=np.int32) for row in rows])
    begin_S = np.cumsum(lengths_S) - lengths_S
    n_cut = 0
    if long == "cut":
        n_cut = int((lengths_S > room).sum())
        if n_cut:
            logger.warning(
                "%d of %d rows have more than %d tokens (up to %d) and were cut there",
                n_cut, len(rows), room, lengths_S.max(),
            )  # fmt: skip
        lengths_S = np.minimum(lengths_S, room)
    sequence_W, start_W, length_W = cut_windows(lengths_S, room)
    first_S = np.searchsorted(sequence_W, np.arange(len(rows) + 1))
    begin_W = begin_S[sequence_W] + start_W
    return IdWindows(ids_T, begin_W, length_W, sequence_W, first_S, layout, n_cut)


def batch_rows(
    windows: IdWindows, labels_S: np.ndarray, batch_size: int, seed: int
) -> Callable[[int, int], dict[str, torch.Tensor | int]]:
    """(step, micro) -> batch, a pure function: every epoch holds each row once.

    Rows of similar length share a batch (sorted within 32 batches), and batches come in random
    order, so that little is padding.
    """
    size = batch_size
    n_rows = len(labels_S)
    per_epoch = -(-n_rows // size)
    count_S = np.diff(windows.first_S)
    tokens_S = np.add.reduceat(windows.length_W, windows.first_S[:-1]) * (count_S > 0)
    cache: dict[int, list[np.ndarray]] = {}

    def plan(epoch: int) -> list[np.ndarray]:
        if epoch not in cache:
            cache.clear()
            order_S = row_order(seed, epoch, n_rows)
            parts = [order_S[i : i + size * BUCKETS] for i in range(0, n_rows, size * BUCKETS)]
            order_S = np.concatenate([p[np.argsort(tokens_S[p], kind="stable")] for p in parts])
            batches = [order_S[i : i + size] for i in range(0, n_rows, size)]
            # the last batch may be smaller, and stays last
            shuffled = np.random.default_rng([seed, epoch, 1]).permutation(len(batches) - 1)
            cache[epoch] = [batches[i] for i in shuffled] + batches[-1:]
        return cache[epoch]

    def batch(step: int, micro: int) -> dict[str, torch.Tensor | int]:
        epoch, position = divmod(step, per_epoch)
        rows_B = plan(epoch)[position]
        chosen_W, row_W = windows.select(rows_B)
        return {
            **windows.pad(chosen_W),
            "row_W": torch.from_numpy(row_W),
            "labels_B": torch.from_numpy(labels_S[rows_B]),
            "n_targets": len(rows_B),
            "n_tokens": int(windows.length_W[chosen_W].sum()),
        }

    return batch
