"""Bits per hidden base on bases hidden once for all tokenizers: byte-pair, n-mer or single bases.

Spans of bases are drawn per sequence, before any tokenizer is asked. Each tokenizer masks the
tokens that cover a hidden base, so that nothing of it is shown, and is judged on these bases only:
with the share of its probability on tokens that have the true base there, among all tokens that
reach that far. It is told where a masked token starts, and that it covers the base. Guessing by
composition is what `shared_baselines` calls `composition`; 0 is certainty.

Tokens longer than the spans hide more around them: this favours short tokens a little, as in use.

Letters: S sequences, B rows, L positions, N masked tokens, H hidden bases, V vocabulary, J bases of
the longest token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from genomelm_utils.pretraining.token_bits import (
    FrozenTokens,
    MaskedModel,
    score_batches,
    sum_scores,
    summarise,
)
from genomelm_utils.sequences.alphabet import N_BASES, encode
from genomelm_utils.sequences.kmers import BASES
from genomelm_utils.tokenizers.bpe import pad_batch
from genomelm_utils.tokenizers.byte_bpe import (
    MASK,
    N_SPECIAL,
    encode_texts,
    pad_left,
    token_strings,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SPAN_BP = 6  # about the length of a byte-pair token
HIDDEN_SHARE = 0.05  # with tokens of five bases some 12 % of all bases are then in masked tokens
_ROWS_PER_BATCH = 32


@dataclass(frozen=True)
class SharedTokens(FrozenTokens):
    """Masked rows of one tokenizer, and the bases they are judged on."""

    token_H: torch.Tensor  # int64, the masked token (0..N) that covers a hidden base
    offset_H: torch.Tensor  # int64, the base's place in it
    codes_H: torch.Tensor  # int64, A0 C1 G2 T3


def draw_hidden(
    sequences: Sequence[str],
    *,
    hidden_share: float = HIDDEN_SHARE,
    span_bp: int = SPAN_BP,
    seed: int = 0,
) -> list[np.ndarray]:
    """The hidden bases of every sequence: sorted int64 indices, never an ambiguous base.

    Spans of `span_bp` bases start at random; they may touch or overlap. Row r depends on its own
    length, content and number only, so more sequences leave the first as they are.

    hidden_share: expected share of hidden bases.
    Raises: ValueError for a share outside (0, 1), or when nothing came out hidden.
    """
    if not 0 < hidden_share < 1:
        raise ValueError(f"hidden_share is {hidden_share}, expected in (0, 1)")
    # a base escapes when none of the spans that reach it starts
    p = 1 - (1 - hidden_share) ** (1 / span_bp)
    hidden = []
    for number, text in enumerate(sequences):
        rng = np.random.default_rng([seed, number])
        starts = rng.random(len(text) + span_bp - 1) < p
        covered = np.convolve(starts, np.ones(span_bp, dtype=np.int64))[span_bp - 1 :] > 0
        definite = encode(text, where=f"sequence {number}") < N_BASES
        hidden.append(np.flatnonzero(covered[: len(text)] & definite))
    if not any(map(len, hidden)):
        raise ValueError(
            f"no base of the {len(sequences)} sequences is hidden; take more or longer sequences, "
            f"or a larger hidden_share than {hidden_share}"
        )
    return hidden


def freeze_shared(
    sequences: Sequence[str],
    hidden: Sequence[np.ndarray],
    tokenizer: "PreTrainedTokenizerFast",
    *,
    max_tokens: int | None = None,
) -> list[SharedTokens]:
    """The rows of one tokenizer with every token masked that covers a hidden base.

    tokenizer: special tokens at 0..4, `MASK` 4: of `tokenizers.byte_bpe`, `nmer` (side by side) or
        `bpe`. Rows are padded on its own side, longest first; those without a hidden base are left
        out. hidden: of `draw_hidden`. max_tokens: the tokenizer's own by default.
    Raises: ValueError when a row is cut, or a hidden base is in no token: crop the sequences.
    """
    lengths_V = np.array([len(text) for text in token_strings(tokenizer)])
    limit = tokenizer.model_max_length if max_tokens is None else max_tokens
    rows = encode_texts(tokenizer, sequences, 10**9)
    places = [
        _find_tokens(number, row, sequence, at, lengths_V, limit)
        for number, (row, sequence, at) in enumerate(zip(rows, sequences, hidden, strict=True))
        if len(at)
    ]
    places.sort(key=lambda one: -len(one.ids_L))
    return [
        _freeze_batch(places[start : start + _ROWS_PER_BATCH], tokenizer)
        for start in range(0, len(places), _ROWS_PER_BATCH)
    ]


@dataclass(frozen=True)
class _Row:
    """A row's ids, and of each hidden base the token's place among them, offset, and base code."""

    ids_L: np.ndarray
    place_H: np.ndarray
    offset_H: np.ndarray
    codes_H: np.ndarray


def _find_tokens(
    number: int, ids_L: np.ndarray, text: str, at_H: np.ndarray, lengths_V: np.ndarray, limit: int
) -> _Row:
    if len(ids_L) > limit:
        raise ValueError(
            f"sequence {number} of {len(text)} bases is {len(ids_L)} ids, expected at most "
            f"{limit}: hidden bases would be cut off; crop the sequences for all tokenizers alike"
        )
    # an unknown letter is one token
    lengths_T = np.where(ids_L[1:-1] < N_SPECIAL, 1, lengths_V[ids_L[1:-1]])
    ends_T = np.cumsum(lengths_T)
    token_H = np.searchsorted(ends_T, at_H, side="right")
    if token_H.max() >= len(ends_T):
        raise ValueError(
            f"sequence {number}: base {at_H[-1]} is in no token, which end after "
            f"{ends_T[-1] if len(ends_T) else 0} bases; crop the sequences to a multiple of n"
        )
    offset_H = at_H - (ends_T - lengths_T)[token_H]
    return _Row(ids_L, token_H + 1, offset_H, encode(text)[at_H].astype(np.int64))


def _freeze_batch(rows: Sequence[_Row], tokenizer: "PreTrainedTokenizerFast") -> SharedTokens:
    pad = pad_left if tokenizer.padding_side == "left" else pad_batch
    ids_BL, mask_BL = pad([row.ids_L for row in rows], pad_id=tokenizer.pad_token_id)
    width = ids_BL.shape[1]
    shift_B = [width - len(row.ids_L) if pad is pad_left else 0 for row in rows]
    flat_H = np.concatenate(
        [
            i * width + shift + row.place_H
            for i, (row, shift) in enumerate(zip(rows, shift_B, strict=True))
        ]
    )
    positions_N, token_H = np.unique(flat_H, return_inverse=True)
    positions_N = torch.from_numpy(positions_N)
    targets_N = ids_BL.flatten()[positions_N]
    hidden_BL = ids_BL.clone()
    hidden_BL.view(-1)[positions_N] = MASK
    return SharedTokens(
        input_ids_BL=hidden_BL,
        mask_BL=mask_BL,
        positions_N=positions_N,
        targets_N=targets_N,
        token_H=torch.from_numpy(token_H),
        offset_H=torch.from_numpy(np.concatenate([row.offset_H for row in rows])),
        codes_H=torch.from_numpy(np.concatenate([row.codes_H for row in rows])),
    )


class BaseJudge:
    """What a tokenizer's tokens say about single bases.

    `lengths_V`: int64[V] bases of each token, 0 for special tokens. `codes_VJ`: int64[V, J] base
    code at each place of a token: 4 for an ambiguous base, -1 beyond its end and in special tokens.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerFast") -> None:
        strings = token_strings(tokenizer)
        self.lengths_V = torch.tensor([len(text) for text in strings])
        self.codes_VJ = torch.full((len(strings), max(map(len, strings))), -1)
        for index, text in enumerate(strings):
            known = [BASES.find(base) % (N_BASES + 1) for base in text]  # not found: -1, so 4
            self.codes_VJ[index, : len(text)] = torch.tensor(known, dtype=torch.int64)

    def bits(self, logits_NV: torch.Tensor, batch: SharedTokens) -> torch.Tensor:
        """float64[H] on the CPU: -log2 of the probability of each hidden base."""
        device = logits_NV.device
        log_p_NV = logits_NV.float().log_softmax(dim=1)
        bits_H = torch.empty(len(batch.token_H), dtype=torch.float64)
        for offset in batch.offset_H.unique().tolist():
            here = (batch.offset_H == offset).nonzero()[:, 0]
            codes_V = self.codes_VJ[:, offset].to(device)
            # a token that is judged at two places is there once per place
            rows_HV = log_p_NV.index_select(0, batch.token_H[here].to(device))
            true_H1 = batch.codes_H[here].to(device)[:, None]
            right = rows_HV.masked_fill(codes_V != true_H1, -torch.inf).logsumexp(dim=1)
            reached = rows_HV.masked_fill((codes_V < 0) | (codes_V >= N_BASES), -torch.inf)
            bits_H[here] = (reached.logsumexp(dim=1) - right).double().cpu() / np.log(2)
        return bits_H


def shared_bits(
    model: MaskedModel, batches: Sequence[SharedTokens], judge: BaseJudge
) -> dict[str, float]:
    """`bits_per_hidden_base`, the number that compares tokenizers, and `hidden_bases`.

    With them the values of `token_bits.token_bits` on the same masked tokens, which hold for one
    tokenizer only. The model's mode is put back; gradients are off.
    """

    def score(batch: SharedTokens, logits_NV: torch.Tensor) -> torch.Tensor:
        device = logits_NV.device
        sums = sum_scores(logits_NV, batch.targets_N.to(device), judge.lengths_V.to(device))
        bits_H = judge.bits(logits_NV, batch)
        return torch.cat([sums, torch.stack([bits_H.sum(), torch.tensor(float(len(bits_H)))])])

    sums = torch.stack(score_batches(model, batches, score))
    bits, n_hidden = sums[:, 5:].sum(dim=0).tolist()
    return {
        "bits_per_hidden_base": bits / n_hidden,
        **summarise(sums[:, :5]),
        "hidden_bases": n_hidden,
    }


def shared_baselines(
    counts_V: np.ndarray, batches: Sequence[SharedTokens], judge: BaseJudge
) -> pd.DataFrame:
    """What needs no network, on the same hidden bases: `baseline`, `bits_per_hidden_base`.

    `composition`: the base frequencies of the training tokens, the same for every tokenizer of the
    same sequences. `frequencies`: the tokens' own, one added to each.

    counts_V: int64[V] uses of every token in training (`pretraining.text_corpus`).
    """
    codes_H = torch.cat([batch.codes_H for batch in batches])
    codes_VJ = judge.codes_VJ.numpy()
    counts = np.array([(counts_V[:, None] * (codes_VJ == base)).sum() for base in range(N_BASES)])
    share = (counts + 1.0) / (counts + 1.0).sum()
    composition = -np.log2(share)[codes_H.numpy()].mean()
    logits_V = torch.as_tensor(counts_V + 1.0).log().float()
    logits_V[judge.lengths_V == 0] = -torch.inf
    bits = [judge.bits(logits_V.expand(len(b.targets_N), -1), b) for b in batches]
    return pd.DataFrame(
        {
            "baseline": ["composition", "frequencies"],
            "bits_per_hidden_base": [float(composition), float(torch.cat(bits).mean())],
        }
    )
