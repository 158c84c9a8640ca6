"""Sequences of any length for a model with a fixed number of positions: overlapping windows of
tokens.

Training and prediction go through the same functions: tokens are made once, windows are slices of
them, and what the model says about the windows of a sequence is averaged. A sequence that fits is
one window, and the average of one is exactly the plain result.

Shapes: S sequences, T tokens of all sequences, W windows, B rows of a batch, L ids of the longest
row (with [CLS] and [SEP]), X any trailing axes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from genomelm_utils.sequences.alphabet import CODE_N
from genomelm_utils.tokenizers.kmer import CLS, PAD, SEP, UNK, token_ids

Codes = np.ndarray | Sequence[np.ndarray]  # uint8 [S, L], or one uint8 [L] per sequence


@dataclass(frozen=True)
class TokenWindows:
    """Tokens of all sequences end to end (int32 [T]), and the windows cut from them.

    Windows of a sequence are consecutive: those of sequence s are first_S[s]..first_S[s + 1] - 1.
    begin_W, length_W: place and number of tokens; sequence_W: which sequence; first_S: int64 [S +
    1].
    """

    ids_T: np.ndarray
    begin_W: np.ndarray
    length_W: np.ndarray
    sequence_W: np.ndarray
    first_S: np.ndarray

    @property
    def n_sequences(self) -> int:
        """Number of sequences."""
        return len(self.first_S) - 1

    def select(self, sequences_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The windows of these sequences, and of each the position (0..B-1) of its sequence."""
        first_B = self.first_S[sequences_B]
        count_B = self.first_S[sequences_B + 1] - first_B
        row_W = np.repeat(np.arange(len(sequences_B)), count_B)
        within_W = np.arange(count_B.sum()) - np.repeat(np.cumsum(count_B) - count_B, count_B)
        return first_B[row_W] + within_W, row_W

    def pad(self, windows_B: np.ndarray) -> dict[str, torch.Tensor]:
        """`input_ids` and `attention_mask` (int64 [B, L]) of windows, [CLS] and [SEP] added."""
        length_B = self.length_W[windows_B]
        column_L = np.arange(int(length_B.max()) + 2)
        place_BL = self.begin_W[windows_B][:, None] + column_L - 1
        ids_BL = self.ids_T.take(place_BL, mode="clip").astype(np.int64)
        ids_BL[:, 0] = CLS
        inside_BL = column_L < length_B[:, None] + 2
        ids_BL[~inside_BL] = PAD
        ids_BL[np.arange(len(windows_B)), length_B + 1] = SEP
        return {
            "input_ids": torch.from_numpy(ids_BL),
            "attention_mask": torch.from_numpy(inside_BL.astype(np.int64)),
        }


def cut_windows(
    n_tokens_S: np.ndarray, max_tokens: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which sequence, first token and number of tokens of every window: three int64 [W].

    Up to `max_tokens` tokens are one window. Longer sequences get full windows at even distances,
    at most half a window apart, from the first to the last token: so every site (but near the ends)
    is at least a quarter of a window away from the border of some window, and no window is short.
    """
    if max_tokens < 2:
        raise ValueError(f"windows of {max_tokens} tokens, expected at least 2")
    surplus_S = np.maximum(n_tokens_S - max_tokens, 0)
    count_S = 1 + -(-surplus_S // (max_tokens // 2))
    sequence_W = np.repeat(np.arange(len(n_tokens_S)), count_S)
    index_W = np.arange(count_S.sum()) - np.repeat(np.cumsum(count_S) - count_S, count_S)
    start_W = index_W * surplus_S[sequence_W] // np.maximum(count_S[sequence_W] - 1, 1)
    return sequence_W, start_W, np.minimum(n_tokens_S, max_tokens)[sequence_W]


def build_windows(codes: Codes, k: int, max_tokens: int) -> TokenWindows:
    """Tokens and windows of base codes.

    codes: uint8 [S, L] or a list of uint8 arrays of any lengths >= k. max_tokens: k-mers per
    window, the model's positions less 2. A window without a single definite k-mer (a stretch of N)
    is left out, unless the sequence has no other.
    Errors: ValueError for no sequence, one shorter than k (its index is named), or other types.
    """
    lengths_S = np.array([len(one) for one in codes], dtype=np.int64)
    if not len(lengths_S):
        raise ValueError("no sequences, expected at least one")
    if lengths_S.min() < k:
        raise ValueError(
            f"sequence {int(lengths_S.argmin())} (0-based) has {lengths_S.min()} bases, expected "
            f"at least k = {k}; remove it first"
        )
    flat = np.concatenate([np.asarray(one) for one in codes])
    if flat.dtype != np.uint8 or flat.max() > CODE_N:
        raise ValueError(
            f"sequences of type {flat.dtype} with values up to {flat.max()}, expected uint8 base "
            f"codes 0..{CODE_N}; encode text with sequences.alphabet.encode"
        )
    ids_T = token_ids(flat, k)  # words across two sequences are there, but in no window
    sequence_W, start_W, length_W = cut_windows(lengths_S - k + 1, max_tokens)
    begin_W = (np.cumsum(lengths_S) - lengths_S)[sequence_W] + start_W
    kept_W = find_informative(ids_T, begin_W, length_W, sequence_W)
    first_S = np.searchsorted(sequence_W[kept_W], np.arange(len(lengths_S) + 1))
    return TokenWindows(ids_T, begin_W[kept_W], length_W[kept_W], sequence_W[kept_W], first_S)


def find_informative(
    ids_T: np.ndarray, begin_W: np.ndarray, length_W: np.ndarray, sequence_W: np.ndarray
) -> np.ndarray:
    """Which windows hold a definite k-mer; if none of a sequence does, its first one counts."""
    known_T = np.append(0, np.cumsum(ids_T != UNK))
    kept_W = known_T[begin_W + length_W] > known_T[begin_W]
    n_kept_S = np.bincount(sequence_W, weights=kept_W)
    is_first_W = np.diff(sequence_W, prepend=-1) > 0
    return kept_W | (is_first_W & (n_kept_S[sequence_W] == 0))


def pool_windows(values_WX: torch.Tensor, row_W: torch.Tensor, n_rows: int) -> torch.Tensor:
    """Mean of the windows of each row, [n_rows, X]; differentiable. One window: its value, exactly.

    row_W: int64 [W], the row of each window; every row has at least one.
    """
    sums_X = values_WX.new_zeros(n_rows, *values_WX.shape[1:]).index_add(0, row_W, values_WX)
    count = torch.bincount(row_W, minlength=n_rows).to(values_WX.dtype)
    return sums_X / count.view(-1, *[1] * (values_WX.ndim - 1))


def batch_by_length(length_W: np.ndarray, tokens_per_batch: int) -> list[np.ndarray]:
    """Window indices in batches of similar length, longest first, of about `tokens_per_batch` ids.

    Ties keep their order, so that the batches are the same for the same input. A window longer than
    the budget is a batch of its own.
    """
    order_W = np.argsort(-length_W, kind="stable")
    batches, begin = [], 0
    while begin < len(order_W):
        n_rows = max(1, tokens_per_batch // (int(length_W[order_W[begin]]) + 2))
        batches.append(order_W[begin : begin + n_rows])
        begin += n_rows
    return batches
