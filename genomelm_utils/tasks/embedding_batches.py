"""Sequences of any lengths as batches of token ids: windows, blocks of rows, padded batches.

A window is a stretch of one strand of a sequence; a row is a window, or a part of one that has too
many tokens; every row has a weight, and the weights of a sequence's rows add up to 1.

Shapes: S sequences, W windows, R rows, B rows of a batch, L ids.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from genomelm_utils.sequences.alphabet import N_BASES, reverse_complement
from genomelm_utils.tasks.embedding_models import Rows
from genomelm_utils.tasks.windows import batch_by_length
from genomelm_utils.tokenizers.bpe import pad_batch

Item = TypeVar("Item")

BLOCK_BASES = 1 << 21  # tokenised at a time: the tokenizer needs some hundred bytes per token
_END = object()


@dataclass(frozen=True)
class Windows:
    """Stretches to embed, longest first.

    sequence_W: which sequence. begin_W, end_W: bases, on the strand as given. reverse_W: True where
    the reverse complement of the stretch is meant. weight_W: float32.
    """

    sequence_W: np.ndarray
    begin_W: np.ndarray
    end_W: np.ndarray
    reverse_W: np.ndarray
    weight_W: np.ndarray

    @property
    def n_bases(self) -> int:
        """Bases of all windows; those in two windows, or on two strands, count twice."""
        return int((self.end_W - self.begin_W).sum())


@dataclass(frozen=True)
class Block:
    """Rows of ids (int32 [L] each), with the sequence, the weight and the bases of each."""

    ids: list[np.ndarray]
    sequence_R: np.ndarray
    weight_R: np.ndarray
    bases_R: np.ndarray


@dataclass(frozen=True)
class Batch:
    """Padded ids and their mask, with the sequence and weight of each row, and bases in all."""

    ids_BL: torch.Tensor
    mask_BL: torch.Tensor
    sequence_B: np.ndarray
    weight_B: np.ndarray
    n_bases: int


def cut_bases(
    length_S: np.ndarray, window_bp: int, overlap: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sequence, begin and end (bases) of every window: three int64 [W].

    Windows begin every window_bp * (1 - overlap) bases until one reaches the end; the last may be
    shorter. overlap: share of a window in [0, 0.5].
    """
    step = window_bp - int(window_bp * overlap)
    count_S = 1 + -(-np.maximum(length_S - window_bp, 0) // step)
    sequence_W = np.repeat(np.arange(len(length_S)), count_S)
    index_W = np.arange(count_S.sum()) - np.repeat(np.cumsum(count_S) - count_S, count_S)
    begin_W = index_W * step
    return sequence_W, begin_W, np.minimum(begin_W + window_bp, length_S[sequence_W])


def place_windows(
    sequences: Sequence[np.ndarray], window_bp: int, overlap: float, both: bool
) -> Windows:
    """Windows of all sequences, each weighted by its share of their definite bases.

    both: also the windows of the reverse complements, which begin at the other end: so the result
    is the same for a sequence and its reverse complement. Windows without a definite base are left
    out. Errors: ValueError for a sequence without any definite base.
    """
    length_S = np.array([len(one) for one in sequences], np.int64)
    sequence_W, begin_W, end_W = cut_bases(length_S, window_bp, overlap)
    reverse_W = np.zeros(len(sequence_W), bool)
    if both:
        length_W = length_S[sequence_W]
        begin_W, end_W = np.append(begin_W, length_W - end_W), np.append(end_W, length_W - begin_W)
        sequence_W, reverse_W = np.tile(sequence_W, 2), np.append(reverse_W, ~reverse_W)
    spans = zip(sequence_W.tolist(), begin_W.tolist(), end_W.tolist(), strict=True)
    definite_W = np.array(
        [np.count_nonzero(sequences[s][begin:end] < N_BASES) for s, begin, end in spans], np.int64
    )
    total_S = np.bincount(sequence_W, definite_W, len(length_S))
    if len(total_S) and total_S.min() == 0:
        raise ValueError(
            f"sequence {int(total_S.argmin())} (0-based) of {length_S[total_S.argmin()]} bases has "
            "no A, C, G or T; remove such sequences (reading a file skips and names them)"
        )
    weight_W = (definite_W / total_S[sequence_W]).astype(np.float32)
    kept_W = np.flatnonzero(definite_W)
    order_W = kept_W[np.argsort((begin_W - end_W)[kept_W], kind="stable")]
    columns = (sequence_W, begin_W, end_W, reverse_W, weight_W)
    return Windows(*(column[order_W] for column in columns))


def make_blocks(
    sequences: Sequence[np.ndarray], windows: Windows, rows: Rows, max_tokens: int | None
) -> Iterator[Block]:
    """Rows of the windows, about BLOCK_BASES bases at a time (one window at least)."""
    ends_W = np.cumsum(windows.end_W - windows.begin_W)
    begin = 0
    while begin < len(ends_W):
        done = ends_W[begin - 1] if begin else 0
        end = max(int(np.searchsorted(ends_W, done + BLOCK_BASES, side="right")), begin + 1)
        part = slice(begin, end)
        ids = rows.make(_pieces(sequences, windows, part))
        bases_W = (windows.end_W - windows.begin_W)[part]
        block = Block(ids, windows.sequence_W[part], windows.weight_W[part], bases_W)
        yield block if max_tokens is None else _divide_rows(block, max_tokens, rows)
        begin = end


def _pieces(sequences: Sequence[np.ndarray], windows: Windows, part: slice) -> list[np.ndarray]:
    columns = (windows.sequence_W, windows.begin_W, windows.end_W, windows.reverse_W)
    return [
        reverse_complement(sequences[s][begin:end]) if reverse else sequences[s][begin:end]
        for s, begin, end, reverse in zip(*(column[part] for column in columns), strict=True)
    ]


def _divide_rows(block: Block, max_tokens: int, rows: Rows) -> Block:
    """The same with rows of more than `max_tokens` ids in even parts, weighted by their tokens."""
    parts = [_divide(row, max_tokens, rows) for row in block.ids]
    count_R = np.array([len(one) for one in parts])
    if count_R.max(initial=1) == 1:
        return block
    from_R = np.repeat(np.arange(len(parts)), count_R)
    flat = [row for one in parts for row in one]
    tokens_R = np.array([len(row) for row in flat]) - rows.n_front - rows.n_back
    total_R = np.maximum(np.bincount(from_R, tokens_R), 1)
    share_R = np.where(count_R[from_R] == 1, 1, tokens_R / total_R[from_R]).astype(np.float32)
    first_R = np.diff(from_R, prepend=-1) > 0  # bases are counted with the first part
    return Block(
        flat,
        block.sequence_R[from_R],
        block.weight_R[from_R] * share_R,
        block.bases_R[from_R] * first_R,
    )


def _divide(row: np.ndarray, max_tokens: int, rows: Rows) -> list[np.ndarray]:
    """The row itself, or even parts of its tokens, each with the special tokens of the row."""
    if len(row) <= max_tokens:
        return [row]
    end = len(row) - rows.n_back
    room = max_tokens - rows.n_front - rows.n_back
    parts = np.array_split(row[rows.n_front : end], -(-(end - rows.n_front) // room))
    return [np.concatenate([row[: rows.n_front], part, row[end:]]) for part in parts]


def truncate(row: np.ndarray, max_tokens: int | None, n_back: int) -> np.ndarray:
    """At most `max_tokens` ids of a row; the special tokens at its end are kept."""
    if max_tokens is None or len(row) <= max_tokens:
        return row
    return np.concatenate([row[: max_tokens - n_back], row[len(row) - n_back :]])


def make_batches(blocks: Iterable[Block], budget: int, pad_id: int, pin: bool) -> Iterator[Batch]:
    """Padded batches of at most `budget` ids (or one row), longest first within a block.

    pin: in page-locked memory, from which CUDA copies without waiting.
    """
    for block in blocks:
        length_R = np.array([len(row) for row in block.ids])
        for rows_B in batch_by_length(length_R - 2, budget):
            ids_BL, mask_BL = pad_batch([block.ids[row] for row in rows_B], pad_id)
            if pin:
                ids_BL, mask_BL = ids_BL.pin_memory(), mask_BL.pin_memory()
            n_bases = int(block.bases_R[rows_B].sum())
            yield Batch(ids_BL, mask_BL, block.sequence_R[rows_B], block.weight_R[rows_B], n_bases)


def look_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The same items; the next one is made in another thread while this one is in use."""
    iterator = iter(items)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(next, iterator, _END)
        while (item := future.result()) is not _END:
            future = pool.submit(next, iterator, _END)
            yield item
