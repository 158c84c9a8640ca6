"""Promoters as rows of token ids: made once, kept flat, padded batch by batch.

Shapes: S sequences, N ids of all rows, B rows of a batch, L ids of a padded row, V vocabulary.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from genomelm_utils.sequences.alphabet import encode
from genomelm_utils.sequences.tss import Gaps, fill_gaps
from genomelm_utils.tasks.embedding_models import rows_of
from genomelm_utils.tokenizers import kmer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

BLOCK_ROWS = 4096  # tokenised at a time
BATCHES_PER_CHUNK = 50  # rows are sorted by length within so many batches, not over the epoch
SIDES = ("left", "right")
TRUNCATE = {"corrected": "left", "reference": "right"}
_LETTERS = set("ACGTN")


@dataclass(frozen=True)
class TokenRows:
    """Ids of all rows end to end.

    ids_N: int32. begin_S: int64[S + 1]. distance_N: int32, offset of each token's last base from
    the TSS in bp (-1 is the base beside it, further by `gap_bp`); 0 for special tokens. pad_id,
    side: how batches are filled. n_truncated: rows that were cut to `max_ids`.
    """

    ids_N: np.ndarray
    begin_S: np.ndarray
    distance_N: np.ndarray
    pad_id: int
    side: str
    n_truncated: int = 0

    def __len__(self) -> int:
        return len(self.begin_S) - 1

    @property
    def length_S(self) -> np.ndarray:
        """Ids of every row, special tokens included."""
        return np.diff(self.begin_S)

    def pad(self, rows_B: np.ndarray) -> dict[str, torch.Tensor]:
        """`input_ids`, `attention_mask` (int64) and `distance_bp` (int32), [B, L] each."""
        length_B = self.length_S[rows_B]
        width = int(length_B.max())
        first_B = np.zeros_like(length_B) if self.side == "right" else width - length_B
        column_BL = np.arange(width) - first_B[:, None]
        inside_BL = (column_BL >= 0) & (column_BL < length_B[:, None])
        place_BL = self.begin_S[rows_B][:, None] + column_BL
        ids_BL = np.where(inside_BL, self.ids_N.take(place_BL, mode="clip"), self.pad_id)
        distance_BL = np.where(inside_BL, self.distance_N.take(place_BL, mode="clip"), 0)
        return {
            "input_ids": torch.from_numpy(ids_BL.astype(np.int64)),
            "attention_mask": torch.from_numpy(inside_BL.astype(np.int64)),
            "distance_bp": torch.from_numpy(distance_BL.astype(np.int32)),
        }


def tokenise_rows(
    tokenizer: "PreTrainedTokenizerBase",
    sequences: Sequence[str],
    *,
    max_ids: int | None = None,
    gap_bp: Gaps = None,
    truncate: str = "corrected",
    side: str = "right",
) -> TokenRows:
    """The rows of promoters whose right end is (or is `gap_bp` bases before) the TSS.

    max_ids: of a row, special tokens included; longer rows are cut and counted. truncate:
    'corrected' cuts the distal end, 'reference' the end at the TSS, as the released code does.
    gap_bp: bases between right end and TSS, see `sequences.tss`. side: where padding goes.
    Raises: ValueError for no sequences, an empty one (named by its index), or other options.
    """
    _check(sequences, truncate, side)
    rows = rows_of(tokenizer, "unk")
    advance_V = bases_per_token(tokenizer)
    n_special = rows.n_front + rows.n_back
    if max_ids is not None and max_ids <= n_special:
        raise ValueError(f"max_ids is {max_ids}, expected more than the {n_special} special tokens")
    ids, distances, n_truncated = [], [], 0
    for begin in range(0, len(sequences), BLOCK_ROWS):
        codes = [encode(one) for one in sequences[begin : begin + BLOCK_ROWS]]
        for row_L in rows.make(codes):
            distance_L = distances_of(row_L, advance_V, rows.n_back)
            if max_ids is not None and len(row_L) > max_ids:
                kept = _kept(len(row_L), max_ids, rows.n_front, rows.n_back, TRUNCATE[truncate])
                row_L, distance_L = row_L[kept], distance_L[kept]
                n_truncated += 1
            ids.append(row_L)
            distances.append(distance_L)
    lengths_S = np.array([len(row) for row in ids], np.int64)
    distance_N = np.concatenate(distances)
    gap_N = np.repeat(fill_gaps(gap_bp, len(ids)), lengths_S)
    distance_N = np.where(distance_N < 0, distance_N - gap_N, 0)
    if n_truncated:
        logger.warning(
            "%d of %d promoters have more than %d tokens and lost their %s end",
            n_truncated,
            len(ids),
            max_ids,
            "distal" if truncate == "corrected" else "TSS",
        )
    return TokenRows(
        np.concatenate(ids).astype(np.int32),
        np.append(0, np.cumsum(lengths_S)),
        distance_N.astype(np.int32),
        rows.pad_id,
        side,
        n_truncated,
    )


def bases_per_token(tokenizer: "PreTrainedTokenizerBase") -> np.ndarray:
    """int64[V]: bases by which each token moves on; 0 for special tokens, 1 for overlapping k-mers
    and for unknown tokens (each stands for one ambiguous base)."""
    vocabulary = tokenizer.get_vocab()
    advance_V = np.zeros(max(vocabulary.values()) + 1, np.int64)
    # `rows_of` takes the same view: a full 4^k vocabulary is one of overlapping k-mers
    overlapping = any(vocabulary == kmer.vocabulary(k) for k in range(1, kmer.MAX_K + 1)
                      if kmer.vocab_size(k) == len(vocabulary))  # fmt: skip
    for token, index in vocabulary.items():
        if set(token) <= _LETTERS:
            advance_V[index] = 1 if overlapping else len(token)
    if tokenizer.unk_token_id is not None:
        advance_V[tokenizer.unk_token_id] = 1
    return advance_V


def distances_of(ids_L: np.ndarray, advance_V: np.ndarray, n_back: int) -> np.ndarray:
    """int64[L]: offset of each token's last base from the base after the right end; 0 for special
    tokens. Counted from the right, so that a cut on the left changes nothing."""
    advance_L = advance_V[ids_L]
    after_L = np.cumsum(advance_L[::-1])[::-1] - advance_L
    return np.where(advance_L > 0, -1 - after_L, 0)


def pooled_ids(tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Ids that begin and end a row: never pooled. Unknown and masked tokens count."""
    ends = ("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")
    found = {getattr(tokenizer, name, None) for name in ends}
    return sorted(one for one in found if one is not None)


def bucket_batches(
    length_S: np.ndarray, batch_size: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """All rows in random batches of similar length, in random order; sizes differ by one at most
    within a chunk.

    Rows are shuffled, cut into chunks of 50 batches, and sorted by length within a chunk: padding
    falls to a few per cent, and neighbours still differ from epoch to epoch.
    """
    order_S = rng.permutation(len(length_S))
    batches = []
    for begin in range(0, len(order_S), batch_size * BATCHES_PER_CHUNK):
        chunk = order_S[begin : begin + batch_size * BATCHES_PER_CHUNK]
        chunk = chunk[np.argsort(length_S[chunk], kind="stable")]
        batches += np.array_split(chunk, -(-len(chunk) // batch_size))
    return [batches[i] for i in rng.permutation(len(batches))]


def epoch_batches(
    rows: TokenRows, targets_ST: np.ndarray, batch_size: int, accumulate: int, seed: int
) -> Callable[[int, int], dict[str, Any]]:
    """(step, micro) -> batch, a pure function: every epoch shows every row once.

    The batch holds the tensors of `TokenRows.pad`, `target_BT` (float32, NaN = not measured) and
    `n_targets`, the number of measured labels.
    """
    per_epoch = len(bucket_batches(rows.length_S, batch_size, np.random.default_rng(0)))
    latest: dict[int, list[np.ndarray]] = {}

    def batch(step: int, micro: int) -> dict[str, Any]:
        epoch, position = divmod(step * accumulate + micro, per_epoch)
        if epoch not in latest:
            latest.clear()
            rng = np.random.default_rng([seed, epoch])
            latest[epoch] = bucket_batches(rows.length_S, batch_size, rng)
        rows_B = latest[epoch][position]
        target_BT = targets_ST[rows_B]
        return {
            **rows.pad(rows_B),
            "target_BT": torch.from_numpy(target_BT),
            "n_targets": int(np.count_nonzero(~np.isnan(target_BT))),
        }

    return batch


def _kept(length: int, max_ids: int, n_front: int, n_back: int, side: str) -> np.ndarray:
    """Places of a row that stay when it is cut to `max_ids`, special tokens among them."""
    room = max_ids - n_front - n_back
    end = length - n_back
    middle = np.arange(end - room, end) if side == "left" else np.arange(n_front, n_front + room)
    return np.concatenate([np.arange(n_front), middle, np.arange(end, length)])


def _check(sequences: Sequence[str], truncate: str, side: str) -> None:
    if truncate not in TRUNCATE:
        raise ValueError(f"truncate is {truncate!r}, expected {' or '.join(TRUNCATE)}")
    if side not in SIDES:
        raise ValueError(f"side is {side!r}, expected {' or '.join(SIDES)}")
    if not len(sequences):
        raise ValueError("no sequences, expected at least one promoter")
    empty = next((i for i, one in enumerate(sequences) if not one), None)
    if empty is not None:
        raise ValueError(f"sequence {empty} (0-based) is empty, expected bases; remove it first")
